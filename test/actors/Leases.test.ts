import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { Leases } from "../../actors/Leases.ts"
import { Members } from "../../actors/Members.ts"
import { Bus, word } from "../../src/ports/Bus.ts"
import * as BusMemory from "../../src/ports/BusMemory.ts"
import { pass } from "../support/Replicas.ts"

const names = Array.from({ length: 12 }, (_, i) => `10.0.0.${i}:8000`)

const start = (hub: BusMemory.Hub, id: string, ready = true, client = hub.client()) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const services = yield* Layer.build(
      Leases.layer().pipe(
        Layer.provideMerge(Members.layer({ id, kind: "router", url: `http://${id}`, version: "1" })),
        Layer.provide(client.layer)
      )
    ).pipe(Scope.provide(scope))
    const members = Context.get(services, Members)
    const leases = Context.get(services, Leases)
    members.setReady(ready)
    return {
      id,
      client,
      members,
      leases,
      want: (name: string) => leases.want(name).pipe(Scope.provide(scope)),
      mine: () => names.filter((name) => leases.epochOf(name) !== null),
      stop: Scope.close(scope, Exit.void)
    }
  })

type Replica = Effect.Success<ReturnType<typeof start>>

/** Publishers that not exactly one of these replicas has. */
const disputed = (all: ReadonlyArray<Replica>) =>
  names.filter((name) => all.filter(({ leases }) => leases.epochOf(name) !== null).length !== 1)

describe("Members", () => {
  it.effect("knows who is there, and what they tell of themselves", () =>
    Effect.gen(function* () {
      const hub = BusMemory.make()
      const a = yield* start(hub, "a")
      const b = yield* start(hub, "b", false)
      yield* pass(100)
      const seen = () => a.members.list().map(({ id, ready, url }) => [id, ready, url])
      assert.deepStrictEqual(seen(), [
        ["a", true, "http://a"],
        ["b", false, "http://b"]
      ])
      let changes = 0
      a.members.onChange(() => changes++)
      yield* pass(3_000)
      assert.strictEqual(changes, 0)
      b.members.setReady(true)
      yield* pass(100)
      assert.deepStrictEqual(seen()[1], ["b", true, "http://b"])
      yield* b.stop
      yield* pass(100)
      assert.deepStrictEqual(seen(), [["a", true, "http://a"]])
      assert.strictEqual(changes, 2)
      yield* a.stop
    })
  )

  it.effect("counts a replica out that was cut off, itself no later than the others, and in again", () =>
    Effect.gen(function* () {
      const hub = BusMemory.make()
      const a = yield* start(hub, "a")
      const b = yield* start(hub, "b")
      yield* pass(1_000)
      b.client.cut(true)
      let early = 0
      yield* pass(3_000, () => {
        // For a moment two may count it in, or none: never the others out and itself in.
        if (a.members.list().length === 1 && b.members.selfAlive()) early++
      })
      assert.strictEqual(early, 0)
      assert.strictEqual(a.members.list().length, 1)
      assert.strictEqual(b.members.selfAlive(), false)
      assert.strictEqual(b.members.known(), false)
      b.client.cut(false)
      yield* pass(200)
      assert.strictEqual(a.members.list().length, 2)
      assert.strictEqual(b.members.list().length, 2)
      assert.strictEqual(b.members.known(), true)
      yield* a.stop
      yield* b.stop
    })
  )

  it.effect("is known anew within a heartbeat when the broker has lost everything", () =>
    Effect.gen(function* () {
      const hub = BusMemory.make()
      const a = yield* start(hub, "a")
      const b = yield* start(hub, "b")
      yield* pass(1_000)
      hub.wipe()
      let least = 2
      yield* pass(3_000, () => {
        least = Math.min(least, a.members.list().length)
      })
      assert.strictEqual(least, 2)
      yield* a.stop
      yield* b.stop
    })
  )

  it.effect("takes nobody for dead when it is the table that is silent", () =>
    Effect.gen(function* () {
      const hub = BusMemory.make()
      const client = hub.client()
      let silent = false
      const table: typeof client.bus.table = (name) => {
        const rows = client.bus.table(name)
        return {
          ...rows,
          watch: (watcher) => rows.watch({ ...watcher, changed: (row) => silent || watcher.changed(row) })
        }
      }
      const layer = Layer.succeed(Bus, Bus.of({ ...client.bus, table }))
      const a = yield* start(hub, "a", true, { ...client, layer })
      const b = yield* start(hub, "b")
      yield* pass(1_000)
      silent = true
      yield* pass(30_000)
      assert.deepStrictEqual(
        a.members.list().map(({ id }) => id),
        ["a", "b"]
      )
      silent = false
      yield* pass(500)
      b.client.cut(true)
      yield* pass(2_600)
      assert.deepStrictEqual(
        a.members.list().map(({ id }) => id),
        ["a"]
      )
      yield* a.stop
      yield* b.stop
    })
  )

  it.effect("clears away the rows of the dead", () =>
    Effect.gen(function* () {
      const hub = BusMemory.make()
      const a = yield* start(hub, "a")
      const b = yield* start(hub, "b")
      yield* pass(1_000)
      b.client.cut(true)
      yield* Effect.forkChild(b.stop)
      yield* pass(10_000)
      assert.strictEqual((yield* a.client.bus.table("members").all).length, 2)
      yield* pass(3_000)
      assert.deepStrictEqual(
        (yield* a.client.bus.table("members").all).map(({ key }) => key),
        ["a"]
      )
      yield* a.stop
    })
  )
})

