import { describe, expect, it } from "vitest"
import { read } from "../../../src/adapters/vllm/EventSources.ts"

const at = (endpoint: unknown, worker = "http://10.0.0.4:8000") => read([{ endpoint }], worker)[0]?.endpoint

describe("EventSources.read", () => {
  it("reads vLLM's object keyed by rank, and nothing where events are off", () => {
    const of = (endpoint: string) => ({ publisher: "zmq", endpoint, replay_endpoint: null, topic: "kv" })
    const body = {
      "1": of("tcp://*:5558"),
      "0": of("tcp://10.0.0.9:5557"),
      "2": { publisher: "null", endpoint: "tcp://*:1" }
    }
    expect(read(body, "http://10.0.0.4:8000")).toEqual([
      { endpoint: "tcp://10.0.0.9:5557", replayEndpoint: null, topic: "kv", rank: 0 },
      { endpoint: "tcp://10.0.0.4:5558", replayEndpoint: null, topic: "kv", rank: 1 }
    ])
    expect(read({}, "http://10.0.0.4:8000")).toEqual([])
  })

  it("puts the worker's host where the publisher bound every interface", () => {
    for (const bound of ["tcp://*:5557", "tcp://0.0.0.0:5557", "tcp://[::]:5557", "tcp://:::5557"]) {
      expect(at(bound)).toBe("tcp://10.0.0.4:5557")
    }
    expect(at("tcp://*:5557", "http://[fd00::1]:8000")).toBe("tcp://[fd00::1]:5557")
  })

  it("keeps an address that names a host", () => {
    expect(at("tcp://engine-3.local:41001")).toBe("tcp://engine-3.local:41001")
    expect(at("ipc:///tmp/kv")).toBe("ipc:///tmp/kv")
  })

  it("leaves out what nobody can connect to", () => {
    expect(
      [null, 7, "", "tcp://*:0", "tcp://h", "tcp://h:99999", "inproc://x", "udp://h:1"].map((bad) => at(bad))
    ).toEqual(Array.from({ length: 8 }, () => undefined))
  })

  it("reads the list bare or under `sources`, in rank order, and keeps the good ones", () => {
    const list = [
      { data_parallel_rank: 1, endpoint: "tcp://h:2", replay_endpoint: "tcp://*:4", topic: "kv@h@m" },
      null,
      { data_parallel_rank: 0, endpoint: "tcp://h:1", replay_endpoint: null, topic: null }
    ]
    const expected = [
      { endpoint: "tcp://h:1", replayEndpoint: null, topic: "", rank: 0 },
      { endpoint: "tcp://h:2", replayEndpoint: "tcp://w:4", topic: "kv@h@m", rank: 1 }
    ]
    expect(read(list, "http://w:1")).toEqual(expected)
    expect(read({ sources: list }, "http://w:1")).toEqual(expected)
  })

  it("takes the place in the list for a rank that is not told", () => {
    expect(read([{ endpoint: "tcp://h:1" }, { endpoint: "tcp://h:2" }], "http://w:1").map(({ rank }) => rank)).toEqual([
      0, 1
    ])
  })

  it("finds none in anything else", () => {
    expect(
      [null, undefined, 1, "x", {}, { sources: {} }, { detail: "Not Found" }].flatMap((body) =>
        read(body, "http://w:1")
      )
    ).toEqual([])
  })
})
