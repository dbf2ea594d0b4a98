/** What a request came to, as `Request` tells it: a good stream that was placed once, unless told otherwise. */
import type { Settled } from "../../src/http/Request.ts"
import * as Trail from "../../src/http/Trail.ts"

export const tryOf = (given: Partial<Trail.Try> = {}): Trail.Try => ({
  ...{ worker: "w", slot: 0, spanId: null, decision: null, candidates: [], eligible: 1, states: "1 ready" },
  ...{ heldTokens: 400, bestTokens: 600, matchMs: 3, placeMs: 3.5, bookMs: 4, sentMs: 4.25, firstByteMs: 54.25 },
  ...{ endMs: 154.25, end: { kind: "complete", status: 200 }, usage: null, outputTokens: 11 },
  ...given
})

export const make = (given: Partial<Settled> = {}, tries: ReadonlyArray<Trail.Try> = [tryOf()]): Settled => {
  const trail = Trail.make("id", given.endpoint ?? "chat", null, 0, 0)
  trail.hashMs = 1
  trail.hashedMs = 2.5
  trail.settledMs = 154.5
  trail.tries.push(...tries)
  const last = tries.at(-1)
  return {
    ...{ trail, endpoint: "chat", asked: "m", model: "m", stream: true, choices: 1, prompts: 1, promptTokens: 1_000 },
    ...{ worker: last?.worker ?? null, slot: last?.slot ?? null, outcome: "complete", status: 200, exact: true },
    ...{ tries: tries.length, bestTokens: last?.bestTokens ?? 0, predictedTokens: last?.heldTokens ?? 0 },
    ...{
      deliveredTokens: 384,
      evictedBlocks: 0,
      reportedPromptTokens: 1_000,
      outputTokens: last?.outputTokens ?? null
    },
    ...{ ttftMs: last?.firstByteMs ?? null, decisionMs: 4.25, totalMs: 154.5 },
    ...given
  }
}
