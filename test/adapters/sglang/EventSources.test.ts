import { describe, expect, it } from "vitest"
import { read } from "../../../src/adapters/sglang/EventSources.ts"
import { kvEvents } from "../../support/SglangServer.ts"

const worker = "http://10.0.0.4:30000"
const told = (more: Record<string, unknown>, rest: Record<string, unknown> = {}, url = worker) =>
  read({ kv_events: kvEvents(more), ...rest }, url).map(({ endpoint }) => endpoint)

describe("EventSources.read of SGLang", () => {
  it("puts the worker's host where the publisher bound every interface, and keeps a host that is named", () => {
    for (const host of ["*", "0.0.0.0", "::", "[::]"]) {
      expect(told({ endpoint_host: host })).toEqual(["tcp://10.0.0.4:5557"])
    }
    expect(told({ endpoint_host: "engine-3.local" })).toEqual(["tcp://engine-3.local:5557"])
    expect(told({}, {}, "http://[fd00::1]:30000")).toEqual(["tcp://[fd00::1]:5557"])
    for (const host of ["fd00::2", "[fd00::2]"]) {
      expect(told({ endpoint_host: host, dp_size: 2 })).toEqual(["tcp://[fd00::2]:5557", "tcp://[fd00::2]:5558"])
    }
  })

  it("finds none where publishing is off, is of another kind, or has no address", () => {
    const config = { kv_events_config: '{"publisher":"zmq","endpoint":"tcp://*:5557"}' }
    expect(read({ kv_events: null, ...config }, worker)).toEqual([])
    expect(told({ publisher: "null" })).toEqual([])
    // What SGLang tells of an endpoint it could not read.
    expect(told({ endpoint_host: "", endpoint_port_base: 0, dp_size: 2 })).toEqual([])
    expect(told({ endpoint_port_base: "5557" })).toEqual([])
    expect(told({ endpoint_port_base: 65_535, dp_size: 2 })).toEqual(["tcp://10.0.0.4:65535"])
    for (const odd of [{}, { kv_events: 7 }, { kv_events: [] }, { kv_events_config: "{" }, { kv_events_config: "7" }]) {
      expect(read(odd, worker)).toEqual([])
    }
  })

  it("dials each rank of several nodes where it says it publishes", () => {
    const publishers = [
      { dp_rank: 1, endpoint: "tcp://10.0.0.5:5558" },
      { dp_rank: 0, endpoint: "tcp://*:5557" },
      { dp_rank: 2, endpoint: "garbage" },
      { dp_rank: -1, endpoint: "tcp://10.0.0.6:1" },
      null
    ]
    const config = {
      kv_events_config: '{"publisher":"zmq","endpoint":"tcp://*:5557","replay_endpoint":"tcp://*:5657"}'
    }
    expect(read({ kv_events: kvEvents({ dp_size: 4, publishers }), nnodes: 2, ...config }, worker)).toEqual([
      { endpoint: "tcp://10.0.0.4:5557", replayEndpoint: "tcp://10.0.0.4:5657", topic: "kv-events", rank: 0 },
      { endpoint: "tcp://10.0.0.5:5558", replayEndpoint: "tcp://10.0.0.5:5658", topic: "kv-events", rank: 1 }
    ])
  })

  it("does not dial the first node for ranks that live on others", () => {
    expect(told({ dp_size: 4 }, { nnodes: 2 })).toEqual(["tcp://10.0.0.4:5557", "tcp://10.0.0.4:5558"])
    expect(told({ dp_size: 1 }, { nnodes: 2 })).toEqual(["tcp://10.0.0.4:5557"])
  })

  it("reads the operator's own words in a version that does not describe its publisher", () => {
    const config = { publisher: "zmq", endpoint: "tcp://*:6000", replay_endpoint: "tcp://127.0.0.1:6100", topic: "kv" }
    expect(read({ kv_events_config: JSON.stringify(config), dp_size: 2 }, worker)).toEqual([
      { endpoint: "tcp://10.0.0.4:6000", replayEndpoint: "tcp://127.0.0.1:6100", topic: "kv", rank: 0 },
      { endpoint: "tcp://10.0.0.4:6001", replayEndpoint: "tcp://127.0.0.1:6101", topic: "kv", rank: 1 }
    ])
    expect(read({ kv_events_config: '{"publisher":"zmq"}' }, worker)[0]!.endpoint).toBe("tcp://10.0.0.4:5557")
    expect(read({ kv_events_config: '{"endpoint":"tcp://*:6000"}' }, worker)).toEqual([])
  })

  it("does not believe in a million ranks", () => {
    expect(told({ dp_size: 1e6, endpoint_port_base: 1 }).length).toBe(1_024)
  })
})
