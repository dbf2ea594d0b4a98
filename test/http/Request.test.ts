import { afterEach, beforeEach, describe, expect, it } from "vitest"
import type { WorkerFacts } from "../../src/domain/Worker.ts"
import type { Exchange } from "../../src/http/Exchange.ts"
import * as Request from "../../src/http/Request.ts"
import type { Tokenizer } from "../../src/ports/Tokenizer.ts"
import * as RequestPath from "./RequestPath.ts"

const chat = (fields: Record<string, unknown> = {}) => ({
  model: "m",
  messages: [{ role: "user", content: "a".repeat(400) }],
  ...fields
})

/** An exchange that only remembers what was answered. */
const exchangeOf = (body: string, path = "/v1/chat/completions") => {
  const replies: Array<{ readonly status: number; readonly body: string }> = []
  const exchange: Exchange = {
    method: "POST",
    target: path,
    path,
    header: () => undefined,
    headers: [],
    body: Buffer.from(body),
    remoteAddress: "",
    gone: false,
    started: false,
    reply: (status, _headers, text) => void replies.push({ status, body: text.toString() }),
    onAbort: () => {},
    framed: false,
    begin: () => {},
    write: () => true,
    onDrain: () => {},
    finish: () => {},
    destroy: () => {}
  }
  return { exchange, replies }
}

const setUp = (deps: Partial<Request.Deps> = {}) => RequestPath.setUp({ deps })

const codeOf = (body: string): unknown => (JSON.parse(body) as { error: { code: unknown } }).error.code
const turn = () => new Promise((resolve) => setImmediate(resolve))

/** Tokenizers that break their promise: none may cost more than exactness. */
const broken: ReadonlyArray<[string, Tokenizer["encode"]]> = [
  [
    "throws",
    () => {
      throw new Error("broken")
    }
  ],
  ["rejects", () => Promise.reject(new Error("broken"))]
]

