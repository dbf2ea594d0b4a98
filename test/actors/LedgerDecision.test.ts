import { describe, expect, it } from "vitest"
import * as Ledger from "../../actors/Ledger.ts"
import * as Random from "../../loadtest/Random.ts"
import * as Decision from "../../src/hot/Decision.ts"
import { type Name, names } from "../../src/hot/Policies.ts"

/** As many candidates as a receipt keeps. */
const most = 32

/** A ledger of `workers` with some seconds of work behind it, and what comes next: asks, at their times. */
const used = (seed: number, workers: number, policy: Name) => {
  const random = Random.make(seed)
  const upTo = (limit: number) => Math.floor(random() * limit)
  const ledger = Ledger.make({ policy, workersMax: 256 })
  // Some fleets are idle and all alike: nothing but ties.
  const alike = seed % 4 === 0
  for (let slot = 0; slot < workers; slot++) {
    ledger.join(slot, alike || slot % 5 > 0 ? 200_000 : null)
    if (slot % 7 === 3) ledger.setPriority(slot, 0)
    if (!alike && random() < 0.3) ledger.setCredit(slot, random())
  }
  const chains = Array.from({ length: 4 }, () => Int32Array.from({ length: 2 * 64 }, () => upTo(2 ** 31)))
  let nowMs = 0
  const next = (): Ledger.Ask => {
    nowMs += alike ? 0 : random() * 50
    const promptTokens = 1_024 + upTo(20_000)
    const held = () => (alike || random() < 0.6 ? 0 : upTo(promptTokens))
    const cachedTokens = Uint32Array.from({ length: 256 }, (_, slot) => (slot < workers ? held() : 0))
    return {
      ...{ promptTokens, cachedTokens, heldTokens: cachedTokens.slice() },
      ...{ keys: alike ? new Int32Array(0) : chains[upTo(4)]!, blockSize: 16 },
      priority: random() < 0.3 ? upTo(3) : null,
      // Others wait in the router, for some workers.
      aheadMs:
        alike || random() < 0.5
          ? null
          : Float64Array.from({ length: 256 }, () => Math.max(0, random() * 4_000 - 2_000)),
      eligible: random() < 0.5 ? null : Uint8Array.from({ length: 256 }, () => (random() < 0.8 ? 1 : 0))
    }
  }
  const open: Array<Ledger.Booking> = []
  const work = () => {
    const ask = next()
    const slot = ledger.place(ask, nowMs)
    if (slot < 0) return
    open.push(ledger.book(slot, ask, random() < 0.8, nowMs))
    if (open.length > workers) open[upTo(open.length)]!.firstByte(nowMs)
    if (open.length > 3 * workers) {
      const [done] = open.splice(upTo(open.length), 1)
      done!.settle(nowMs, { outputTokens: upTo(500), cachedTokens: null, outcome: "complete" })
    }
    const load = { running: upTo(9), waiting: upTo(5), kvUsage: random() }
    if (!alike && random() < 0.2) ledger.hint(upTo(workers), load, nowMs)
  }
  return { alike, ledger, next, now: () => nowMs, upTo, work }
}

describe("a placement that was kept", () => {
  it.each(names)("is of the worker that was chosen, whatever the fleet and its load, by %s", (policy) => {
    let leftOut = 0
    let tied = 0
    let vacated = 0
    let swayed = 0
    const chosen = new Set<number>()
    for (let seed = 1; seed <= 60; seed++) {
      const workers = seed <= 20 ? seed : 1 + ((seed * 37) % 200)
      const { alike, ledger, next, now, upTo, work } = used(seed, workers, policy)
      for (let i = 0; i < 2 * workers && !alike; i++) work()
      let last = workers
      for (let i = 0; i < 12; i++) {
        // The last slots may be vacated: the rotation then lies behind all there are.
        if (i % 4 === 3 && last > 1) {
          for (const to = 1 + upTo(last - 1); last > to; vacated++) ledger.leave(--last)
        }
        const ask = next()
        const kept = JSON.parse(JSON.stringify(ledger.decision(ask, now(), most))) as Decision.Decision
        const whole = ledger.explain(ask, now())
        const unheld = ledger.explain({ ...ask, aheadMs: null }, now()).slot
        const { decision, slot } = ledger.decide(ask, now(), most)
        expect(JSON.parse(JSON.stringify(decision))).toEqual(kept)
        if (policy === "eta" && unheld !== slot) swayed++
        expect(kept.slots.length).toBe(Math.min(most, whole.candidates.length))
        if (slot < 0) continue
        expect(whole.slot).toBe(slot)
        expect(kept.slots).toContain(slot)
        const again = Decision.again(kept)
        if (policy === "eta") expect(again.slot).toBe(slot)
        // And of those that are left, what they would have cost, to the last bit.
        for (const candidate of again.candidates) {
          expect(whole.candidates.find((each) => each.slot === candidate.slot)).toEqual(candidate)
        }
        const least = Math.min(...whole.candidates.map(({ costMs }) => costMs))
        if (whole.candidates.filter(({ costMs }) => costMs === least).length > 1) tied++
        leftOut += Math.sign(whole.candidates.length - kept.slots.length)
        chosen.add(slot)
        if (!alike) ledger.book(slot, ask, true, now())
      }
    }
    // Those who wait were counted.
    expect(swayed > 20).toBe(policy === "eta")
    expect([leftOut > 100, tied > 20, vacated > 100, chosen.size > 50]).toEqual([true, true, true, true])
  })
})
