import { describe, expect, it } from "vitest"
import * as Ledger from "../../../../actors/Ledger.ts"
import * as TraceTime from "../../../../loadtest/replay/live/TraceTime.ts"

const ask = (heldTokens: number): Ledger.Ask => ({
  cachedTokens: Uint32Array.of(heldTokens),
  heldTokens: Uint32Array.of(heldTokens),
  promptTokens: 8_192,
  keys: new Int32Array(0),
  blockSize: 16,
  priority: null,
  eligible: null
})
const made = (speed: number) => {
  const predictions = { predicted: 0, tooMany: 0, tooFew: 0 }
  const ledger = TraceTime.ledger(Ledger.make({ policy: "eta", workersMax: 1 }), speed, predictions)
  ledger.join(0, null)
  ledger.setEligible(0, true)
  return { ledger, predictions }
}

describe("TraceTime.ledger", () => {
  it("learns the same rates from engines ten times as fast as from the engines themselves", () => {
    const learned = [1, 10].map((speed) => {
      const { ledger } = made(speed)
      for (let i = 0; i < 40; i++) {
        const fromMs = (i * 10_000) / speed
        expect(ledger.place(ask(0), fromMs)).toBe(0)
        const booking = ledger.book(0, ask(0), true, fromMs)
        booking.firstByte(fromMs + 700 / speed)
        booking.settle(fromMs + 2_700 / speed, { outputTokens: 100, cachedTokens: 0, outcome: "complete" })
      }
      const { decodeMsPerToken, prefillMsPerToken, waitMs } = ledger.worker(0, 400_000 / speed)!
      return { decodeMsPerToken, prefillMsPerToken, waitMs }
    })
    expect(learned[1]!.prefillMsPerToken).toBeCloseTo(learned[0]!.prefillMsPerToken, 9)
    expect(learned[1]!.decodeMsPerToken).toBeCloseTo(learned[0]!.decodeMsPerToken, 9)
    // What was told it, and not what it believed before.
    expect(learned[0]!.prefillMsPerToken * 8_192).toBeGreaterThan(350)
    expect(learned[0]!.prefillMsPerToken * 8_192).toBeLessThan(1_400)
  })

  it("counts what was predicted and not there, and what was there and not predicted", () => {
    const { ledger, predictions } = made(2)
    const settled = (held: number, cachedTokens: number | null) =>
      ledger.book(0, ask(held), true, 0).settle(1, { outputTokens: 1, cachedTokens, outcome: "complete" })
    settled(4_096, 4_000)
    settled(1_024, 2_048)
    settled(512, null)
    expect(predictions).toEqual({ predicted: 5_120, tooMany: 96, tooFew: 1_024 })
  })
})
