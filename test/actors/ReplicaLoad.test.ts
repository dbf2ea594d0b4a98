import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as Ledger from "../../actors/Ledger.ts"
import { ReplicaLoad } from "../../actors/ReplicaLoad.ts"
import * as ToldLedger from "../../actors/ToldLedger.ts"
import { OwnLoad } from "../../src/hot/OwnLoad.ts"
import { keysOf } from "../support/QueueSim.ts"

const workers = 3
const blockSize = 16

/** A replica that tells, without a bus: slots are worker names. */
const teller = (incarnation: number) => {
  const ledger = makeLedger()
  const own = new OwnLoad(incarnation)
  return {
    own,
    ledger,
    told: ToldLedger.make(
      ledger,
      own,
      (slot) => slot,
      () => {}
    )
  }
}

const makeLedger = () => {
  const ledger = Ledger.make({ policy: "eta", workersMax: 8 })
  for (let slot = 0; slot < workers; slot++) ledger.join(slot, 100_000)
  return ledger
}

const listener = (slotOf: (worker: number) => number | undefined = (worker) => worker) => {
  const ledger = makeLedger()
  return { ledger, load: new ReplicaLoad({ charge: ledger.charge, slotOf }) }
}

const ask = (first: number, blocks: number): Ledger.Ask => ({
  cachedTokens: new Uint32Array(8),
  heldTokens: new Uint32Array(8),
  promptTokens: blocks * blockSize + 3,
  keys: keysOf(Array.from({ length: blocks }, (_, i) => first * 1_000 + i)),
  blockSize,
  priority: null,
  eligible: null
})

const done: Ledger.Outcome = { outputTokens: 10, cachedTokens: 0, outcome: "complete" }

/** Requests by slot: what both ledgers must have alike. Rates are learned by who saw, so predicted ms may differ. */
const shown = (ledger: Ledger.Ledger["Service"], nowMs: number) =>
  ledger
    .snapshot(nowMs)
    .workers.map(({ active, activeTokens, queued, slot }) => ({ slot, active, activeTokens, queued }))

const idle = Array.from({ length: workers }, (_, slot) => ({ slot, active: 0, activeTokens: 0, queued: 0 }))

const state = (own: OwnLoad, load: ReplicaLoad, nowMs: number) => {
  const delta = own.take()
  load.restore(own.state(4_096), nowMs)
  return delta
}

