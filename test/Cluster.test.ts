import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Fleet } from "../actors/Fleet.ts"
import { FleetShare } from "../actors/FleetShare.ts"
import { Leases } from "../actors/Leases.ts"
import { Members } from "../actors/Members.ts"
import { Relay } from "../actors/Relay.ts"
import * as Cluster from "../src/Cluster.ts"
import { Bus } from "../src/ports/Bus.ts"
import * as BusMemory from "../src/ports/BusMemory.ts"
import * as EventStream from "../src/ports/EventStream.ts"
import * as FakeEngine from "./support/FakeEngine.ts"

const source = { endpoint: "tcp://a:5557", replayEndpoint: null, topic: "", rank: 0 }

const router = Effect.fnUntraced(function* (hub: BusMemory.Hub, id: string) {
  const client = hub.client()
  const context = yield* Layer.build(
    Layer.mergeAll(
      Relay.layer.pipe(Layer.provide(EventStream.memory().layer)),
      FleetShare.layer({ self: { id }, workersMax: 8 }).pipe(Layer.provideMerge(Fleet.layer(FakeEngine.make().options)))
    ).pipe(
      Layer.provideMerge(Leases.layer()),
      Layer.provideMerge(Members.layer({ id, kind: "router", url: `http://${id}:8081`, version: "1" })),
      Layer.provideMerge(client.layer)
    )
  )
  const share = Context.get(context, FleetShare)
  const relay = Context.get(context, Relay)
  const cluster = Cluster.make({
    bus: Context.get(context, Bus),
    members: Context.get(context, Members),
    leases: Context.get(context, Leases),
    relay,
    share,
    link: { stats: () => ({ open: 3 }) as ReturnType<Cluster.Deps["link"]["stats"]> }
  })
  /** As it goes over the wire. */
  const shown = () => JSON.parse(JSON.stringify(cluster()))
  return { client, relay, share, shown }
})

describe("GET /admin/cluster", () => {
  it.effect("shows who there is, who reads what, what is shared, and that the bus is away", () =>
    Effect.gen(function* () {
      const hub = BusMemory.make({ later: queueMicrotask })
      const one = yield* router(hub, "one")
      const two = yield* router(hub, "two")
      yield* one.relay.serveSource(source, { name: "a", model: "qwen" })
      yield* one.share.add({ id: "a", url: "http://a:8000" })
      for (let i = 0; i < 3; i++) yield* TestClock.adjust("1 second")
      const [of, other] = [one.shown(), two.shown()]
      assert.deepInclude(of.self, { id: "one", kind: "router", url: "http://one:8081", ready: false, alive: true })
      assert.deepStrictEqual(of.bus, { connected: true, why: "", server: "memory" })
      assert.deepStrictEqual(
        of.members.map(({ id }: { id: string }) => id),
        ["one", "two"]
      )
      const [lease] = of.publishers
      assert.deepInclude(lease, { name: "a", owner: "one", alive: true, role: "owner" })
      assert.deepInclude(other.publishers[0], {
        name: "a",
        owner: "one",
        alive: true,
        epoch: lease.epoch,
        role: "none"
      })
      assert.strictEqual(of.relay.roles.owner, 1)
      assert.deepStrictEqual(of.load, { open: 3 })
      assert.deepInclude(other.workers[0], { id: "a", url: "http://a:8000", shared: true, here: "ready", why: "" })
      assert.deepInclude(other.workers[0].told, { state: "listed", by: "one" })
      two.client.cut(true)
      yield* TestClock.adjust("3 seconds")
      assert.deepInclude(two.shown().bus, { connected: false, why: "cut off" })
      assert.isFalse(two.shown().self.alive)
    })
  )
})
