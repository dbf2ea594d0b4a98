import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, type Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Announcements from "../../actors/Announcements.ts"
import { Fleet } from "../../actors/Fleet.ts"
import { FleetShare } from "../../actors/FleetShare.ts"
import type { WorkerSpec } from "../../src/domain/Worker.ts"
import { Bus, BusError, type Table, type TableName } from "../../src/ports/Bus.ts"
import * as BusMemory from "../../src/ports/BusMemory.ts"
import * as FakeEngine from "../support/FakeEngine.ts"

const a = { id: "a", url: "http://a:8000" }
const b = { id: "b", url: "http://b:8000" }

interface Replica {
  readonly fake: ReturnType<typeof FakeEngine.make>
  readonly client: BusMemory.Client
  readonly fleet: Fleet["Service"]
  readonly share: FleetShare["Service"]
  /** Each worker's state in this replica's fleet. */
  readonly states: () => Record<string, string>
}

/** One more router, with a list of its own. */
const replica = Effect.fnUntraced(function* (
  hub: BusMemory.Hub,
  id: string,
  listed: ReadonlyArray<WorkerSpec> = [],
  isAway = false,
  client = hub.client()
): Effect.fn.Return<Replica, never, Scope.Scope> {
  const fake = FakeEngine.make()
  if (isAway) client.cut(true)
  const context = yield* Layer.build(
    FleetShare.layer({ self: { id }, workersMax: 8 }).pipe(
      Layer.provideMerge(Fleet.layer(fake.options)),
      Layer.provideMerge(client.layer)
    )
  ) as Effect.Effect<Context.Context<Fleet | FleetShare | Bus>, never, Scope.Scope>
  const fleet = Context.get(context, Fleet)
  const share = Context.get(context, FleetShare)
  yield* Effect.forkScoped(share.set(listed))
  yield* settle
  return {
    fake,
    client,
    fleet,
    share,
    states: () => Object.fromEntries(fleet.list().map(({ spec, state }) => [spec.id, state]))
  }
})

const settle = TestClock.adjust("20 millis")
const hubOf = () => BusMemory.make({ later: queueMicrotask })
const announce = ({ client }: Replica, said: unknown) =>
  client.bus.publish(Announcements.subject, Buffer.from(JSON.stringify(said)))

