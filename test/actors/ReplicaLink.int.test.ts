import { Layer, ManagedRuntime } from "effect"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import * as Ledger from "../../actors/Ledger.ts"
import { ReplicaLink } from "../../actors/ReplicaLink.ts"
import * as NatsServer from "../../loadtest/servers/NatsServer.ts"
import { Bus } from "../../src/ports/Bus.ts"
import * as NatsRig from "../support/NatsRig.ts"
import { keysOf } from "../support/QueueSim.ts"

let server: NatsServer.NatsServer
const closing: Array<() => Promise<void>> = []

beforeAll(async () => {
  server = await NatsServer.start()
})
afterAll(async () => {
  await Promise.all(closing.map((close) => close()))
  await server.close()
})

const workers = 4
const blockSize = 16
const soon = (look: () => void) => vi.waitFor(look, { timeout: 30_000, interval: 20 })
const done: Ledger.Outcome = { outputTokens: 10, cachedTokens: 0, outcome: "complete" }

const replica = async (id: string, deployment: string) => {
  const { bus, close, until } = await NatsRig.open(NatsRig.options([server.url], deployment))
  await until(({ connected }) => connected)
  const ledger = Ledger.make({ policy: "eta", workersMax: workers })
  const runtime = ManagedRuntime.make(
    ReplicaLink.layer({ self: { id }, ledger, now: () => performance.now() }).pipe(
      Layer.provide(Layer.succeed(Bus, bus))
    )
  )
  closing.push(async () => {
    await runtime.dispose()
    await close()
  })
  const link = await runtime.runPromise(ReplicaLink)
  for (let slot = 0; slot < workers; slot++) {
    ledger.join(slot, null)
    link.join(slot, `http://engine-${slot}`)
  }
  return { link, ledger, told: link.ledger, until }
}

const ask = (document: number, blocks: number): Ledger.Ask => ({
  cachedTokens: new Uint32Array(workers),
  heldTokens: new Uint32Array(workers),
  promptTokens: blocks * blockSize + 5,
  keys: keysOf(Array.from({ length: blocks }, (_, i) => document * 10_000 + i)),
  blockSize,
  priority: null,
  eligible: null
})

const counts = (ledger: Ledger.Ledger["Service"]) =>
  ledger.snapshot(performance.now()).workers.map(({ active, queued }) => [queued, active])

describe("ReplicaLink over NATS", () => {
  it("has the same open on all replicas, also on one that joins late and after the server was killed", async () => {
    const deployment = NatsRig.newDeployment()
    const one = await replica("r1", deployment)
    const two = await replica("r2", deployment)
    // More than fits into one message: 300 prompts of 1 250 blocks.
    const bookings = Array.from({ length: 300 }, (_, i) =>
      one.told.book(i % workers, ask(i, 1_250), true, performance.now())
    )
    two.told.book(3, ask(999, 10), true, performance.now())
    await soon(() => expect(counts(two.ledger)).toEqual(counts(one.ledger)))
    expect(counts(one.ledger)).toEqual([75, 75, 75, 76].map((queued) => [queued, 0]))

    const three = await replica("r3", deployment)
    for (const booking of bookings.slice(0, 150)) booking.firstByte(performance.now())
    await soon(() => {
      for (const each of [two, three]) expect(counts(each.ledger)).toEqual(counts(one.ledger))
    })
    expect(three.link.stats().statesTaken).toBeGreaterThan(0)

    await server.kill()
    await one.until(({ connected }) => !connected)
    for (const booking of bookings.slice(50, 250)) booking.settle(performance.now(), done)
    await server.start()
    await soon(() => {
      for (const each of [one, two, three]) {
        const open = counts(each.ledger).map(([queued, active]) => queued! + active!)
        expect(open).toEqual([25, 25, 25, 26])
      }
    })
    for (const each of [one, two, three]) expect(each.link.stats().owners.some(({ broken }) => broken)).toBe(false)
  })
})