describe("what another replica has open", () => {
  it("is charged here as there: queued, then decoding, then gone", () => {
    const { ledger, own, told } = teller(1)
    const { ledger: here, load } = listener()
    const booking = told.book(1, ask(1, 40), true, 0)
    load.hear(own.take()!, 1)
    expect(shown(here, 1)).toEqual(shown(ledger, 1))
    expect(here.snapshot(1)).toMatchObject({ inFlightEntries: 1, inFlightBytes: 320 })
    booking.firstByte(50)
    load.hear(own.take()!, 51)
    expect(shown(here, 51)[1]).toMatchObject({ queued: 0, active: 1, activeTokens: 643 })
    booking.settle(90, done)
    load.hear(own.take()!, 91)
    expect(shown(here, 91)).toEqual(idle)
    expect(here.snapshot(9_000)).toMatchObject({ inFlightEntries: 0, inFlightBytes: 0 })
    expect([load.open, load.digest, own.digest]).toEqual([0, 0, 0])
  })

  it("teaches nothing here, and counts as traffic all the same", () => {
    const { own, told } = teller(1)
    const { ledger: here, load } = listener()
    const before = here.snapshot(0)
    for (let i = 0; i < 50; i++) {
      const booking = told.book(i % 3, ask(i, 400), true, i * 100)
      load.hear(own.take()!, i * 100)
      booking.firstByte(i * 100 + 90)
      booking.settle(i * 100 + 99, { ...done, outputTokens: 4 })
      load.hear(own.take()!, i * 100 + 99)
    }
    const after = here.snapshot(5_000)
    expect(after.workers.map(({ decodeSamples, prefillSamples }) => [prefillSamples, decodeSamples])).toEqual([
      [0, 0],
      [0, 0],
      [0, 0]
    ])
    expect(after.workers[0]!.prefillMsPerToken).toBe(before.workers[0]!.prefillMsPerToken)
    expect(after.busyMean).toBeGreaterThan(0.1)
  })

  it("raises overlaps here before the engine tells, until it failed there", () => {
    const { own, told } = teller(1)
    const { ledger: here, load } = listener()
    const booking = told.book(2, ask(7, 60), true, 0)
    load.hear(own.take()!, 1)
    const sibling = ask(7, 60)
    here.explain(sibling, 2)
    expect([...sibling.cachedTokens.slice(0, 3)]).toEqual([0, 0, 60 * blockSize])
    booking.settle(3, { ...done, outcome: "failed" })
    load.hear(own.take()!, 4)
    const later = ask(7, 60)
    here.explain(later, 5)
    expect([...later.cachedTokens.slice(0, 3)]).toEqual([0, 0, 0])
  })

  it("waits for a delta that is late, takes none twice, and asks for the state when one is lost", () => {
    const { own, told, ledger } = teller(1)
    const { ledger: here, load } = listener()
    const [a, b, c] = [0, 1, 2].map((slot) => {
      told.book(slot, ask(slot, 10), true, 0)
      return own.take()!
    })
    load.hear(c!, 1)
    load.hear(a!, 1)
    expect([load.broken, load.open]).toEqual([true, 1])
    load.hear(b!, 2)
    expect([load.broken, load.open, load.counts.gaps]).toEqual([false, 3, 1])
    for (const message of [a, b, c]) load.hear(message!, 3)
    expect([load.open, load.counts.duplicates]).toEqual([3, 3])
    told.book(0, ask(9, 10), true, 4)
    own.take()
    load.hear(own.beat(), 5)
    expect(load.broken).toBe(true)
    state(own, load, 6)
    expect([load.broken, load.open]).toEqual([false, 4])
    expect(shown(here, 6)).toEqual(shown(ledger, 6))
  })

  it("finds by its digest what differs though no number is missing", () => {
    const { own, told } = teller(1)
    const { load } = listener()
    told.book(0, ask(1, 1), true, 0)
    const message = own.take()!
    // Another request under the same number.
    message[20] = 99
    load.hear(message, 1)
    load.hear(own.beat(), 2)
    expect([load.broken, load.counts.disagreed]).toEqual([true, 1])
    // What comes meanwhile waits.
    told.book(1, ask(2, 1), true, 2)
    load.hear(own.take()!, 3)
    expect(load.open).toBe(1)
    state(own, load, 4)
    load.hear(own.beat(), 5)
    expect([load.broken, load.open, load.digest]).toEqual([false, 2, own.digest])
  })

  it("counts a request once, though a state knows more than the deltas before it", () => {
    const { own, told, ledger } = teller(1)
    const { ledger: here, load } = listener()
    told.book(0, ask(1, 10), true, 0)
    own.take()
    load.hear(own.beat(), 1)
    const booking = told.book(1, ask(2, 10), true, 1)
    booking.firstByte(2)
    load.restore(own.state(4_096), 3)
    load.hear(own.take()!, 4)
    expect([shown(here, 4), load.digest]).toEqual([shown(ledger, 4), own.digest])
  })

  it("begins with nothing in a new life, and hears nothing of the former any more", () => {
    const former = teller(1)
    const later = teller(2)
    const { ledger: here, load } = listener()
    for (let i = 0; i < 5; i++) former.told.book(0, ask(i, 10), true, 0)
    load.hear(former.own.take()!, 0)
    later.told.book(1, ask(9, 10), true, 1)
    load.hear(later.own.take()!, 1)
    former.told.book(0, ask(6, 10), true, 2)
    load.hear(former.own.take()!, 2)
    expect(shown(here, 3)).toEqual([idle[0], { slot: 1, active: 0, activeTokens: 0, queued: 1 }, idle[2]])
    expect([load.broken, load.incarnation]).toEqual([false, 2])
  })

  it("is gone at once when its replica is, and back by the state when that is heard again", () => {
    const { own, told, ledger } = teller(1)
    const { ledger: here, load } = listener()
    const bookings = Array.from({ length: 9 }, (_, i) => told.book(i % 3, ask(i, 30), true, 0))
    bookings[0]!.firstByte(10)
    load.hear(own.take()!, 11)
    load.expire(3_000)
    expect(shown(here, 3_000)).toEqual(idle)
    expect(here.snapshot(3_000)).toMatchObject({ inFlightEntries: 0, inFlightBytes: 0 })
    load.hear(own.beat(), 4_000)
    expect(load.broken).toBe(true)
    state(own, load, 4_001)
    expect(shown(here, 4_001)).toEqual(shown(ledger, 4_001))
    expect(here.snapshot(4_001).inFlightEntries).toBe(8)
  })

  it("is kept in mind while its worker is not known here, and charged when that joins, or joins again", () => {
    const slots = new Map<number, number>()
    const { own, told } = teller(1)
    const { ledger: here, load } = listener((worker) => slots.get(worker))
    const [first, second] = [ask(1, 20), ask(2, 20)].map((each) => told.book(2, each, true, 0))
    second!.firstByte(5)
    load.hear(own.take()!, 6)
    expect([shown(here, 6), load.open]).toEqual([idle, 2])
    slots.set(2, 0)
    load.join(2, 0, 7)
    expect(shown(here, 7)[0]).toMatchObject({ queued: 1, active: 1 })
    const sibling = ask(1, 20)
    here.explain(sibling, 8)
    expect(sibling.cachedTokens[0]).toBe(20 * blockSize)
    slots.delete(2)
    here.leave(0)
    load.leave(2)
    slots.set(2, 4)
    here.join(4, null)
    load.join(2, 4, 9)
    expect(shown(here, 9).at(-1)).toMatchObject({ slot: 4, queued: 1, active: 1 })
    first!.settle(10, done)
    second!.settle(10, done)
    load.hear(own.take()!, 11)
    expect([shown(here, 11).at(-1), load.digest]).toEqual([{ slot: 4, active: 0, activeTokens: 0, queued: 0 }, 0])
  })

  it("agrees when all is heard, whatever was lost, doubled, late or cut off before; and nothing stays of the dead", () => {
    const action = fc.record({
      verb: fc.constantFrom("book", "book", "book", "first", "settle", "fail", "take", "take", "beat", "mend", "rare"),
      rare: fc.constantFrom("restart", "cut", "join", "leave", "expire", "nothing", "nothing", "nothing"),
      pick: fc.nat(1_000),
      blocks: fc.integer({ min: 0, max: 60 }),
      fate: fc.constantFrom("heard", "heard", "heard", "heard", "lost", "twice", "late"),
      waitMs: fc.nat(200)
    })
    fc.assert(
      fc.property(fc.array(action, { maxLength: 200 }), (actions) => {
        let life = teller(1)
        const slots = new Map([0, 1, 2].map((slot) => [slot, slot]))
        const { ledger: here, load } = listener((worker) => slots.get(worker))
        let open: Array<Ledger.Booking> = []
        /** What was open after each delta. */
        const digests = new Map<string, number>()
        const take = (): Uint8Array | null => {
          const message = life.own.take()
          digests.set(`${life.own.incarnation}/${life.own.sequence}`, life.own.digest)
          return message
        }
        const late: Array<Uint8Array> = []
        let isCut = false
        let nowMs = 0
        const send = (message: Uint8Array | null, fate: string): void => {
          if (message === null || isCut || fate === "lost") return
          if (fate === "late") return void late.push(message)
          load.hear(message, nowMs)
          if (fate === "twice") load.hear(message, nowMs)
          for (const each of late.splice(0, late.length >> 1).reverse()) load.hear(each, nowMs)
        }
        for (const { blocks, fate, pick, rare, verb, waitMs } of actions) {
          nowMs += waitMs
          const at = pick % Math.max(1, open.length)
          if (verb === "book") open.push(life.told.book(pick % workers, ask(pick % 7, blocks), pick % 5 !== 0, nowMs))
          else if (verb === "first") open[at]?.firstByte(nowMs)
          else if (verb === "settle" || verb === "fail") {
            const outcome = verb === "settle" ? done : { ...done, outcome: "failed" as const }
            for (const booking of open.splice(at, 1)) booking.settle(nowMs, outcome)
          } else if (verb === "take") send(take(), fate)
          else if (verb === "beat") {
            send(take(), fate)
            send(life.own.beat(), fate)
          } else if (verb === "mend") {
            if (!load.broken || isCut) continue
            const delta = take()
            load.restore(life.own.state(4_096), nowMs)
            send(delta, fate)
          } else if (rare === "restart") {
            life = teller(life.own.incarnation + 1)
            open = []
          } else if (rare === "cut") isCut = !isCut
          else if (rare === "expire") load.expire(nowMs)
          else if (rare === "leave") {
            slots.delete(0)
            here.leave(0)
            load.leave(0)
          } else if (rare === "join" && !slots.has(0)) {
            slots.set(0, 0)
            here.join(0, null)
            load.join(0, 0, nowMs)
          }
          // They differ by the deltas that are on their way, and by nothing else.
          if (load.sequence > 0) {
            expect(load.digest).toBe(digests.get(`${load.incarnation}/${load.sequence}`))
          }
          expect(
            here
              .snapshot(nowMs)
              .workers.every(({ active, queued, queuedMs }) => active >= 0 && queued >= 0 && queuedMs >= 0)
          ).toBe(true)
        }
        // The bus is well from now on, and everything that was on its way arrives.
        isCut = false
        for (const message of late) load.hear(message, nowMs)
        for (let i = 0; i < 2; i++) {
          const delta = life.own.take()
          if (delta !== null) load.hear(delta, nowMs)
          load.hear(life.own.beat(), nowMs)
          if (load.broken) state(life.own, load, nowMs)
        }
        expect([load.broken, load.open, load.digest]).toEqual([false, life.own.open, life.own.digest])
        if (!slots.has(0)) {
          slots.set(0, 0)
          here.join(0, null)
          load.join(0, 0, nowMs)
        }
        // What is not streamed is taken for decoding when it was due, by each one's own reckoning.
        const later = nowMs + 1e9
        const counted = (ledger: Ledger.Ledger["Service"]) =>
          shown(ledger, later).map(({ active, queued, slot }) => ({ slot, requests: active + queued }))
        expect(counted(here)).toEqual(counted(life.ledger))
        load.expire(later)
        expect(shown(here, later)).toEqual(idle)
        expect(here.snapshot(later + 10_000)).toMatchObject({ inFlightEntries: 0, inFlightBytes: 0, dropped: 0 })
        expect(here.snapshot(later).workers.every(({ queuedMs }) => queuedMs === 0)).toBe(true)
      }),
      { numRuns: 500, seed: 21 }
    )
  })
})
