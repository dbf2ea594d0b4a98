import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Fleet, type Options } from "../../actors/Fleet.ts"
import type { WorkerSpec } from "../../src/domain/Worker.ts"
import * as FakeEngine from "../support/FakeEngine.ts"

const a = { id: "a", url: "http://a:8000" }
const b = { id: "b", url: "http://b:8000" }
const c = { id: "c", url: "http://c:8000" }

/** A fleet over fake workers; its fibers settle between steps of the test clock. */
const within = (
  test: (fleet: Fleet["Service"], fake: ReturnType<typeof FakeEngine.make>) => Effect.fn.Return<void, unknown>,
  more: (options: Options) => Options = (options) => options
) =>
  Effect.suspend(() => {
    const fake = FakeEngine.make()
    return Effect.gen(function* () {
      yield* test(yield* Fleet, fake)
    }).pipe(Effect.provide(Fleet.layer(more(fake.options))))
  })

const states = (fleet: Fleet["Service"]) => Object.fromEntries(fleet.list().map(({ spec, state }) => [spec.id, state]))
const settle = TestClock.adjust("1 millis")

/** Lists workers and lets the first visit to each end. */
const joined = (fleet: Fleet["Service"], ...specs: ReadonlyArray<WorkerSpec>) =>
  Effect.andThen(
    Effect.forEach(specs, (spec) => fleet.add(spec)),
    settle
  )

/** Lets the clock run in small steps until it is so. */
const until = (holds: () => boolean, what: string) =>
  Effect.gen(function* () {
    for (let step = 0; step < 2_000; step++) {
      if (holds()) return
      yield* TestClock.adjust("20 millis")
    }
    assert.fail(`never came true: ${what}`)
  })

