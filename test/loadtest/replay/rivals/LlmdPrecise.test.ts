import { describe, expect, it } from "vitest"
import { settings } from "../../../../loadtest/replay/rivals/LlmdPrecise.ts"
import * as Rival from "../../../../loadtest/replay/rivals/Rival.ts"
import { keysOf, range } from "../../../support/RivalRig.ts"

const [precise, queueing, tokens] = settings

/** By worker: waiting requests, share of KV blocks in use, blocks held of ten, prompt tokens in flight. */
const places = (
  setting: Rival.Setting,
  workers: ReadonlyArray<{ waiting?: number; kvUsage?: number; held?: number; inFlight?: number }>
): ReadonlySet<number> => {
  const blockSize = 16
  const ledger = Rival.ledger(setting.make, { workers: workers.length, blockSize, capacityTokens: 1e6, seed: 1 })
  const ask = (promptTokens: number, held: ReadonlyArray<number>): Rival.Ask => ({
    cachedTokens: Uint32Array.from(held),
    heldTokens: Uint32Array.from(held),
    promptTokens,
    keys: keysOf(range(0, 10)),
    blockSize,
    priority: null,
    eligible: null
  })
  workers.forEach(({ inFlight = 0, kvUsage = 0, waiting = 0 }, slot) => {
    ledger.join(slot, null)
    ledger.hint(slot, { running: 0, waiting, kvUsage }, 0)
    if (inFlight > 0) ledger.book(slot, ask(inFlight, [0, 0]), true, 0)
  })
  const prompt = ask(
    161,
    workers.map(({ held = 0 }) => held * blockSize)
  )
  return new Set(range(0, 200).map(() => ledger.place(prompt, 0)))
}

describe("LlmdPrecise", () => {
  it("weighs the share of a prompt held twice as much as KV use and as the queue", () => {
    expect(places(precise!, [{ held: 6, waiting: 1 }, {}, {}])).toEqual(new Set([0]))
    expect(places(precise!, [{ held: 4, waiting: 1 }, {}, { waiting: 1 }])).toEqual(new Set([1]))
    expect(places(precise!, [{ held: 3, kvUsage: 0.5 }, {}, { kvUsage: 0.1 }])).toEqual(new Set([0]))
    expect(places(precise!, [{ held: 2, kvUsage: 0.5 }, {}, { kvUsage: 0.1 }])).toEqual(new Set([1]))
  })

  it("takes a queue longer by one for as bad as one longer by a hundred", () => {
    for (const waiting of [1, 100]) {
      expect(places(precise!, [{ held: 6, waiting }, {}, {}])).toEqual(new Set([0]))
      expect(places(precise!, [{ held: 4, waiting }, {}, {}])).toEqual(new Set([1, 2]))
    }
  })

  it("draws among equals", () => {
    expect(places(precise!, [{}, {}, {}])).toEqual(new Set([0, 1, 2]))
  })

  it("gives way to a queue sooner with the other weights", () => {
    expect(places(queueing!, [{ held: 7, waiting: 1 }, {}, {}])).toEqual(new Set([0]))
    expect(places(queueing!, [{ held: 6, waiting: 1 }, {}, {}])).toEqual(new Set([1, 2]))
  })

  it("sees prefill in flight only with the token load scorer", () => {
    // 32 of 4 194 304: a whole prompt held is worth 262 144 tokens.
    for (const [inFlight, expected] of [
      [262_000, 0],
      [263_000, 1]
    ] as const) {
      expect(places(tokens!, [{ held: 10, inFlight }, {}])).toEqual(new Set([expected]))
      expect(places(precise!, [{ held: 10, inFlight }, {}])).toEqual(new Set([0]))
    }
  })
})
