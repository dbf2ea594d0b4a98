import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, type Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Announcements from "../actors/Announcements.ts"
import { Fleet } from "../actors/Fleet.ts"
import { FleetShare } from "../actors/FleetShare.ts"
import { Members } from "../actors/Members.ts"
import { Relay } from "../actors/Relay.ts"
import * as Agent from "../src/Agent.ts"
import type { EventSource } from "../src/domain/Worker.ts"
import type { Bus } from "../src/ports/Bus.ts"
import * as BusMemory from "../src/ports/BusMemory.ts"
import * as FakeEngine from "./support/FakeEngine.ts"

const local = "http://127.0.0.1:8000"
const advertise = "http://10.0.0.4:8000"
const source = (port: number, rank = 0): EventSource => ({
  endpoint: `tcp://127.0.0.1:${port}`,
  replayEndpoint: null,
  topic: "",
  rank
})
const settle = TestClock.adjust("20 millis")

/** An agent beside one engine; what it reads is written down as it begins and ends. */
const started = Effect.fnUntraced(function* (hub: BusMemory.Hub, sources: ReadonlyArray<EventSource>) {
  const fake = FakeEngine.make()
  fake.at(local).facts = FakeEngine.facts({ eventSources: sources })
  const client = hub.client()
  const context = (yield* Layer.build(
    Members.layer({ id: "agent-1", kind: "agent", url: null, version: "1" }).pipe(Layer.provideMerge(client.layer))
  )) as Context.Context<Members | Bus>
  const read: Array<string> = []
  const serveSource: Relay["Service"]["serveSource"] = ({ endpoint }, { model, name }) =>
    Effect.acquireRelease(
      Effect.sync(() => void read.push(`+ ${name} ${model} ${endpoint}`)),
      () => Effect.sync(() => void read.push(`- ${name}`))
    )
  const agent = yield* Agent.start({
    worker: { id: "gpu-4", url: local },
    advertise,
    knobs: FakeEngine.knobs,
    detect: fake.options.detect
  }).pipe(Effect.provide(context), Effect.provideService(Relay, { serveSource } as Relay["Service"]))
  yield* settle
  return { agent, client, engine: fake.at(local), members: Context.get(context, Members), read }
})

/** A router that lists no worker of its own. */
const router = Effect.fnUntraced(function* (
  hub: BusMemory.Hub
): Effect.fn.Return<
  { readonly fake: ReturnType<typeof FakeEngine.make>; readonly fleet: Fleet["Service"] },
  never,
  Scope.Scope
> {
  const fake = FakeEngine.make()
  const context = yield* Layer.build(
    FleetShare.layer({ self: { id: "one" }, workersMax: 8 }).pipe(
      Layer.provideMerge(Fleet.layer(fake.options)),
      Layer.provide(hub.client().layer)
    )
  )
  return { fake, fleet: Context.get(context, Fleet) }
})

const hubOf = () => BusMemory.make({ later: queueMicrotask })

describe("warmpath agent", () => {
  it.effect("announces its worker at the address by which routers reach it", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const { fleet } = yield* router(hub)
      const { members } = yield* started(hub, [source(5557)])
      yield* TestClock.adjust("1 second")
      const found = fleet.find("gpu-4")
      assert.deepStrictEqual([found?.spec.url, found?.origin, found?.state], [advertise, "announced", "ready"])
      assert.isTrue(members.self.ready)
    })
  )

  it.effect("repeats itself, so that routers keep the worker while they cannot reach it", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      const { fake, fleet } = yield* router(hub)
      fake.at(advertise).up = false
      yield* started(hub, [])
      for (let i = 0; i < 60; i++) yield* TestClock.adjust("1 second")
      assert.strictEqual(fleet.find("gpu-4")?.state, "joining")
    })
  )

  it.effect("announces nothing until the engine answers, nor once it does not", () =>
    Effect.gen(function* () {
      const hub = hubOf()
      let heard = 0
      yield* hub.client().bus.subscribe(Announcements.subject, () => void heard++)
      const { engine, members } = yield* started(hub, [])
      engine.up = false
      // Two looks are needed to know, three to be sure.
      for (let i = 0; i < 10; i++) yield* TestClock.adjust("1 second")
      heard = 0
      for (let i = 0; i < 20; i++) yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([heard, members.self.ready], [0, false])
      engine.up = true
      for (let i = 0; i < 20; i++) yield* TestClock.adjust("1 second")
      assert.isAbove(heard, 0)
      assert.isTrue(members.self.ready)
    })
  )

  it.effect(
    "reads every rank under the name that routers give it, and follows an engine that comes back otherwise",
    () =>
      Effect.gen(function* () {
        const { agent, engine, read } = yield* started(hubOf(), [source(5557)])
        assert.deepStrictEqual(read, ["+ gpu-4 qwen tcp://127.0.0.1:5557"])
        engine.facts = FakeEngine.facts({
          startedAtMs: 2,
          ranks: [0, 1],
          eventSources: [source(5557, 0), source(5558, 1)]
        })
        yield* TestClock.adjust("31 seconds")
        yield* settle
        assert.sameMembers(read.slice(1), [
          "- gpu-4",
          "+ gpu-4/dp0 qwen tcp://127.0.0.1:5557",
          "+ gpu-4/dp1 qwen tcp://127.0.0.1:5558"
        ])
        assert.deepStrictEqual(agent.publishers(), ["gpu-4/dp0", "gpu-4/dp1"])
      })
  )

  it.effect("goes on reading undisturbed what has not changed", () =>
    Effect.gen(function* () {
      const { engine, read } = yield* started(hubOf(), [source(5557)])
      engine.facts = { ...engine.facts, startedAtMs: 2 }
      yield* TestClock.adjust("31 seconds")
      assert.deepStrictEqual(read, ["+ gpu-4 qwen tcp://127.0.0.1:5557"])
    })
  )
})