describe("Fleet", () => {
  it.effect("takes a worker that answers, with its facts, and tells the program before it takes work", () =>
    within(function* (fleet, fake) {
      yield* fleet.add(a)
      assert.deepStrictEqual(states(fleet), { a: "joining" })
      assert.isUndefined(fleet.resolve("qwen"))
      yield* settle
      assert.deepStrictEqual(states(fleet), { a: "ready" })
      assert.deepStrictEqual(fake.heard, ["join a"])
      assert.strictEqual(fleet.worker(0)?.model, "qwen")
      assert.deepStrictEqual([...(fleet.resolve("qwen")?.eligible ?? [])], [1])
    })
  )

  it.effect("waits for a worker that is listed before it is up, and asks less and less often", () =>
    within(function* (fleet, fake) {
      fake.at(a.url).up = false
      yield* fleet.add(a)
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(states(fleet), { a: "joining" })
      assert.include(fleet.find("a")?.why, "connection refused")
      fake.at(a.url).up = true
      yield* TestClock.adjust("1100 millis")
      assert.deepStrictEqual(states(fleet), { a: "ready" })
    })
  )

  it.effect("takes a worker out after three missed probes, and back when it answers and a request succeeds", () =>
    within(function* (fleet, fake) {
      yield* joined(fleet, a)
      fake.at(a.url).up = false
      yield* TestClock.adjust("1100 millis")
      assert.strictEqual(fleet.find("a")?.state, "suspect")
      assert.strictEqual(fleet.resolve("qwen")?.eligibleCount, 1)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(fleet.find("a")?.state, "open")
      assert.strictEqual(fleet.resolve("qwen")?.eligibleCount, 0)
      assert.strictEqual(fleet.resolve("qwen")?.states, "1 open")
      fake.at(a.url).up = true
      yield* until(() => fleet.find("a")?.state === "halfOpen", "half open")
      fleet.sent(0)
      fleet.outcome(0, "ok")
      assert.strictEqual(fleet.find("a")?.state, "ready")
    })
  )

  it.effect("counts a probe that hangs as missed at its deadline", () =>
    within(function* (fleet, fake) {
      yield* joined(fleet, a)
      fake.at(a.url).hangs = true
      yield* TestClock.adjust("1100 millis")
      assert.strictEqual(fleet.find("a")?.state, "ready")
      yield* TestClock.adjust("500 millis")
      assert.strictEqual(fleet.find("a")?.state, "suspect")
      assert.include(fleet.find("a")?.why, "500 ms")
    })
  )

  it.effect("takes out a worker that says it is not healthy", () =>
    within(function* (fleet, fake) {
      yield* joined(fleet, a)
      fake.at(a.url).healthy = false
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual(fleet.find("a")?.state, "open")
    })
  )

  it.effect("probes at once when a request could not connect, so that a dead worker goes within a probe", () =>
    within(function* (fleet, fake) {
      yield* joined(fleet, a)
      const before = fake.at(a.url).probes
      fleet.outcome(0, "connectFailed")
      assert.strictEqual(fleet.find("a")?.state, "suspect")
      yield* settle
      assert.strictEqual(fake.at(a.url).probes, before + 1)
      assert.strictEqual(fleet.find("a")?.state, "ready")
    })
  )

  it.effect("takes a worker out on the third failed request, before the next is placed", () =>
    within(function* (fleet) {
      yield* joined(fleet, a, b)
      assert.deepStrictEqual([...fleet.resolve("qwen")!.eligible], [1, 1])
      fleet.outcome(0, "connectFailed")
      fleet.outcome(0, "diedBeforeFirstByte")
      fleet.outcome(0, "diedAfter")
      assert.deepStrictEqual([...fleet.resolve("qwen")!.eligible], [0, 1])
      assert.strictEqual(fleet.find("a")?.why, "it died while streaming")
    })
  )

  it.effect("keeps the breaker open when a probe begun earlier comes back good", () =>
    within(function* (fleet, fake) {
      yield* joined(fleet, a)
      const gate = Promise.withResolvers<void>()
      fake.at(a.url).gate = gate.promise
      fleet.outcome(0, "connectFailed")
      yield* settle
      fleet.outcome(0, "connectFailed")
      fleet.outcome(0, "connectFailed")
      gate.resolve()
      yield* until(() => fake.at(a.url).probes === 1, "the probe came back")
      yield* settle
      assert.strictEqual(fleet.find("a")?.state, "open")
    })
  )

  it.effect("gives a worker on trial one request at a time, and a longer ban when that fails", () =>
    within(function* (fleet) {
      yield* joined(fleet, a, b)
      for (let i = 0; i < 3; i++) fleet.outcome(0, "connectFailed")
      const firstBan = fleet.find("a")!.breaker.retryAtMs - fleet.find("a")!.sinceMs
      yield* until(() => fleet.find("a")?.state === "halfOpen", "half open")
      assert.deepStrictEqual([...fleet.resolve("qwen")!.eligible], [1, 1])
      fleet.sent(0)
      assert.deepStrictEqual([...fleet.resolve("qwen")!.eligible], [0, 1])
      fleet.outcome(0, "cancelled")
      assert.deepStrictEqual([...fleet.resolve("qwen")!.eligible], [1, 1])
      fleet.sent(0)
      fleet.outcome(0, "serverError")
      assert.strictEqual(fleet.find("a")?.state, "open")
      const secondBan = fleet.find("a")!.breaker.retryAtMs - fleet.find("a")!.sinceMs
      assert.isAbove(secondBan, 1.9 * firstBan)
    })
  )

  it.effect("takes a worker back only once a token comes out of it, and asks for none of one that is in", () =>
    within(function* (fleet, fake) {
      yield* joined(fleet, a)
      const worker = fake.at(a.url)
      worker.wedged = true
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(fleet.find("a")?.state, "ready")
      assert.strictEqual(worker.deepProbes, 0)
      for (let i = 0; i < 3; i++) fleet.outcome(0, "diedBeforeFirstByte")
      yield* until(() => worker.deepProbes === 2, "it was asked for a token twice")
      assert.strictEqual(fleet.find("a")?.state, "open")
      worker.wedged = false
      yield* until(() => fleet.find("a")?.state === "halfOpen", "half open")
      const asked = worker.deepProbes
      yield* until(() => fleet.find("a")?.state === "ready", "ready")
      assert.strictEqual(worker.deepProbes, asked)
    })
  )

  it.effect("believes a worker without traffic again after several good probes", () =>
    within(function* (fleet) {
      yield* joined(fleet, a)
      for (let i = 0; i < 3; i++) fleet.outcome(0, "connectFailed")
      yield* until(() => fleet.find("a")?.state === "ready", "ready without a request")
    })
  )

  it.effect("lets the request on trial decide, however long it takes, and not the probes beside it", () =>
    within(function* (fleet, fake) {
      yield* joined(fleet, a)
      for (let i = 0; i < 3; i++) fleet.outcome(0, "connectFailed")
      yield* until(() => fleet.find("a")?.state === "halfOpen", "half open")
      fake.at(a.url).inFlight = 1
      fleet.sent(0)
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(fleet.find("a")?.state, "halfOpen")
    })
  )

  it.effect("frees a trial whose request ended without a word", () =>
    within(function* (fleet) {
      yield* joined(fleet, a, b)
      for (let i = 0; i < 3; i++) fleet.outcome(0, "connectFailed")
      yield* until(() => fleet.find("a")?.state === "halfOpen", "half open")
      fleet.sent(0)
      assert.strictEqual(fleet.resolve("qwen")!.eligible[0], 0)
      yield* until(() => fleet.resolve("qwen")!.eligible[0] === 1, "eligible again")
    })
  )

  it.effect("sends to a worker that errs yet answers when there is no other", () =>
    within(function* (fleet) {
      yield* joined(fleet, a, b)
      for (let i = 0; i < 10; i++) fleet.outcome(0, "serverError")
      assert.deepStrictEqual([...fleet.resolve("qwen")!.eligible], [0, 1])
      for (let i = 0; i < 10; i++) fleet.outcome(1, "serverError")
      assert.deepStrictEqual(states(fleet), { a: "open", b: "open" })
      assert.deepStrictEqual([...fleet.resolve("qwen")!.eligible], [1, 1])
    })
  )

  it.effect(
    "drains: no new work, gone when the last request ends, its slot used again only when nothing refers to it",
    () =>
      within(function* (fleet, fake) {
        yield* joined(fleet, a, b)
        fake.at(a.url).inFlight = 1
        assert.isTrue(fleet.remove("a", { drain: true }))
        assert.deepStrictEqual([...fleet.resolve("qwen")!.eligible], [0, 1])
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(fleet.find("a")?.state, "draining")
        fake.held.add(0)
        fake.at(a.url).inFlight = 0
        yield* TestClock.adjust("100 millis")
        assert.isUndefined(fleet.find("a"))
        assert.isUndefined(fleet.worker(0))
        assert.deepStrictEqual(fake.heard, ["join a", "join b", "leave a 0"])
        assert.strictEqual((yield* fleet.add(c)).slots[0], 2)
        fake.held.delete(0)
        assert.strictEqual((yield* fleet.add(a)).slots[0], 0)
      })
  )

  it.effect("ends a drain at its deadline, whatever is still in flight", () =>
    within(function* (fleet, fake) {
      yield* joined(fleet, a)
      fake.at(a.url).inFlight = 3
      fleet.remove("a", { drain: true })
      yield* TestClock.adjust("9900 millis")
      assert.strictEqual(fleet.find("a")?.state, "draining")
      yield* TestClock.adjust("200 millis")
      assert.isUndefined(fleet.find("a"))
    })
  )

  it.effect("does not give away the slot of a removed worker while its streams go on", () =>
    within(function* (fleet, fake) {
      yield* joined(fleet, a)
      fake.at(a.url).inFlight = 1
      assert.isTrue(fleet.remove("a", { drain: false }))
      assert.isUndefined(fleet.find("a"))
      assert.strictEqual((yield* fleet.add(b)).slots[0], 1)
      fleet.outcome(0, "ok")
      assert.isFalse(fleet.remove("a", { drain: false }))
    })
  )

  it.effect("gives every data-parallel rank a slot of its own, and new slots when the ranks change", () =>
    within(
      function* (fleet, fake) {
        fake.at(a.url).facts = FakeEngine.facts({ ranks: [0, 1, 2] })
        yield* joined(fleet, a, b)
        assert.deepStrictEqual(fleet.find("a")?.slots, [0, 2, 3])
        assert.deepStrictEqual([0, 1, 2, 3].map(fleet.rank), [0, null, 1, 2])
        assert.deepStrictEqual([...(fleet.resolve("qwen")?.eligible ?? [])], [1, 1, 1, 1])
        assert.strictEqual(fleet.worker(3), fleet.worker(0))
        fake.at(a.url).facts = FakeEngine.facts({ ranks: [0, 1] })
        yield* TestClock.adjust("40 seconds")
        assert.deepStrictEqual(fleet.find("a")?.slots, [4, 5])
        assert.deepStrictEqual([0, 4, 5].map(fleet.rank), [null, 0, 1])
        assert.deepStrictEqual(fake.heard, ["join a", "join b", "join a"])
        assert.isTrue(fleet.remove("a", { drain: false }))
        assert.deepStrictEqual(fake.heard.at(-1), "leave a 4 5")
        assert.deepStrictEqual([...(fleet.resolve("qwen")?.eligible ?? [])], [0, 1, 0, 0, 0, 0])
      },
      (options) => ({ ...options, knobs: { ...options.knobs, workersMax: 6 } })
    )
  )

  it.effect("counts a worker with more ranks than there is room for as one cache, and lets it choose the rank", () =>
    within(
      function* (fleet, fake) {
        fake.at(a.url).facts = FakeEngine.facts({ ranks: [0, 1, 2, 3] })
        yield* joined(fleet, a, b)
        assert.deepStrictEqual(fleet.find("a")?.slots, [0])
        assert.isNull(fleet.rank(0))
        assert.deepStrictEqual(states(fleet), { a: "ready", b: "ready" })
      },
      (options) => ({ ...options, knobs: { ...options.knobs, workersMax: 3 } })
    )
  )

  it.effect("refuses an id or an address that is listed, and a worker too many", () =>
    within(
      function* (fleet) {
        yield* fleet.add(a)
        assert.strictEqual((yield* Effect.flip(fleet.add({ ...b, id: "a" }))).reason, "duplicate")
        assert.strictEqual((yield* Effect.flip(fleet.add({ ...a, id: "x" }))).reason, "duplicate")
        const full = yield* Effect.flip(fleet.add(b))
        assert.strictEqual(full.reason, "full")
        assert.include(full.message, "workersMax")
      },
      (options) => ({ ...options, knobs: { ...options.knobs, workersMax: 1 } })
    )
  )

  it.effect(
    "makes the listed workers those of the config, leaves those added by hand, and takes back one that drains",
    () =>
      within(function* (fleet, fake) {
        yield* fleet.set([a, b])
        yield* fleet.add(c)
        yield* settle
        fake.at(a.url).inFlight = 1
        yield* fleet.set([b])
        yield* settle
        assert.deepStrictEqual(states(fleet), { a: "draining", b: "ready", c: "ready" })
        yield* fleet.set([a, b])
        yield* settle
        assert.deepStrictEqual(states(fleet), { a: "ready", b: "ready", c: "ready" })
        assert.deepStrictEqual(fake.heard, ["join a", "join b", "join c"])
        const moved = { ...a, url: "http://a2:8000" }
        assert.deepStrictEqual(yield* fleet.set([moved, b]), [])
        yield* settle
        assert.strictEqual(fleet.find("a")?.spec.url, moved.url)
        assert.strictEqual(fleet.find("a")?.state, "ready")
      })
  )

  it.effect("takes an engine that was given another id in the config for the worker it now is", () =>
    within(function* (fleet, fake) {
      yield* fleet.set([a])
      yield* settle
      fake.at(a.url).inFlight = 1
      assert.deepStrictEqual(yield* fleet.set([{ ...a, id: "renamed" }]), [])
      yield* settle
      assert.deepStrictEqual(states(fleet), { renamed: "ready" })
      assert.deepStrictEqual(fake.heard, ["join a", "leave a 0", "join renamed"])
      assert.strictEqual(fleet.find("renamed")?.slots[0], 1)
    })
  )

  it.effect("notices adapters that came and went, within the discovery interval", () =>
    within(function* (fleet, fake) {
      yield* joined(fleet, a)
      fake.at(a.url).facts = FakeEngine.facts({
        models: [FakeEngine.model("qwen"), FakeEngine.model("poet", { parent: "qwen" })]
      })
      assert.isUndefined(fleet.resolve("poet"))
      yield* TestClock.adjust("32 seconds")
      const route = fleet.resolve("poet")
      assert.strictEqual(route?.model, "qwen")
      assert.strictEqual(route?.lora, "poet")
      fake.at(a.url).facts = FakeEngine.facts()
      yield* TestClock.adjust("32 seconds")
      assert.isUndefined(fleet.resolve("poet"))
      assert.deepStrictEqual(fake.heard, ["join a", "change a", "change a"])
    })
  )

  it.effect("notices that a worker which stumbled is a new process, and says that its cache is gone", () =>
    within(function* (fleet, fake) {
      yield* joined(fleet, a)
      fake.at(a.url).facts = FakeEngine.facts({ startedAtMs: 2 })
      fleet.outcome(0, "connectFailed")
      yield* settle
      assert.deepStrictEqual(fake.heard, ["join a", "restart a"])
      assert.strictEqual(fleet.worker(0)?.facts.startedAtMs, 2)
    })
  )

  it.effect("believes the operator about event sources", () =>
    within(function* (fleet) {
      const events = { endpoint: "tcp://a:1", replayEndpoint: null, topic: "", rank: 0 }
      yield* fleet.add({ ...a, events: [events] })
      yield* settle
      assert.deepStrictEqual(fleet.worker(0)?.facts.eventSources, [events])
    })
  )

  it.effect("keeps the load each worker reports", () =>
    within(function* (fleet, fake) {
      yield* joined(fleet, a)
      assert.isNull(fleet.find("a")?.load)
      fake.at(a.url).running = 7
      yield* TestClock.adjust("1100 millis")
      assert.strictEqual(fleet.find("a")?.load?.running, 7)
    })
  )

  it.effect("goes on when a hook throws", () =>
    within(
      function* (fleet) {
        yield* joined(fleet, a)
        assert.deepStrictEqual(states(fleet), { a: "ready" })
      },
      (options) => ({
        ...options,
        onJoin: () => {
          throw new Error("a defect in a hook")
        }
      })
    )
  )

  it.effect("makes its routes anew only when something changed", () =>
    within(function* (fleet) {
      yield* joined(fleet, a)
      const route = fleet.resolve("qwen")
      yield* TestClock.adjust("10 seconds")
      fleet.outcome(0, "ok")
      assert.strictEqual(fleet.resolve("qwen"), route)
      fleet.alias({ gpt: "qwen" })
      assert.notStrictEqual(fleet.resolve("qwen"), route)
      assert.strictEqual(fleet.resolve("gpt")?.served, "qwen")
      assert.deepStrictEqual(
        fleet.models().map(({ id }) => id),
        ["qwen", "gpt"]
      )
    })
  )

  it.effect("stops its probes with its scope", () =>
    Effect.gen(function* () {
      const fake = FakeEngine.make()
      yield* Effect.gen(function* () {
        const fleet = yield* Fleet
        yield* joined(fleet, a)
      }).pipe(Effect.provide(Layer.fresh(Fleet.layer(fake.options))))
      const probes = fake.at(a.url).probes
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(fake.at(a.url).probes, probes)
    })
  )
})
