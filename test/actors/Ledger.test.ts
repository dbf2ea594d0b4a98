import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { expect } from "vitest"
import * as Ledger from "../../actors/Ledger.ts"
import { keysOf } from "../support/QueueSim.ts"

const blockSize = 16

const make = (workers: number, policy: Ledger.Options["policy"] = "eta") => {
  const ledger = Ledger.make({ policy, workersMax: 4 })
  for (let slot = 0; slot < workers; slot++) ledger.join(slot, null)
  return ledger
}

const ask = (blocks: ReadonlyArray<number>, cached: ReadonlyArray<number> = [0, 0, 0, 0]): Ledger.Ask => ({
  cachedTokens: Uint32Array.from(cached),
  heldTokens: Uint32Array.from(cached),
  promptTokens: blocks.length * blockSize + 5,
  keys: keysOf(blocks),
  blockSize,
  priority: null,
  eligible: null
})

const complete: Ledger.Outcome = { outputTokens: 10, cachedTokens: 0, outcome: "complete" }
const blocks = Array.from({ length: 40 }, (_, i) => i)

describe("Ledger", () => {
  it.effect("is a service whose layer carries the chosen policy", () =>
    Effect.gen(function* () {
      const ledger = yield* Ledger.Ledger
      assert.strictEqual(ledger.policy, "least-loaded")
      ledger.join(2, 1000)
      assert.strictEqual(ledger.place(ask([1]), 0), 2)
    }).pipe(Effect.provide(Ledger.Ledger.layer({ policy: "least-loaded", workersMax: 4 })))
  )

  it("shows a booking in its snapshot until it settles, once", () => {
    const ledger = make(2)
    const booking = ledger.book(1, ask(blocks), true, 0)
    expect(ledger.snapshot(1).workers[1]).toMatchObject({ queued: 1, active: 0, eligible: true, capacityTokens: null })
    booking.firstByte(30)
    booking.firstByte(31)
    expect(ledger.snapshot(31).workers[1]).toMatchObject({ queued: 0, active: 1, activeTokens: 645, prefillSamples: 1 })
    booking.settle(90, complete)
    booking.settle(91, complete)
    booking.firstByte(92)
    expect(ledger.snapshot(92).workers[1]).toMatchObject({
      queued: 0,
      queuedMs: 0,
      active: 0,
      activeTokens: 0,
      waitMs: 0
    })
  })

  it("sends siblings to the worker that was just sent their prefix, before any event", () => {
    const ledger = make(4)
    const document = Array.from({ length: 400 }, (_, i) => 1_000 + i)
    const first = ledger.place(ask(document), 0)
    ledger.book(first, ask(document), true, 0)
    const sibling = ask([...document.slice(0, 399), 99])
    expect(ledger.place(sibling, 1)).toBe(first)
    expect(sibling.cachedTokens[first]).toBe(399 * blockSize)
  })

  it("keeps what is on its way for a grace after the first token, and drops it when the worker failed", () => {
    const ledger = make(2)
    const booking = ledger.book(0, ask(blocks), true, 0)
    booking.firstByte(100)
    booking.settle(200, complete)
    const seen = (nowMs: number): number => {
      const probe = ask(blocks)
      ledger.explain(probe, nowMs)
      return probe.cachedTokens[0]!
    }
    expect([seen(300), seen(5000)]).toEqual([40 * blockSize, 0])
    ledger.book(0, ask(blocks), true, 6000).settle(6010, { ...complete, outcome: "failed" })
    expect(seen(6020)).toBe(0)
    expect(ledger.snapshot(6020)).toMatchObject({ inFlightEntries: 0, inFlightBytes: 0 })
  })

  it("never offers a worker that left, drains, or that this request may not use", () => {
    const ledger = make(3)
    ledger.leave(0)
    ledger.setEligible(1, false)
    expect(ledger.place(ask(blocks, [640, 640, 0, 0]), 0)).toBe(2)
    expect(ledger.place({ ...ask(blocks), eligible: Uint8Array.of(1, 1, 0, 1) }, 0)).toBe(-1)
    ledger.setEligible(0, true)
    expect(ledger.place({ ...ask(blocks), eligible: Uint8Array.of(1, 1, 0, 1) }, 0)).toBe(-1)
    ledger.setEligible(1, true)
    expect(ledger.place({ ...ask(blocks), eligible: Uint8Array.of(1, 1, 0, 1) }, 0)).toBe(1)
    expect(ledger.snapshot(0).workers.map((worker) => worker.slot)).toEqual([1, 2])
  })

  it("forgets a crashed worker's bookings, which then settle into its successor's slot without harm", () => {
    const ledger = make(1)
    const lost = ledger.book(0, ask(blocks), true, 0)
    ledger.leave(0)
    ledger.join(0, 5000)
    ledger.book(0, ask([77]), true, 1)
    lost.settle(2, { ...complete, outcome: "failed" })
    expect(ledger.snapshot(3).workers[0]).toMatchObject({ queued: 1, active: 0, capacityTokens: 5000 })
  })

  it("explains the placement it would make, and leaves the rotation alone", () => {
    for (const policy of ["eta", "round-robin", "least-loaded", "longest-prefix"] as const) {
      const ledger = make(4, policy)
      for (let i = 0; i < 12; i++) {
        const request = ask([i, i + 100], [0, i % 3 === 0 ? 16 : 0, 0, 0])
        const explained = ledger.explain({ ...request }, i)
        expect(ledger.explain({ ...request }, i).slot).toBe(explained.slot)
        expect(ledger.place(request, i)).toBe(explained.slot)
        expect(explained.policy).toBe(policy)
        expect(explained.candidates.length).toBe(4)
        ledger.book(explained.slot, request, i % 2 === 0, i)
      }
    }
  })

  it("goes round by name", () => {
    const ledger = make(3, "round-robin")
    expect([0, 1, 2, 3].map(() => ledger.place(ask(blocks, [640, 0, 0, 0]), 0))).toEqual([0, 1, 2, 0])
  })

  it("raises the price while requests wait and lowers it when they do not", () => {
    const ledger = make(2)
    const idle = ledger.snapshot(0).price
    const bookings = Array.from({ length: 20 }, () => ledger.book(0, ask(blocks), true, 0))
    const busyShare = 0.5 * (1 - Math.exp(-1))
    expect(ledger.snapshot(10_000).price).toBeCloseTo(idle + busyShare / (1 - busyShare), 6)
    for (const booking of bookings) booking.settle(10_000, { ...complete, outcome: "aborted" })
    expect(ledger.snapshot(300_000).price).toBeCloseTo(idle, 6)
  })
})
