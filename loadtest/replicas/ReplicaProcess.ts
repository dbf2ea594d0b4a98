/**
 * One replica, or one router alone, as a process of its own: all of a router between engines' sockets, NATS, its table and
 * its ledger, without its HTTP. Started by `Replica.ts`, which asks what is in `Words.ts`.
 */
import { subscribe } from "node:diagnostics_channel"
import type { Socket } from "node:net"
import { Context, Effect, Layer, Logger } from "effect"
import { Bootstrap } from "../../actors/Bootstrap.ts"
import { Collector } from "../../actors/Collector.ts"
import { Leases } from "../../actors/Leases.ts"
import * as Ledger from "../../actors/Ledger.ts"
import { Members } from "../../actors/Members.ts"
import { PrefixIndex } from "../../actors/PrefixIndex.ts"
import { Relay } from "../../actors/Relay.ts"
import { ReplicaLink } from "../../actors/ReplicaLink.ts"
import { Snapshots } from "../../actors/Snapshots.ts"
import { decode } from "../../src/adapters/kvevents/KvEvents.ts"
import * as NatsBus from "../../src/adapters/nats/NatsBus.ts"
import * as EventSocket from "../../src/adapters/zmq/EventSocket.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import { EventBus } from "../../src/ports/EventBus.ts"
import { blockSize } from "../micro/IngestWorkload.ts"
import * as Probe from "./Probe.ts"
import * as Traffic from "./Traffic.ts"
import { type Ask, type Asks, digestOf, type Given, nowMs, type Progress } from "./Words.ts"

/** A message costs about as much as a batch. What is booked is told in far fewer, and waited for. */
const progressMs = { batches: 20, bookings: 5 }
/** Requests told that are not charged yet, at an unbounded rate: some ten messages of long prompts. */
const untoldMax = 512
const given = JSON.parse(process.argv[2]!) as Given
const { blocksMax, deployment, engines, id, nats, probes, workers } = given
const slots = engines.map((_, slot) => slot)

const sockets: Array<Socket> = []
subscribe("net.client.socket", (message) => void sockets.push((message as { readonly socket: Socket }).socket))

/** As `src/NatsOptions.ts` makes them of the defaults. */
const bus = (url: string) =>
  NatsBus.layer({
    servers: [url],
    deployment,
    name: id,
    tls: null,
    credsFile: null,
    nkeySeedFile: null,
    user: null,
    password: null,
    token: null,
    connectTimeoutMs: 2_000,
    log: { ageMs: 600_000, bytesMax: 256 * 1024 * 1024, replicas: 1, storage: "memory" },
    tables: { replicas: 1, storage: "file" }
  })

const index = PrefixIndex.layer({ workersMax: Math.max(1, engines.length), blocksMax })
const follows = Layer.mergeAll(index, Collector.layer({ hasher: BlockHash.make() }))
const direct = EventSocket.layer

