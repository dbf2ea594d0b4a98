import { describe, expect, it } from "vitest"
import type { Settled } from "../../src/http/Request.ts"
import * as SpansOf from "../../src/http/SpansOf.ts"
import * as Trail from "../../src/http/Trail.ts"
import type * as TrySpans from "../../src/http/TrySpans.ts"

const trace: Trail.Trace = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "00f067aa0ba902b7",
  parentId: null,
  state: null,
  sampled: false
}

const tried = (worker: string, fromMs: number, given: Partial<Trail.Try>): Trail.Try => ({
  worker,
  slot: 0,
  spanId: `${fromMs}`.padStart(16, "0"),
  decision: null,
  candidates: [],
  eligible: 2,
  states: "2 ready",
  heldTokens: 64,
  bestTokens: 128,
  matchMs: fromMs,
  placeMs: fromMs + 1,
  bookMs: fromMs + 2,
  sentMs: fromMs + 3,
  firstByteMs: Number.NaN,
  endMs: fromMs + 10,
  end: { kind: "complete", status: 200 },
  usage: null,
  outputTokens: null,
  ...given
})

const settled = (tries: ReadonlyArray<Trail.Try>, given: Partial<Settled> = {}): Settled => {
  const trail = Trail.make("r-1", "chat", trace, 1_000, 1_700_000_000_000)
  trail.hashMs = 1_001
  trail.hashedMs = 1_003
  trail.tries.push(...tries)
  trail.settledMs = (tries.at(-1)?.endMs ?? 1_003) + 1
  return {
    trail,
    endpoint: "chat",
    asked: "alias",
    model: "org/model",
    stream: false,
    worker: tries.at(-1)?.worker ?? null,
    slot: 0,
    outcome: "complete",
    status: 200,
    tries: tries.length,
    bestTokens: 128,
    outputTokens: null,
    prompts: 1,
    choices: 1,
    promptTokens: 200,
    exact: true,
    predictedTokens: 64,
    deliveredTokens: null,
    evictedBlocks: 0,
    reportedPromptTokens: null,
    ttftMs: null,
    decisionMs: 5,
    totalMs: 20,
    ...given
  }
}

let ids = 0
const deps: TrySpans.Deps = {
  policy: "cost",
  spanId: () => `${++ids}`.padStart(16, "f"),
  placeOf: ({ worker }) => (worker === "gone" ? null : { address: worker, port: 8000, engine: "vllm" })
}
const of = (record: Settled) => SpansOf.ofSettled(record, trace, "sampled", deps)

describe("The spans of a request", () => {
  it("are one for each phase, and for each worker tried those it was chosen and sent with", () => {
    const refused = tried("gone", 1_005, { end: { kind: "failed", sent: false, code: "connect", reason: "refused" } })
    const spans = of(settled([refused, tried("b", 1_020, { firstByteMs: 1_025 })]))
    expect(spans.map(({ name }) => name)).toEqual([
      "chat alias",
      ...["receive", "hash"],
      ...["match", "place", "book", "forward"],
      ...["match", "place", "book", "forward"],
      "settle"
    ])
    const [whole, receive, , match, , , first, , , , second, settle] = spans
    expect(whole).toMatchObject({ spanId: trace.spanId, parentId: null, startMs: 1_700_000_000_000, error: null })
    expect(spans.slice(1).every(({ parentId }) => parentId === trace.spanId)).toBe(true)
    expect(receive!.endMs - receive!.startMs).toBe(1)
    // What was waited for a store, too.
    expect([match!.startMs, match!.endMs]).toEqual([1_700_000_000_003, 1_700_000_000_006])
    expect(first).toMatchObject({ spanId: "0000000000001005", error: "refused", events: [] })
    expect(first!.attributes).toMatchObject({ "error.type": "connect", "warmpath.try": 1, "warmpath.worker": "gone" })
    expect(first!.attributes).not.toHaveProperty("server.address")
    expect(second).toMatchObject({ error: null, events: [{ name: "first_token", atMs: 1_700_000_000_025 }] })
    expect(second!.attributes).toMatchObject({ "server.address": "b", "server.port": 8000, "warmpath.try": 2 })
    expect(settle!.endMs).toBe(whole!.endMs)
  })

  it("say what went wrong, but of a client that left or was refused", () => {
    const end = { kind: "failed", sent: true, code: "silent", reason: "nothing came" } as const
    const died = of(settled([tried("a", 1_005, { end })], { outcome: "failed", status: 0 }))
    expect(died[0]).toMatchObject({ error: "nothing came", attributes: { "error.type": "silent" } })
    const none = settled([], { outcome: "failed", status: 503, worker: null, slot: null, decisionMs: null })
    none.trail.missing = "2 open"
    expect(of(none)[0]).toMatchObject({
      error: "no worker could take it: 2 open",
      attributes: { "error.type": "missing", "warmpath.missing": "2 open" }
    })
    expect(of(none).map(({ name }) => name)).toEqual(["chat alias", "receive", "hash"])
    const left = of(
      settled([tried("a", 1_005, { end: { kind: "clientGone", sent: true } })], { outcome: "clientGone", status: 0 })
    )
    const bad = of(settled([tried("a", 1_005, { end: { kind: "complete", status: 400 } })], { status: 400 }))
    for (const [whole] of [left, bad]) {
      expect(whole!.error).toBe(null)
      expect(whole!.attributes).not.toHaveProperty("error.type")
    }
    expect(bad.find(({ name }) => name === "forward")!.error).toBe("it answered 400")
  })

  it("are those of its first phases where it was refused, and no text of a client's is in them", () => {
    const { trail } = settled([])
    trail.hashedMs = Number.NaN
    const spans = SpansOf.ofRefused(500, trail, trace, "failed", deps)
    expect(spans.map(({ error, name }) => [name, error ?? null])).toEqual([
      ["chat", "answered 500"],
      ["receive", null]
    ])
    // As in metrics.
    expect(spans[0]!.attributes).toMatchObject({ "error.type": "defect", "warmpath.outcome": "defect" })
  })
})

describe("A trace is kept", () => {
  const request = { outcome: "complete", status: 200, stream: true, ttftMs: 99, totalMs: 5_000 } as const
  const kept = (given: Partial<Settled>, sampled = false) =>
    SpansOf.keptOf({ ...request, ...given }, { ...trace, sampled }, 100)

  it("when it is sampled, failed, or was slow to its first token, or as a whole where none is streamed", () => {
    expect(kept({})).toBe(null)
    expect(kept({}, true)).toBe("sampled")
    expect(kept({ ttftMs: 100 })).toBe("slow")
    expect(kept({ stream: false, ttftMs: null })).toBe("slow")
    expect(kept({ ttftMs: null, totalMs: 99 })).toBe(null)
    expect(kept({ status: 502 })).toBe("failed")
    expect(kept({ status: 0, outcome: "failed" })).toBe("failed")
    expect(kept({ status: 404 })).toBe(null)
    expect(kept({ status: 0, outcome: "clientGone" })).toBe(null)
  })
})
