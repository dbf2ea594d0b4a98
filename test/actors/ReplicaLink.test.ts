import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { expect } from "vitest"
import * as Ledger from "../../actors/Ledger.ts"
import { ReplicaLink } from "../../actors/ReplicaLink.ts"
import type { KeyLanes } from "../../src/domain/Block.ts"
import * as BusMemory from "../../src/ports/BusMemory.ts"
import { keysOf } from "../support/QueueSim.ts"

const workersMax = 8
const blockSize = 16

const askOf = (keys: KeyLanes): Ledger.Ask => ({
  cachedTokens: new Uint32Array(workersMax),
  heldTokens: new Uint32Array(workersMax),
  promptTokens: (keys.length >> 1) * blockSize + 5,
  keys,
  blockSize,
  priority: null,
  eligible: null
})

const ask = (document: number, blocks = 40): Ledger.Ask =>
  askOf(keysOf(Array.from({ length: blocks }, (_, i) => document * 1_000 + i)))

const done: Ledger.Outcome = { outputTokens: 10, cachedTokens: 0, outcome: "complete" }

interface Replica {
  readonly client: BusMemory.Client
  /** As the request path has it, and as it is. */
  readonly told: Ledger.Ledger["Service"]
  readonly ledger: Ledger.Ledger["Service"]
  readonly link: ReplicaLink["Service"]
}

/** Messages arrive on the sender's turn; clocks are the test's. */
const hubOf = () => BusMemory.make({ later: (turn) => turn() })

const replica = (
  hub: BusMemory.Hub,
  id: string,
  { incarnation = 1, workers = ["a", "b", "c", "d"] as ReadonlyArray<string> } = {}
): Effect.Effect<Replica, never, Scope.Scope> =>
  Effect.gen(function* () {
    const client = hub.client()
    const ledger = Ledger.make({ policy: "eta", workersMax })
    const now = yield* Effect.clockWith((clock) => Effect.succeed(() => clock.currentTimeMillisUnsafe()))
    const context = yield* Layer.build(
      ReplicaLink.layer({ self: { id }, ledger, now, incarnation }).pipe(Layer.provide(client.layer))
    )
    const link = yield* ReplicaLink.pipe(Effect.provide(context))
    workers.forEach((name, slot) => {
      ledger.join(slot, null)
      link.join(slot, name)
    })
    // So that its fibers have begun.
    yield* TestClock.adjust(1)
    return { client, ledger, link, told: link.ledger }
  })

/** Requests by slot. */
const counts = ({ ledger }: Replica) => ledger.snapshot(0).workers.map(({ active, queued }) => [queued, active])
const idle = [0, 0, 0, 0].map(() => [0, 0])