describe("the life of a request", () => {
  const unhandled: Array<unknown> = []
  const note = (cause: unknown) => void unhandled.push(cause)
  beforeEach(() => {
    unhandled.length = 0
    process.on("unhandledRejection", note)
  })
  afterEach(() => void process.off("unhandledRejection", note))

  it.each(broken)("goes on by its text when its tokenizer %s", async (_how, encode) => {
    const { forwards, handle } = setUp({ tokenizerOf: () => ({ encode, close: async () => {} }) })
    handle(exchangeOf(JSON.stringify(chat())).exchange)
    await turn()
    expect([forwards.length, unhandled]).toEqual([1, []])
  })

  it("survives a body nested deeper than the stack, whose refusal is the engine's", async () => {
    const deep = `${"[".repeat(200_000)}${"]".repeat(200_000)}`
    const body = `{"model":"m","messages":[{"role":"user","content":${deep}}]}`
    for (const tokenizer of [null, { encode: () => Promise.resolve(null), close: async () => {} }]) {
      const { forwards, handle } = setUp({ tokenizerOf: () => tokenizer })
      handle(exchangeOf(body).exchange)
      await turn()
      expect([forwards.length, unhandled]).toEqual([1, []])
    }
    const { forwards, handle } = setUp()
    const { exchange, replies } = exchangeOf(`{"model":"m","prompt":${deep}}`, "/v1/completions")
    handle(exchange)
    expect([forwards.length, replies[0]?.status, codeOf(replies[0]!.body)]).toEqual([0, 400, "bad_field"])
  })

  it("is answered 500 when the router fails after its tokenizer left the event loop", async () => {
    const { handle, idle, refused } = setUp({
      tokenizerOf: () => ({ encode: async () => Uint32Array.of(1, 2, 3), close: async () => {} }),
      depths: () => {
        throw new Error("a defect")
      },
      blockSizes: new Uint32Array(8).fill(1)
    })
    const { exchange, replies } = exchangeOf(JSON.stringify(chat()))
    handle(exchange)
    await turn()
    expect(replies.map(({ body, status }) => [status, codeOf(body)])).toEqual([[500, "defect"]])
    expect([refused, idle(), unhandled]).toEqual([[500], true, []])
  })

  it("gives back what it was charged when it cannot be sent", () => {
    const { handle, idle, outcomes } = setUp({
      forward: () => {
        throw new Error("an odd path")
      }
    })
    expect(() => handle(exchangeOf(JSON.stringify(chat())).exchange)).toThrow("an odd path")
    expect([idle(), outcomes]).toEqual([true, ["cancelled"]])
  })

  it("is not sent where its model used to be, once no worker serves it any more", () => {
    const { forwards, handle, routes } = setUp()
    const { exchange, replies } = exchangeOf(JSON.stringify(chat()))
    handle(exchange)
    routes.clear()
    forwards[0]!.onEnd({ kind: "failed", sent: false, code: "reset", reason: "it closed" })
    expect(forwards.length).toBe(1)
    expect(replies.map(({ body, status }) => [status, codeOf(body)])).toEqual([[502, "worker_failed"]])
  })

  it("follows an alias that is turned to another model between two tries", () => {
    const { forwards, handle, routes } = setUp()
    const real = routes.get("m")!
    routes.set("nick", { ...real, served: "one" })
    handle(exchangeOf('{"model" : "nick","messages":[{"role":"user"}]}').exchange)
    routes.set("nick", { ...real, served: "two" })
    forwards[0]!.onEnd({ kind: "failed", sent: false, code: "connect", reason: "refused" })
    expect(forwards.map(({ body }) => body.toString())).toEqual([
      '{"model" : "one","messages":[{"role":"user"}]}',
      '{"model" : "two","messages":[{"role":"user"}]}'
    ])
  })

  it("turns a priority for the engine it is sent to, try by try, where the fleet is mixed", () => {
    const { forwards, handle } = RequestPath.setUp({
      workers: [
        { engine: "vllm", priorityOrder: "lowFirst" },
        { engine: "sglang", priorityOrder: "highFirst" }
      ]
    })
    handle(exchangeOf(JSON.stringify(chat({ priority: 3 }))).exchange)
    forwards[0]!.onEnd({ kind: "failed", sent: false, code: "connect", reason: "refused" })
    const priorities = forwards.map(({ body }) => (JSON.parse(body.toString()) as { priority: number }).priority)
    expect(priorities.sort((a, b) => a - b)).toEqual([-3, 3])
  })

  it("is placed by its priority, lower first, whatever the order of the engines that serve it", () => {
    const low = { priorityOrder: "lowFirst" } as const
    const high = { priorityOrder: "highFirst" } as const
    const placed = (workers: ReadonlyArray<Partial<WorkerFacts>>, fields: Record<string, unknown>) => {
      const { deps, ledger } = RequestPath.setUp({ workers })
      const seen: Array<readonly [string, number | null]> = []
      const watched: typeof ledger = {
        ...ledger,
        place: (ask, nowMs) => {
          seen.push(["place", ask.priority])
          return ledger.place(ask, nowMs)
        },
        book: (slot, ask, streams, nowMs) => {
          seen.push(["book", ask.priority])
          return ledger.book(slot, ask, streams, nowMs)
        }
      }
      Request.make({ ...deps, ledger: watched })(exchangeOf(JSON.stringify(chat(fields))).exchange)
      return seen
    }
    const both = (priority: number | null) => [
      ["place", priority],
      ["book", priority]
    ]
    expect(placed([low], { priority: 3 })).toEqual(both(3))
    expect(placed([high], { priority: 3 })).toEqual(both(-3))
    expect(placed([low, high], { priority: 3 })).toEqual(both(3))
    expect(placed([high, {}], { priority: 0 })).toEqual(both(0))
    expect(placed([low], {})).toEqual(both(null))
    expect(placed([low], { priority: "3" })).toEqual(both(null))
  })

  it("forwards the very bytes that came when nothing needs to change", () => {
    const { forwards, handle } = RequestPath.setUp({ workers: [{ engine: "vllm", priorityOrder: "lowFirst" }] })
    const { exchange } = exchangeOf(JSON.stringify(chat({ priority: 3 })))
    handle(exchange)
    expect(forwards[0]!.body).toBe(exchange.body)
    expect(forwards[0]!.extraHeaders).toEqual(["x-request-id", expect.any(String)])
  })

  it("tells of a request that makes the engine report all of its blocks, when it is sent", () => {
    const { handle, reported } = setUp()
    const asking = (extras: unknown) => handle(exchangeOf(JSON.stringify(chat({ vllm_xargs: extras }))).exchange)
    for (const extras of [undefined, null, [], { kv_cache_report_mode: "delta" }, { kv_cache_report_mode: true }]) {
      asking(extras)
    }
    expect(reported).toEqual([])
    asking({ kv_cache_report_mode: "full", other: 1 })
    expect(reported).toHaveLength(1)
  })

  it("teaches nothing about pace and length when several answers are asked for at once", () => {
    const answer = Buffer.from('{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":800}}')
    const taught = (fields: Record<string, unknown>) => {
      const { forwards, handle, ledger } = setUp()
      handle(exchangeOf(JSON.stringify(chat(fields))).exchange)
      const [forward] = forwards
      forward!.onHead!(200, (name) => (name === "content-type" ? "application/json" : undefined))
      forward!.onBytes!(answer)
      forward!.onEnd({ kind: "complete", status: 200 })
      return ledger.snapshot(performance.now()).workers.reduce((sum, { decodeSamples }) => sum + decodeSamples, 0)
    }
    expect([taught({ n: 1 }) > 0, taught({ n: 8 })]).toEqual([true, 0])
  })

  it("says how long the router took to decide, with the others' times", () => {
    const { forwards, handle, records } = setUp()
    handle(exchangeOf(JSON.stringify(chat())).exchange)
    forwards[0]!.onEnd({ kind: "complete", status: 404 })
    expect(records[0]).toMatchObject({ outcome: "complete", status: 404, ttftMs: null })
    expect(records[0]!.decisionMs).toBeGreaterThanOrEqual(0)
    expect(records[0]!.decisionMs).toBeLessThanOrEqual(records[0]!.totalMs)
  })

  it("says to balancers why they should look elsewhere", () => {
    const readiness = (deps: Partial<Request.Deps>) => {
      const { exchange, replies } = exchangeOf("", "/ready")
      setUp(deps).handle({ ...exchange, method: "GET" })
      return [replies[0]?.status, JSON.parse(replies[0]!.body).status]
    }
    const unready = () => "taking over what other routers know"
    expect(readiness({ unready })).toEqual([503, unready()])
    expect(readiness({ unready, draining: () => true })).toEqual([503, "draining"])
    expect(readiness({ unready: () => null })).toEqual([503, "no worker can take a request"])
  })

  it("does not send a client's megabyte of a model name back", () => {
    const { exchange, replies } = exchangeOf(JSON.stringify({ ...chat(), model: "x".repeat(1_000_000) }))
    setUp().handle(exchange)
    expect([replies[0]?.status, replies[0]!.body.length < 1_000]).toEqual([404, true])
  })
})