describe("FleetShare", () => {
  it.effect("a worker that one router is told of takes requests from all of them", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const one = yield* replica(hub, "one")
      const two = yield* replica(hub, "two")
      const added = yield* one.share.add(a)
      assert.deepStrictEqual([added.shared, added.why, added.worker.state], [true, "", "joining"])
      yield* settle
      assert.deepStrictEqual([one.states(), two.states()], [{ a: "ready" }, { a: "ready" }])
      const late = yield* replica(hub, "late")
      assert.deepStrictEqual(late.states(), { a: "ready" })
      assert.deepStrictEqual(late.share.list(), [
        {
          id: "a",
          url: a.url,
          told: { state: "listed", by: "one", atMs: late.share.list()[0]!.told!.atMs },
          shared: true,
          announcedMsAgo: null,
          here: "ready",
          why: ""
        }
      ])
    })
  )

  it.effect("a drain is for all routers, and each finishes its own requests", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const one = yield* replica(hub, "one", [a, b])
      const two = yield* replica(hub, "two", [a, b])
      two.fake.at(a.url).inFlight = 1
      assert.deepStrictEqual(yield* one.share.remove("a", { drain: true }), { shared: true, why: "" })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(one.states(), { b: "ready" })
      assert.deepStrictEqual(two.states(), { a: "draining", b: "ready" })
      two.fake.at(a.url).inFlight = 0
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(two.states(), { b: "ready" })
    })
  )

  it.effect(
    "a listed worker that was drained stays out: of routers that restart, and when the list is read again",
    () =>
      Effect.gen(function* () {
        const hub = hubOf()
        const one = yield* replica(hub, "one", [a, b])
        yield* one.share.remove("a", { drain: false })
        const two = yield* replica(hub, "two", [a, b])
        assert.deepStrictEqual(two.states(), { b: "ready" })
        assert.deepStrictEqual(two.fake.heard, ["join b"])
        yield* one.share.set([a, b, { id: "c", url: "http://c:1" }])
        yield* settle
        assert.deepStrictEqual(one.states(), { b: "ready", c: "ready" })
        yield* two.share.add(a)
        yield* settle
        assert.strictEqual(one.states()["a"], "ready")
        assert.strictEqual(one.fleet.find("a")?.origin, "config")
      })
  )

  it.effect("of two words on one worker the later one counts everywhere", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const one = yield* replica(hub, "one")
      const two = yield* replica(hub, "two")
      yield* one.share.add(a)
      yield* settle
      // At the same moment: whoever writes last knows of the other, and overrules it.
      yield* Effect.all([one.share.remove("a", { drain: false }), two.share.remove("a", { drain: true })], {
        concurrency: 2
      })
      yield* settle
      yield* two.share.add(a)
      yield* settle
      assert.deepStrictEqual([one.states(), two.states()], [{ a: "ready" }, { a: "ready" }])
      assert.deepStrictEqual(
        one.share.list().map(({ told }) => told),
        two.share.list().map(({ told }) => told)
      )
    })
  )

  it.effect("a change made while the bus is away counts at once here, and elsewhere when it is back", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const one = yield* replica(hub, "one", [a])
      const two = yield* replica(hub, "two", [a])
      one.client.cut(true)
      const added = yield* one.share.add(b)
      const removed = yield* one.share.remove("a", { drain: true })
      assert.isFalse(added.shared)
      assert.include(added.why, "not connected")
      assert.isFalse(removed?.shared)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual([one.states(), two.states()], [{ b: "ready" }, { a: "ready" }])
      one.client.cut(false)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(two.states(), { b: "ready" })
      assert.isTrue(two.share.list().every(({ shared }) => shared))
    })
  )

  it.effect("a router that was away does not overrule what was said since", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const one = yield* replica(hub, "one", [a])
      const two = yield* replica(hub, "two", [a])
      one.client.cut(true)
      yield* one.share.remove("a", { drain: false })
      yield* TestClock.adjust("1 second")
      yield* two.share.remove("a", { drain: false })
      yield* TestClock.adjust("1 second")
      yield* two.share.add(a)
      one.client.cut(false)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual([one.states(), two.states()], [{ a: "ready" }, { a: "ready" }])
    })
  )

  it.effect("what a wiped table lost is put back by the routers that know it", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const one = yield* replica(hub, "one", [a])
      const two = yield* replica(hub, "two", [a])
      yield* one.share.add(b)
      yield* two.share.remove("a", { drain: false })
      yield* settle
      hub.wipe()
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual([one.states(), two.states()], [{ b: "ready" }, { b: "ready" }])
      const late = yield* replica(hub, "late", [a])
      assert.deepStrictEqual(late.states(), { b: "ready" })
    })
  )

  it.effect("a row that cannot be written does not keep back those after it", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const client = hub.client()
      const refusing = (table: Table): Table => ({
        ...table,
        replace: (key, value, revision) =>
          key === a.id
            ? Effect.fail(new BusError({ what: `write fleet.${key}`, reason: "refused", detail: "too large" }))
            : table.replace(key, value, revision)
      })
      const bus = { ...client.bus, table: (name: TableName) => refusing(client.bus.table(name)) }
      const one = yield* replica(hub, "one", [], true, { ...client, layer: Layer.succeed(Bus, bus) })
      const two = yield* replica(hub, "two")
      const added = yield* Effect.all([one.share.add(a), one.share.add(b)])
      assert.deepStrictEqual(
        added.map(({ shared }) => shared),
        [false, false]
      )
      client.cut(false)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual([one.states(), two.states()], [{ a: "ready", b: "ready" }, { b: "ready" }])
      assert.deepStrictEqual(
        one.share.list().map(({ shared }) => shared),
        [false, true]
      )
    })
  )

  it.effect("starts with its own list when the bus is away, half a second later", () =>
    Effect.gen(function* () {
      const one = yield* replica(hubOf(), "one", [a], true)
      assert.deepStrictEqual(one.states(), {})
      yield* TestClock.adjust("500 millis")
      assert.deepStrictEqual(one.states(), { a: "ready" })
    })
  )

  it.effect("never tells a worker's key: only routers that were given it list the worker", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const keyed = { ...a, apiKey: Redacted.make("sk-secret") }
      const one = yield* replica(hub, "one")
      const two = yield* replica(hub, "two")
      const three = yield* replica(hub, "three", [keyed])
      const added = yield* one.share.add(keyed)
      assert.isFalse(added.shared)
      assert.include(added.why, "apiKey stays")
      yield* settle
      for (const row of yield* one.client.bus.table("fleet").all) {
        assert.notInclude(Buffer.from(row.value).toString(), "sk-secret")
      }
      assert.deepStrictEqual([one.states(), two.states(), three.states()], [{ a: "ready" }, {}, { a: "ready" }])
      assert.strictEqual(two.share.list()[0]?.why, "this router was not given its apiKey")
      // What is done with it is known to all.
      yield* three.share.remove("a", { drain: false })
      yield* settle
      assert.deepStrictEqual([one.states(), three.states()], [{}, {}])
      yield* one.share.add(a)
      yield* settle
      assert.strictEqual(one.fleet.find("a")?.spec.apiKey, keyed.apiKey)
      assert.deepStrictEqual([two.states(), three.states()], [{}, { a: "ready" }])
    })
  )

  it.effect("says why a shared worker is not in its own fleet, and takes it when it can", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const one = yield* replica(hub, "one")
      const two = yield* replica(hub, "two", [{ id: "other", url: a.url }])
      yield* one.share.add(a)
      yield* settle
      assert.deepStrictEqual(two.states(), { other: "ready" })
      assert.include(two.share.list()[0]?.why, 'worker "other" has that address already')
      yield* two.share.set([])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(two.states(), { a: "ready" })
    })
  )

  it.effect("a worker that this router does not have is removed by it all the same", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const one = yield* replica(hub, "one")
      const two = yield* replica(hub, "two", [{ id: "other", url: a.url }])
      yield* one.share.add({ ...b, apiKey: Redacted.make("its key") })
      yield* one.share.add(a)
      yield* settle
      assert.deepStrictEqual([one.states(), two.states()], [{ a: "ready", b: "ready" }, { other: "ready" }])
      const shared = { shared: true, why: "" }
      assert.deepStrictEqual(yield* two.share.remove("a", { drain: true }), shared)
      assert.deepStrictEqual(yield* two.share.remove("b", { drain: false }), shared)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(one.states(), {})
      assert.isNull(yield* two.share.remove("a", { drain: true }))
      assert.isNull(yield* two.share.remove("nobody", { drain: false }))
    })
  )

  it.effect("remembers for a day that a worker left, longer where it is still listed", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const one = yield* replica(hub, "one", [a])
      const two = yield* replica(hub, "two")
      yield* one.share.remove("a", { drain: false })
      yield* two.share.add(b)
      yield* two.share.remove("b", { drain: false })
      for (const pass of ["23 hours", "2 hours", "1 second", "1 second"] as const) yield* TestClock.adjust(pass)
      assert.deepStrictEqual(
        one.share.list().map(({ id }) => id),
        ["a"]
      )
      assert.deepStrictEqual([one.states(), two.states()], [{}, {}])
    })
  )
})

