import { Context, Effect, Exit, Layer, Logger, Scope } from "effect"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import * as Announcements from "../../actors/Announcements.ts"
import { Fleet } from "../../actors/Fleet.ts"
import { FleetShare } from "../../actors/FleetShare.ts"
import * as NatsServer from "../../loadtest/servers/NatsServer.ts"
import type { WorkerSpec } from "../../src/domain/Worker.ts"
import { Bus } from "../../src/ports/Bus.ts"
import * as FakeEngine from "../support/FakeEngine.ts"
import * as NatsRig from "../support/NatsRig.ts"

const a = { id: "a", url: "http://a:8000" }
const b = { id: "b", url: "http://b:8000" }
const soon = { timeout: 15_000, interval: 50 }

describe("FleetShare over NATS", () => {
  let nats: NatsServer.NatsServer
  let scope: Scope.Closeable
  let deployment = ""
  let open: Array<NatsRig.Connected> = []
  beforeAll(async () => {
    nats = await NatsServer.start()
  }, 60_000)
  afterAll(() => nats.close())
  beforeEach(() => {
    scope = Effect.runSync(Scope.make())
    deployment = NatsRig.newDeployment()
  })
  afterEach(async () => {
    await Effect.runPromise(Scope.close(scope, Exit.void))
    await Promise.all(open.map((each) => each.close()))
    open = []
  })

  const replica = async (id: string, listed: ReadonlyArray<WorkerSpec> = []) => {
    const connected = await NatsRig.open(NatsRig.options([nats.url], deployment))
    open.push(connected)
    await connected.until((status) => status.connected)
    const layer = FleetShare.layer({ self: { id }, workersMax: 8 }).pipe(
      Layer.provideMerge(Fleet.layer(FakeEngine.make().options)),
      Layer.provide(Layer.succeed(Bus, connected.bus)),
      Layer.provide(Logger.layer([]))
    )
    const context = await Effect.runPromise(Layer.buildWithScope(layer, scope))
    const share = Context.get(context, FleetShare)
    await Effect.runPromise(share.set(listed))
    const fleet = Context.get(context, Fleet)
    const states = () => Object.fromEntries(fleet.list().map(({ spec, state }) => [spec.id, state]))
    return { bus: connected.bus, share, states }
  }

  it("shares what operators say, also with routers that start later, and after the server lost everything", async () => {
    const one = await replica("one", [a])
    const two = await replica("two", [a])
    expect((await Effect.runPromise(one.share.add(b))).shared).toBe(true)
    await expect.poll(two.states, soon).toEqual({ a: "ready", b: "ready" })
    expect(await Effect.runPromise(two.share.remove("a", { drain: true }))).toEqual({ shared: true, why: "" })
    await expect.poll(one.states, soon).toEqual({ b: "ready" })
    await nats.wipe()
    await expect.poll(() => one.bus.status().connected && two.bus.status().connected, soon).toBe(true)
    await expect
      .poll(
        () =>
          Effect.runPromise(
            Effect.match(one.bus.table("fleet").all, {
              onFailure: () => 0,
              onSuccess: (rows) => rows.length
            })
          ),
        soon
      )
      .toBe(2)
    const late = await replica("late", [a])
    await expect.poll(late.states, soon).toEqual({ b: "ready" })
    expect([one.states(), two.states()]).toEqual([{ b: "ready" }, { b: "ready" }])
  }, 60_000)

  it("tells of a change made while the server was away once it is back", async () => {
    const one = await replica("one")
    const two = await replica("two")
    await nats.stop()
    await expect.poll(() => one.bus.status().connected, soon).toBe(false)
    const added = await Effect.runPromise(one.share.add(a))
    expect([added.shared, one.states()["a"]]).toEqual([false, expect.stringMatching(/joining|ready/)])
    await nats.start()
    await expect.poll(two.states, soon).toEqual({ a: "ready" })
  }, 60_000)

  it("takes a worker that is announced on the subject of its deployment", async () => {
    const one = await replica("one")
    const said = { version: 1, url: b.url, id: "b" }
    const { bus } = await replica("two")
    expect(bus.publish(Announcements.subject, Buffer.from(JSON.stringify(said)))).toBe(true)
    await expect.poll(one.states, soon).toEqual({ b: "ready" })
  }, 60_000)
})
