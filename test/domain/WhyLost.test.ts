import { describe, expect, it } from "vitest"
import { type Judged, whyLost } from "../../src/domain/WhyLost.ts"

const judged = (fields: Partial<Judged> = {}): Judged => {
  const terms = { waitMs: 0, ownMs: 100, othersMs: 50, decodeMs: 0, recentMs: 0, ...fields }
  return {
    slot: 0,
    cachedTokens: 4_096,
    ...terms,
    costMs: terms.waitMs + terms.ownMs + terms.othersMs + terms.decodeMs + terms.recentMs,
    worker: "w",
    trust: "exact",
    credit: 1,
    heardAgoMs: null,
    heldTokens: { device: 4_096, host: 4_096, disk: 4_096, external: 4_096, guess: 0 },
    queued: 0,
    active: 0,
    ...fields
  }
}

describe("why a worker was not chosen", () => {
  it.each<[string, Partial<Judged>]>([
    ["holds 2 048 tokens less: 41 ms more to compute", { cachedTokens: 2_048, ownMs: 141 }],
    [
      "holds 1 token less: 0.2 ms more to compute, 0.1 ms for others to wait",
      { cachedTokens: 4_095, ownMs: 100.2, othersMs: 50.1 }
    ],
    ["only 40 % of what it holds is believed: 41 ms more to compute", { credit: 0.4, ownMs: 141 }],
    ["slower: 41 ms more to compute", { ownMs: 141 }],
    ["busy: 230 ms more of prefill ahead", { waitMs: 230, queued: 2 }],
    ["busy: 1 230 ms more until it can begin", { waitMs: 1_230 }],
    ["its running requests would lose 12 ms more", { decodeMs: 12, active: 9 }],
    ["was given more lately: less than 0.1 ms against it", { recentMs: 0.01 }],
    ["a tie: it was not its turn", {}],
    // What speaks most against it is told, even where something speaks for it.
    ["busy: 230 ms more until it can begin", { waitMs: 230, cachedTokens: 0, ownMs: 150, recentMs: 40 }],
    ["holds 4 096 tokens less: 500 ms more to compute", { waitMs: 230, cachedTokens: 0, ownMs: 600 }]
  ])("by cost: %s", (words, fields) => {
    expect(whyLost(judged(fields), judged(), "eta")).toBe(words)
  })

  it.each<[string, string, Partial<Judged>, Partial<Judged>]>([
    ["round-robin", "round-robin: it was not its turn", {}, {}],
    ["least-loaded", "least-loaded: 5 requests there, 2 at the one chosen", { queued: 2, active: 3 }, { active: 2 }],
    ["least-loaded", "a tie: it was not its turn", { queued: 2 }, { active: 2 }],
    ["longest-prefix", "longest-prefix: holds 96 tokens less", { cachedTokens: 4_000 }, {}],
    ["longest-prefix", "a tie: it was not its turn", {}, {}],
    ["another", "another chose another worker", {}, {}]
  ])("by %s: %s", (policy, words, own, chosen) => {
    expect(whyLost(judged(own), judged({ ownMs: 900, ...chosen }), policy)).toBe(words)
  })
})