describe("Leases", () => {
  it.effect("gives each publisher to one replica, a share to each, and the whole to who is left", () =>
    Effect.gen(function* () {
      const hub = BusMemory.make()
      const all = [yield* start(hub, "a"), yield* start(hub, "b"), yield* start(hub, "c")]
      for (const name of names) for (const { want } of all) yield* want(name)
      yield* pass(8_000)
      assert.deepStrictEqual(disputed(all), [])
      for (const { mine } of all) assert.isAbove(mine().length, 0)
      const [a, b, c] = all as [Replica, Replica, Replica]
      for (const name of b.mine()) assert.strictEqual(a.leases.ownerOf(name)?.owner, "b")
      yield* b.stop
      yield* pass(500)
      assert.deepStrictEqual(disputed([a, c]), [])
      c.client.cut(true)
      yield* Effect.forkChild(c.stop)
      yield* pass(3_000)
      assert.deepStrictEqual(a.mine(), names)
      yield* a.stop
      yield* pass(100)
      assert.deepStrictEqual(yield* hub.client().bus.table("leases").all, [])
    })
  )

  it.effect("moves only the share of a replica that joins, and only once it is ready", () =>
    Effect.gen(function* () {
      const hub = BusMemory.make()
      const a = yield* start(hub, "a")
      for (const name of names) yield* a.want(name)
      yield* pass(1_000)
      assert.deepStrictEqual(a.mine(), names)
      const b = yield* start(hub, "b", false)
      for (const name of names) yield* b.want(name)
      yield* pass(10_000)
      assert.deepStrictEqual(a.mine(), names)
      b.members.setReady(true)
      yield* pass(4_000)
      assert.deepStrictEqual(a.mine(), names)
      yield* pass(2_000)
      assert.deepStrictEqual(disputed([a, b]), [])
      const share = b.mine()
      assert.isAbove(share.length, 1)
      assert.isBelow(share.length, names.length - 1)
      yield* pass(10_000)
      assert.deepStrictEqual(b.mine(), share)
      yield* a.stop
      yield* b.stop
    })
  )

  it.effect("gives nothing to a replica that does not know the publisher", () =>
    Effect.gen(function* () {
      const hub = BusMemory.make()
      const a = yield* start(hub, "a")
      const b = yield* start(hub, "b")
      for (const name of names) yield* a.want(name)
      let lost = 0
      yield* pass(1_000)
      yield* pass(10_000, () => {
        if (a.mine().length < names.length) lost++
      })
      assert.strictEqual(lost, 0)
      yield* a.stop
      yield* b.stop
    })
  )

  it.effect("gives each lease a higher epoch than any before, also when the broker has lost everything", () =>
    Effect.gen(function* () {
      const hub = BusMemory.make()
      const a = yield* start(hub, "a")
      const b = yield* start(hub, "b")
      for (const name of names) for (const { want } of [a, b]) yield* want(name)
      yield* pass(7_000)
      const epochs = () => names.map((name) => Math.max(a.leases.epochOf(name) ?? 0, b.leases.epochOf(name) ?? 0))
      const before = epochs()
      const [ofA, ofB] = [a.mine(), b.mine()]
      hub.wipe()
      yield* pass(700)
      // At once, by who had them.
      assert.deepStrictEqual([a.mine(), b.mine()], [ofA, ofB])
      for (const [i, epoch] of epochs().entries()) assert.isAbove(epoch, before[i]!)
      yield* a.stop
      yield* b.stop
    })
  )

  it.effect("claims anew what an earlier process of its name has left behind", () =>
    Effect.gen(function* () {
      const hub = BusMemory.make()
      const table = hub.client().bus.table("leases")
      for (const name of names.slice(0, 2))
        yield* table.put(word(name), Buffer.from(JSON.stringify({ owner: "a", epoch: 77 })))
      const a = yield* start(hub, "a")
      yield* a.want(names[0]!)
      yield* pass(500)
      assert.isAbove(a.leases.epochOf(names[0]!)!, 77)
      // This one it does not read.
      assert.deepStrictEqual(
        a.leases.list().map(({ name }) => name),
        [names[0]]
      )
      yield* a.stop
    })
  )

  it.effect("gives up what it cannot read, and claims it again when it can", () =>
    Effect.gen(function* () {
      const hub = BusMemory.make()
      const a = yield* start(hub, "a")
      yield* a.want(names[0]!)
      yield* pass(500)
      a.leases.setAble(false)
      yield* pass(3_000)
      assert.deepStrictEqual(a.mine(), [])
      assert.strictEqual(a.leases.ownerOf(names[0]!), null)
      a.leases.setAble(true)
      yield* pass(500)
      assert.deepStrictEqual(a.mine(), [names[0]])
      yield* a.stop
    })
  )

  it.effect("are given up by a replica that is about to end, to those who stay, and not taken back", () =>
    Effect.gen(function* () {
      const hub = BusMemory.make()
      const all = [yield* start(hub, "a"), yield* start(hub, "b"), yield* start(hub, "c")]
      for (const { want } of all) for (const name of names) yield* want(name)
      yield* pass(1_000)
      const [a, ...staying] = all
      assert.isAbove(a!.mine().length, 0)
      a!.members.setReady(false)
      a!.leases.giveUp()
      yield* pass(500)
      assert.deepStrictEqual([a!.mine(), disputed(staying)], [[], []])
      yield* pass(10_000)
      assert.deepStrictEqual(a!.mine(), [])
      for (const { stop } of all) yield* stop
    })
  )

  it.effect("counts its leases out with itself, and has them again if nobody took them", () =>
    Effect.gen(function* () {
      const hub = BusMemory.make()
      const a = yield* start(hub, "a")
      yield* a.want(names[0]!)
      yield* pass(500)
      const epoch = a.leases.epochOf(names[0]!)
      a.client.cut(true)
      yield* pass(1_400)
      assert.strictEqual(a.leases.epochOf(names[0]!), epoch)
      yield* pass(700)
      assert.strictEqual(a.leases.epochOf(names[0]!), null)
      a.client.cut(false)
      yield* pass(200)
      assert.strictEqual(a.leases.epochOf(names[0]!), epoch)
      yield* a.stop
    })
  )
})