const program = Effect.gen(function* () {
  let batches = 0
  const chargedMs: Array<number> = []
  let charged = 0
  const here = Ledger.make({ policy: "eta", workersMax: Math.max(1, workers) })
  const ledger: Ledger.Ledger["Service"] = {
    ...here,
    charge: (slot, request, atMs) => {
      chargedMs.push(nowMs())
      charged++
      return here.charge(slot, request, atMs)
    }
  }
  const events = yield* Layer.build(EventBus.layerMemory)
  const shared =
    nats === null
      ? null
      : yield* Layer.build(
          Relay.layer.pipe(
            Layer.provide(direct),
            Layer.provideMerge(Leases.layer()),
            Layer.provideMerge(Members.layer({ id, kind: "router", url: null, version: "bench" })),
            Layer.provideMerge(bus(nats))
          )
        )
  const services = yield* Layer.build(
    shared === null ? follows.pipe(Layer.provide(direct)) : follows.pipe(Layer.provide(Layer.succeedContext(shared)))
  ).pipe(Effect.provide(events))
  const collector = Context.get(services, Collector)
  const table = Context.get(services, PrefixIndex)
  let ready = shared === null
  const joined =
    shared === null
      ? null
      : yield* Layer.build(
          Layer.mergeAll(
            Snapshots.layer({ id }).pipe(Layer.provideMerge(Bootstrap.layer({ id }))),
            ReplicaLink.layer({ self: { id }, ledger, now: () => performance.now() })
          )
        ).pipe(Effect.provide(Context.merge(shared, services)))
  const link = joined === null ? null : Context.get(joined, ReplicaLink)
  for (let slot = 0; slot < workers; slot++) {
    here.join(slot, 400_000)
    link?.join(slot, `worker-${slot}`)
  }
  const probe = probes ? yield* Probe.make(engines.length).pipe(Effect.provide(Context.merge(events, services))) : null
  for (const [slot, { name, ...source }] of engines.entries()) {
    yield* collector.start({
      name,
      slot,
      model: "bench",
      source: { ...source, topic: "", rank: 0 },
      blockSize,
      blockCount: null,
      decode: (payload) => {
        batches++
        return decode(payload)
      }
    })
  }
  if (joined !== null && shared !== null) {
    yield* Context.get(joined, Bootstrap).ready.pipe(
      Effect.andThen(
        Effect.sync(() => {
          ready = true
          Context.get(shared, Members).setReady(true)
        })
      ),
      Effect.forkScoped
    )
  }

  /** Requests charged at the other replica, as the parent hears. */
  let chargedThere = 0
  let wake = (): void => {}
  const mayGo = async (booked: number): Promise<void> => {
    while (booked - chargedThere > untoldMax) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    await new Promise((resolve) => setImmediate(resolve))
  }

  const answers: { readonly [K in Ask]: (given: Asks[K]["given"]) => Asks[K]["answer"] | Promise<Asks[K]["answer"]> } =
    {
      state: () => {
        const states = slots.flatMap((slot) => collector.state(slot) ?? [])
        return {
          ready,
          roles: engines.map(({ name }) => (shared === null ? "solo" : Context.get(shared, Relay).roleOf(name))),
          whole: states.every(
            ({ connected, health, recovery }) => connected && health !== "broken" && recovery.phase === "none"
          ),
          gaps: states.reduce((sum, { gaps }) => sum + gaps, 0),
          replays: states.reduce((sum, { replays }) => sum + replays, 0)
        }
      },
      usage: () => {
        const whole = process.cpuUsage()
        const thread = process.threadCpuUsage()
        return {
          cpuUs: whole.user + whole.system,
          threadUs: thread.user + thread.system,
          inBytes: sockets.reduce((sum, { bytesRead }) => sum + bytesRead, 0),
          outBytes: sockets.reduce((sum, { bytesWritten }) => sum + bytesWritten, 0)
        }
      },
      settled: () => Effect.runPromise(table.settled).then(() => null),
      held: () => slots.map((slot) => digestOf(table.dump(slot))),
      found: () => {
        probe?.note()
        return probe?.found() ?? []
      },
      book: (wanted) => {
        chargedThere = 0
        return Traffic.book(link!.ledger, workers, wanted, mayGo)
      },
      charged: () => Float64Array.from(chargedMs.splice(0))
    }
  process.on("message", (message: { readonly ask: Ask; readonly given: never } | { readonly charged: number }) => {
    if ("charged" in message) {
      chargedThere = message.charged
      wake()
      return
    }
    void Promise.resolve(answers[message.ask](message.given)).then((answer) =>
      process.send!({ ask: message.ask, answer })
    )
  })
  let told: Progress = { batches: 0, charged: 0 }
  setInterval(
    () => {
      if (told.batches === batches && told.charged === charged) return
      told = { batches, charged }
      process.send!(told)
    },
    workers > 0 ? progressMs.bookings : progressMs.batches
  )
  process.send!({ batches, charged } satisfies Progress)
  return yield* Effect.never
})

process.on("disconnect", () => process.exit(0))
// What is amiss shows in the figures that are checked; on a terminal it belongs to no row.
const quiet = Effect.provide(process.env.WARMPATH_BENCH_LOG === undefined ? Logger.layer([]) : Layer.empty)
await Effect.runPromise(program.pipe(Effect.scoped, quiet))
