import { afterEach, beforeEach, describe, expect, it } from "vitest"
import type { Fleet } from "../../actors/Fleet.ts"
import type { Route } from "../../actors/FleetRoutes.ts"
import * as Ledger from "../../actors/Ledger.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import type { Exchange } from "../../src/http/Exchange.ts"
import type { Pool } from "../../src/http/Pool.ts"
import * as Request from "../../src/http/Request.ts"
import type { Forward } from "../../src/http/Upstream.ts"
import type { Tokenizer } from "../../src/ports/Tokenizer.ts"

const workersMax = 4
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

const setUp = (given: Partial<Request.Deps> = {}) => {
  const ledger = Ledger.make({ policy: "eta", workersMax })
  const route: Route = {
    model: "m",
    served: "m",
    lora: null,
    maxModelLen: null,
    eligible: Uint8Array.of(1, 1),
    eligibleCount: 2,
    workers: 2,
    states: "2 ready"
  }
  const state = {
    routes: new Map<string, Route>([["m", route]]),
    forwards: [] as Forward[],
    learned: [] as number[],
    records: [] as Request.Settled[],
    refused: [] as number[],
    outcomes: [] as string[]
  }
  const inFlight = new Uint32Array(workersMax)
  const workers = [0, 1].map((slot) => ({ slot, spec: { id: `w${slot}`, url: `http://127.0.0.1:${9_000 + slot}` } }))
  for (const { slot } of workers) ledger.join(slot, null)
  const fleet = {
    resolve: (name: string) => state.routes.get(name),
    worker: (slot: number) => workers[slot],
    sent: () => {},
    outcome: (_slot: number, kind: string) => void state.outcomes.push(kind),
    models: () => [],
    list: () => []
  } as unknown as Fleet["Service"]
  const deps: Request.Deps = {
    fleet,
    ledger,
    hasher: BlockHash.make(0n),
    overlap: (_keys, _count, out) => void out.fill(0),
    blockSizeOf: () => 16,
    tokenizerOf: () => null,
    learn: (slot) => void state.learned.push(slot),
    pool: { origin: () => ({}) } as unknown as Pool,
    forward: (_pool, forward) => {
      state.forwards.push(forward)
      return { abort: () => {} }
    },
    inFlight,
    workersMax,
    retriesMax: 2,
    draining: () => false,
    now: () => performance.now(),
    settled: (record) => void state.records.push(record),
    refused: (status) => void state.refused.push(status),
    ...given
  }
  const idle = () => {
    const { workers: loads } = ledger.snapshot(performance.now())
    return inFlight.every((count) => count === 0) && loads.every(({ active, queued }) => active + queued === 0)
  }
  return { ...state, deps, handle: Request.make(deps), idle, inFlight, ledger }
}

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
      overlap: () => {
        throw new Error("a defect")
      },
      blockSizeOf: () => 1
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

  it("teaches nothing about pace and length when several answers are asked for at once", () => {
    const answer = Buffer.from('{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":800}}')
    const taught = (fields: Record<string, unknown>) => {
      const { forwards, handle, ledger } = setUp()
      handle(exchangeOf(JSON.stringify(chat(fields))).exchange)
      const [forward] = forwards
      forward!.onHead!(200, () => "application/json")
      forward!.onBytes!(answer, 0)
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

  it("does not send a client's megabyte of a model name back", () => {
    const { exchange, replies } = exchangeOf(JSON.stringify({ ...chat(), model: "x".repeat(1_000_000) }))
    setUp().handle(exchange)
    expect([replies[0]?.status, replies[0]!.body.length < 1_000]).toEqual([404, true])
  })
})