describe("ReplicaLink", () => {
  it.effect("tells others within a turn what was booked, what shows a token and what is done", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const here = yield* replica(hub, "r1")
      // Slots are each replica's own: names are what they share.
      const there = yield* replica(hub, "r2", { workers: ["d", "c", "b", "a"] })
      const bookings = [0, 1, 1].map((slot, i) => here.told.book(slot, ask(i), true, 1))
      expect(counts(there)).toEqual(idle)
      yield* TestClock.adjust(5)
      expect(counts(there)).toEqual([...idle.slice(2), [2, 0], [1, 0]])
      bookings[0]!.firstByte(6)
      bookings[1]!.settle(6, done)
      yield* TestClock.adjust(5)
      expect(counts(there)).toEqual([...idle.slice(2), [1, 0], [0, 1]])
      for (const booking of bookings) booking.settle(11, done)
      yield* TestClock.adjust(5)
      expect([counts(there), counts(here)]).toEqual([idle, idle])
      // One message a turn beside each one's first beat; nothing of its own is heard.
      expect([here.link.stats().sent, here.link.stats().heard, there.link.stats().heard]).toEqual([4, 1, 3])
    })
  )

  it.effect("asks for the state when a message was lost, even the last, and then agrees", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const here = yield* replica(hub, "r1")
      const there = yield* replica(hub, "r2")
      there.client.loses = () => true
      for (let i = 0; i < 20; i++) here.told.book(i % 4, ask(i), true, 1)
      yield* TestClock.adjust(5)
      there.client.loses = () => false
      expect(counts(there)).toEqual(idle)
      yield* TestClock.adjust(1_000)
      expect(counts(there)).toEqual(counts(here))
      const { gaps, owners, statesTaken } = there.link.stats()
      expect([gaps, statesTaken, here.link.stats().statesGiven]).toEqual([1, 1, 1])
      expect(owners).toMatchObject([{ id: "r1", open: 20, broken: false, ageMs: expect.any(Number) }])
      // States are sent to who asks: a quiet line has only beats.
      yield* TestClock.adjust(5_000)
      expect(here.link.stats().statesGiven).toBe(1)
    })
  )

  it.effect("knows what was open before it joined, though the state takes many messages", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const here = yield* replica(hub, "r1")
      const bookings = Array.from({ length: 300 }, (_, i) => here.told.book(i % 4, ask(i, 500), true, 1))
      for (const booking of bookings.slice(0, 100)) booking.firstByte(2)
      yield* TestClock.adjust(5)
      const there = yield* replica(hub, "r2")
      yield* TestClock.adjust(1_000)
      expect(counts(there)).toEqual(counts(here))
      const sibling = ask(299, 500)
      there.ledger.explain(sibling, 1_001)
      expect(sibling.cachedTokens[3]).toBe(500 * blockSize)
      expect(there.ledger.snapshot(0).inFlightEntries).toBe(200)
    })
  )

  it.effect("drops what a replica had open when it is dead, or not heard for three seconds", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const here = yield* replica(hub, "r1")
      const there = yield* replica(hub, "r2")
      const third = yield* replica(hub, "r3")
      for (let i = 0; i < 20; i++) here.told.book(i % 4, ask(i), true, 1)
      third.told.book(0, ask(50), true, 1)
      yield* TestClock.adjust(5)
      here.client.cut(true)
      there.link.gone("r1")
      expect(counts(there)).toEqual([[1, 0], ...idle.slice(1)])
      expect(counts(third)[1]).toEqual([5, 0])
      yield* TestClock.adjust(4_000)
      expect(counts(third)).toEqual([[1, 0], ...idle.slice(1)])
      expect(third.link.stats()).toMatchObject({ expired: 1 })
      // The one that was cut off has the same to say of the others; its own requests it knows.
      expect(counts(here)).toEqual([0, 1, 2, 3].map(() => [5, 0]))
      expect(here.link.stats()).toMatchObject({ expired: 2, open: 20 })
      here.client.cut(false)
      yield* TestClock.adjust(1_000)
      for (const each of [here, there, third]) expect(counts(each)[0]).toEqual([6, 0])
    })
  )

  it.effect("hears the next life of a replica and forgets the last", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const there = yield* replica(hub, "r2")
      yield* Effect.scoped(
        Effect.gen(function* () {
          const former = yield* replica(hub, "r1", { incarnation: 1 })
          for (let i = 0; i < 8; i++) former.told.book(i % 4, ask(i), true, 1)
          yield* TestClock.adjust(5)
        })
      )
      expect(there.link.stats().owners).toMatchObject([{ open: 8 }])
      const later = yield* replica(hub, "r1", { incarnation: 2 })
      later.told.book(2, ask(9), true, 10)
      yield* TestClock.adjust(5)
      expect(counts(there)).toEqual([...idle.slice(2), [1, 0], [0, 0]])
      expect(there.link.stats().owners).toMatchObject([{ open: 1, broken: false }])
    })
  )

  it.effect("keeps nothing for a bus that is away, and goes on when it is back", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const here = yield* replica(hub, "r1")
      const there = yield* replica(hub, "r2")
      here.client.cut(true)
      const { sentBytes } = here.link.stats()
      for (let i = 0; i < 2_000; i++) {
        here.told.book(i % 4, ask(i), true, i).settle(i, done)
        if (i % 100 === 0) yield* TestClock.adjust(10)
      }
      const open = here.told.book(1, ask(5), true, 2_000)
      expect(here.link.stats()).toMatchObject({ sentBytes, open: 1 })
      here.client.cut(false)
      yield* TestClock.adjust(2_000)
      expect(counts(there)).toEqual([[0, 0], [1, 0], ...idle.slice(2)])
      open.settle(2_100, done)
      yield* TestClock.adjust(5)
      expect(counts(there)).toEqual(idle)
    })
  )

  it.effect("is not harmed by bytes that make no sense", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const there = yield* replica(hub, "r2")
      const stranger = hub.client()
      for (const bytes of [[], [1], [9, 9, 9], Array.from({ length: 60 }, (_, i) => i)]) {
        stranger.bus.publish("load.r9", Uint8Array.from(bytes))
      }
      yield* TestClock.adjust(1_000)
      expect(counts(there)).toEqual(idle)
      expect(there.link.stats()).toMatchObject({ unreadable: 4, owners: [] })
    })
  )

  it.effect("sends siblings that come to two replicas to one worker", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const two = [yield* replica(hub, "r1"), yield* replica(hub, "r2")]
      const used = new Set<number>()
      for (let i = 0; i < 24; i++) {
        const { told } = two[i % 2]!
        // One document, and a question each.
        const sibling = askOf(keysOf([...Array.from({ length: 400 }, (_, b) => 7_000 + b), 90_000 + i]))
        const slot = told.place(sibling, i * 20)
        used.add(slot)
        told.book(slot, sibling, true, i * 20)
        yield* TestClock.adjust(20)
      }
      assert.strictEqual(used.size, 1)
    })
  )

  it.effect(
    "sends siblings that come all at once to as few workers as one replica does, and then knows of all of them",
    () =>
      Effect.gen(function* () {
        const sibling = (i: number) => askOf(keysOf([...Array.from({ length: 400 }, (_, b) => 7_000 + b), 90_000 + i]))
        const burst = (ledgers: ReadonlyArray<Ledger.Ledger["Service"]>, count: number) =>
          Array.from({ length: count }, (_, i) => {
            const ledger = ledgers[i % ledgers.length]!
            const slot = ledger.place(sibling(i), 0)
            ledger.book(slot, sibling(i), true, 0)
            return slot
          })
        const names = ["a", "b", "c", "d", "e", "f", "g", "h"]
        const alone = yield* replica(hubOf(), "r1", { workers: names })
        const few = new Set(burst([alone.told], 8)).size
        const hub = hubOf()
        const two = [
          yield* replica(hub, "r1", { workers: names }),
          yield* replica(hub, "r2", { workers: names.toReversed() })
        ] as const
        const used = new Set(
          burst(
            two.map(({ told }) => told),
            8
          ).map((slot, i) => names[i % 2 === 0 ? slot : 7 - slot])
        )
        // Neither has heard of the other, and they are spread no further than behind one.
        expect(few).toBeLessThan(8)
        expect(used.size).toBeLessThanOrEqual(few)
        yield* TestClock.adjust(5)
        // From then on both know the same of every worker: what is on its way there, and how long it is busy, but for the
        // 8 ms after which they have heard of it.
        const [one, other] = two.map(({ told }) => told.explain(sibling(99), 5).candidates)
        for (const [slot, { cachedTokens, waitMs }] of one!.entries()) {
          expect(other![7 - slot]!.cachedTokens).toBe(cachedTokens)
          expect(Math.abs(other![7 - slot]!.waitMs - waitMs)).toBeLessThanOrEqual(8)
        }
        expect(one!.filter(({ cachedTokens }) => cachedTokens > 0).length).toBe(used.size)
      })
  )

  it.effect("does not herd: strangers that come to two replicas spread over the fleet as behind one", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const two = [yield* replica(hub, "r1"), yield* replica(hub, "r2")]
      const given = [0, 0, 0, 0]
      for (let i = 0; i < 40; i++) {
        const { told } = two[i % 2]!
        const stranger = ask(100 + i, 200)
        const slot = told.place(stranger, i * 20)
        given[slot] = given[slot]! + 1
        told.book(slot, stranger, true, i * 20)
        yield* TestClock.adjust(20)
      }
      expect(given).toEqual([10, 10, 10, 10])
      expect(counts(two[0]!)).toEqual(counts(two[1]!))
    })
  )
})