describe("FleetShare's announcements", () => {
  const said = { version: 1, url: b.url, id: "b" }

  it.effect("a worker that announces itself joins on every router, and leaves at its word", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const one = yield* replica(hub, "one", [a])
      const two = yield* replica(hub, "two", [a])
      announce(one, said)
      yield* settle
      assert.deepStrictEqual(
        [one.states(), two.states()],
        [
          { a: "ready", b: "ready" },
          { a: "ready", b: "ready" }
        ]
      )
      assert.strictEqual(two.fleet.find("b")?.origin, "announced")
      announce(two, { ...said, ttlMs: 0 })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([one.states(), two.states()], [{ a: "ready" }, { a: "ready" }])
    })
  )

  it.effect("one that is no longer announced stays while it answers, and leaves when it does not", () =>
    Effect.gen(function* () {
      const one = yield* replica(hubOf(), "one")
      announce(one, said)
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(one.states(), { b: "ready" })
      one.fake.at(b.url).up = false
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(one.states(), {})
    })
  )

  it.effect("one that does not answer stays listed for as long as it is announced", () =>
    Effect.gen(function* () {
      const one = yield* replica(hubOf(), "one")
      one.fake.at(b.url).up = false
      for (let i = 0; i < 6; i++) {
        announce(one, said)
        yield* TestClock.adjust("5 seconds")
      }
      assert.deepStrictEqual(one.states(), { b: "joining" })
      yield* TestClock.adjust("12 seconds")
      assert.deepStrictEqual(one.states(), {})
    })
  )

  it.effect("silence does not count while nothing can be heard", () =>
    Effect.gen(function* () {
      const one = yield* replica(hubOf(), "one")
      one.fake.at(b.url).up = false
      announce(one, said)
      yield* settle
      one.client.cut(true)
      yield* TestClock.adjust("60 seconds")
      one.client.cut(false)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(one.states(), { b: "joining" })
    })
  )

  it.effect("an operator's word counts over announcements", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const one = yield* replica(hub, "one")
      const two = yield* replica(hub, "two")
      announce(one, said)
      yield* settle
      yield* two.share.remove("b", { drain: true })
      yield* TestClock.adjust("1 second")
      announce(one, said)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual([one.states(), two.states()], [{}, {}])
      yield* one.share.add(b)
      yield* settle
      assert.deepStrictEqual([one.states(), two.states()], [{ b: "ready" }, { b: "ready" }])
    })
  )

  it.effect("of two that contradict each other the first counts until its time is over", () =>
    Effect.gen(function* () {
      const one = yield* replica(hubOf(), "one")
      announce(one, said)
      yield* settle
      announce(one, { ...said, url: "http://elsewhere:8000" })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(one.fleet.find("b")?.spec.url, b.url)
      yield* TestClock.adjust("15 seconds")
      announce(one, { ...said, url: "http://elsewhere:8000" })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(one.fleet.find("b")?.spec.url, "http://elsewhere:8000")
    })
  )

  it.effect("what is not understood lists nothing, and does not stop the next", () =>
    Effect.gen(function* () {
      const one = yield* replica(hubOf(), "one")
      one.client.bus.publish(Announcements.subject, Buffer.from("{"))
      announce(one, { ...said, version: 2 })
      announce(one, { ...said, apiKey: "sk-1" })
      announce(one, { version: 1, url: "b:8000" })
      announce(one, { ...said, ttlMs: -1 })
      yield* settle
      assert.deepStrictEqual(one.states(), {})
      announce(one, said)
      yield* settle
      assert.deepStrictEqual(one.states(), { b: "ready" })
    })
  )
})
