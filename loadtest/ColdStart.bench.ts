/**
 * ColdStart.bench: how long a replica that joins takes to know what another one knows.
 *
 * One replica holds the caches of some engines, whose own buffers reach back over a sliver of them; a second one joins
 * while the engines go on. Over the memory twin both share one process and one event loop; over NATS (`--nats`) the
 * second is a process of its own, as it is in life. Times are wall time, as they are waited for; a turn of the event loop
 * is measured in CPU time, which others on the machine do not lengthen.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { Context, Effect, Layer, Logger } from "effect"
import { Bootstrap } from "../actors/Bootstrap.ts"
import { Collector } from "../actors/Collector.ts"
import { Leases } from "../actors/Leases.ts"
import { Members } from "../actors/Members.ts"
import { PrefixIndex } from "../actors/PrefixIndex.ts"
import { Relay } from "../actors/Relay.ts"
import { Snapshots } from "../actors/Snapshots.ts"
import * as NatsBus from "../src/adapters/nats/NatsBus.ts"
import type { BlockStored, EngineEvent } from "../src/domain/KvEvent.ts"
import { DEVICE } from "../src/domain/Tier.ts"
import * as BlockHash from "../src/hot/BlockHash.ts"
import type { Bus } from "../src/ports/Bus.ts"
import * as BusMemory from "../src/ports/BusMemory.ts"
import { EventBus } from "../src/ports/EventBus.ts"
import { EventStream, type Listener, ReplayFailed } from "../src/ports/EventStream.ts"

const help = `Usage: node loadtest/ColdStart.bench.ts [options]

A replica joins another one that holds so many blocks: time to ready, bytes moved, longest stall of the event loop.

  --blocks N      blocks that the engines hold together; may be repeated (default 1000000 and 10000000)
  --publishers N  engines (default 8)
  --rate N        batches of 16 blocks a second that the engines go on with, together (default 200)
  --nats URL      over this server, the joining replica in a process of its own; else over the memory twin
  --tiny          a second's worth, to see that it runs
  --help          this text
`

const { values } = parseArgs({
  options: {
    blocks: { type: "string", multiple: true, default: [] },
    publishers: { type: "string", default: "8" },
    rate: { type: "string", default: "200" },
    nats: { type: "string" },
    tiny: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
    /** The joining process: id of the deployment, and blocks. */
    join: { type: "string" }
  }
})

const model = "org/model"
const blockSize = 16
/** Blocks of a turn, and turns of a conversation: one chain. */
const turnBlocks = 16
const turns = 6
/** Batches that an engine can repeat. */
const ringMax = 200

/** Batch `seq` of an engine: the next turn of a conversation. Made anew from its number whenever it is read. */
const eventOf = (engine: number, seq: number): BlockStored => {
  const first = seq * turnBlocks
  const hashes = new Int32Array(turnBlocks * 2)
  const tokenIds = new Uint32Array(turnBlocks * blockSize)
  const hashAt = (block: number) => [Math.imul(block + 1, 0x9e37_79b1), Math.imul(block ^ (engine << 28), 0xc2b2_ae35)]
  for (let i = 0; i < turnBlocks; i++) hashes.set(hashAt(first + i), i * 2)
  for (let i = 0; i < tokenIds.length; i++) tokenIds[i] = (first * blockSize + i + engine * 7) % 150_000
  tokenIds[0] = first
  return {
    _tag: "BlockStored",
    hashes,
    parent: seq % turns === 0 ? null : Int32Array.from(hashAt(first - 1)),
    tokenIds,
    blockSize,
    loraId: null,
    tier: "device",
    loraName: null,
    extraKeys: null,
    groupIdx: 0,
    specKind: "full_attention",
    slidingWindow: null,
    locality: null,
    ownership: null,
    sessionId: null,
    salt: null
  }
}

/** The engines' side of the wire: what they have published is a number each. */
const engines = (count: number, batches: number) => {
  const next = new Array<number>(count).fill(batches)
  const ringFrom = new Array<number>(count).fill(0)
  const listeners = Array.from({ length: count }, () => new Set<Listener>())
  const payloadOf = (engine: number, seq: number) => new Uint8Array(Float64Array.of(engine, seq).buffer)
  const layer = Layer.succeed(
    EventStream,
    EventStream.of({
      open: ({ rank }, listener) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            listeners[rank]!.add(listener)
            listener.connected()
          }),
          () => Effect.sync(() => void listeners[rank]!.delete(listener))
        ).pipe(
          Effect.as({
            replay: (from: number, take: (seq: number, payload: Uint8Array) => void) =>
              Effect.gen(function* () {
                for (let seq = Math.max(from, ringFrom[rank]!); seq < next[rank]!; seq++) {
                  take(seq, payloadOf(rank, seq))
                  if (seq % 200 === 0) yield* turn
                }
              })
          })
        )
    })
  )
  /** One more batch. */
  const publish = (engine: number) => {
    const seq = next[engine]!++
    ringFrom[engine] = Math.max(ringFrom[engine]!, next[engine]! - ringMax)
    for (const listener of listeners[engine]!) listener.message(seq, payloadOf(engine, seq))
  }
  const forget = () => {
    for (let engine = 0; engine < count; engine++) ringFrom[engine] = Math.max(0, next[engine]! - ringMax)
  }
  return { layer, publish, forget, held: (engine: number) => next[engine]! * turnBlocks }
}

/** Engines that only another replica can reach. */
const unreachable = Layer.succeed(
  EventStream,
  EventStream.of({
    open: ({ endpoint }) =>
      Effect.succeed({ replay: (from) => Effect.fail(new ReplayFailed({ endpoint, from, reason: "out of reach" })) })
  })
)

const turn = Effect.callback<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

const decode = (payload: Uint8Array) => {
  const [engine, seq] = new Float64Array(payload.slice().buffer)
  const events: ReadonlyArray<EngineEvent> = [eventOf(engine!, seq!)]
  return { ts: 0, events, rank: null, unknown: [] }
}

const replica = Effect.fnUntraced(function* (
  id: string,
  bus: Layer.Layer<Bus>,
  stream: Layer.Layer<EventStream>,
  publishers: number,
  blocks: number
) {
  const shared = Leases.layer().pipe(
    Layer.provideMerge(Members.layer({ id, kind: "router", url: null, version: "bench" })),
    Layer.provideMerge(bus)
  )
  const layers = Snapshots.layer({ id }).pipe(
    Layer.provideMerge(Bootstrap.layer({ id, readyMsMax: 600_000 })),
    Layer.provideMerge(
      Layer.mergeAll(
        PrefixIndex.layer({ workersMax: publishers, blocksMax: Math.ceil(blocks * 1.3) + 100_000 }),
        Collector.layer({ hasher: BlockHash.make() })
      )
    ),
    Layer.provide(EventBus.layerMemory),
    Layer.provideMerge(Relay.layer.pipe(Layer.provide(stream))),
    Layer.provideMerge(shared)
  )
  const services = yield* Layer.build(layers)
  const collector = Context.get(services, Collector)
  const index = Context.get(services, PrefixIndex)
  return {
    bootstrap: Context.get(services, Bootstrap),
    snapshots: Context.get(services, Snapshots),
    members: Context.get(services, Members),
    index,
    follow: Effect.gen(function* () {
      for (let rank = 0; rank < publishers; rank++) {
        const source = { endpoint: `tcp://e:${rank}`, replayEndpoint: `tcp://e:${rank}`, topic: "", rank }
        const name = `engine-${rank}`
        yield* collector.start({ name, slot: rank, model, source, blockSize: null, blockCount: null, decode })
      }
    }),
    held: () => Array.from({ length: publishers }, (_, slot) => index.heldBy(slot, DEVICE)),
    isWhole: () =>
      Array.from({ length: publishers }, (_, slot) => collector.state(slot)).every(
        (state) => state?.health === "whole" && state.complete
      )
  }
})

/** The longest turns of this thread's event loop, in ms of CPU. Looked at between turns, once a millisecond at most. */
const watch = () => {
  let longest = 0
  let long = 0
  let before = process.threadCpuUsage()
  const looking = setInterval(() => {
    const now = process.threadCpuUsage()
    const ms = (now.user + now.system - before.user - before.system) / 1e3
    before = now
    if (ms > 5) long++
    longest = Math.max(longest, ms)
  }, 1)
  return {
    end: () => {
      clearInterval(looking)
      return { longest, long }
    }
  }
}

const until = (is: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => (is() ? Effect.void : Effect.andThen(Effect.sleep(2), until(is))))

/** What the joining replica tells of itself. */
interface Joined {
  readonly readyMs: number
  readonly wholeMs: number
  readonly bytes: number
  readonly turnMs: number
  readonly held: ReadonlyArray<number>
}

const join = Effect.fnUntraced(function* (one: Effect.Success<ReturnType<typeof replica>>) {
  const watched = watch()
  const startedMs = performance.now()
  const sinceMs = () => performance.now() - startedMs
  yield* one.follow
  yield* one.bootstrap.ready
  const readyMs = sinceMs()
  yield* until(one.isWhole)
  const wholeMs = sinceMs()
  const turnMs = watched.end().longest
  yield* Effect.sleep(200)
  yield* one.index.settled
  const { bytes, taken } = one.bootstrap.stats()
  if (taken === 0) return yield* Effect.die(new Error("nothing was taken over"))
  return { readyMs, wholeMs, bytes, turnMs, held: one.held() } satisfies Joined
})

const nats = (url: string, deployment: string) =>
  NatsBus.layer({
    servers: [url],
    deployment,
    name: "bench",
    tls: null,
    credsFile: null,
    nkeySeedFile: null,
    user: null,
    password: null,
    token: null,
    connectTimeoutMs: 2_000,
    log: { ageMs: 600_000, bytesMax: 256 * 1024 * 1024, replicas: 1, storage: "memory" },
    tables: { replicas: 1, storage: "memory" }
  })

const inOtherProcess = (deployment: string, blocks: number, publishers: number): Effect.Effect<Joined> =>
  Effect.promise(async () => {
    const file = fileURLToPath(import.meta.url)
    const given = ["--nats", values.nats!, "--publishers", String(publishers), "--join", `${deployment},${blocks}`]
    const child = spawn(process.execPath, [file, ...given], { stdio: ["ignore", "pipe", "inherit"] })
    let said = ""
    child.stdout.on("data", (data) => {
      said += data
    })
    await once(child, "close")
    return JSON.parse(said) as Joined
  })

const number = (value: number) => Math.round(value).toLocaleString("en-US").replaceAll(",", " ")

/** One cell: false when the replicas do not agree. */
const measure = Effect.fnUntraced(function* (blocks: number, publishers: number, rate: number) {
  const batches = Math.ceil(blocks / publishers / turnBlocks)
  const world = engines(publishers, batches)
  const deployment = `cold-${process.pid}-${blocks}`
  const hub = BusMemory.make()
  const busOf = () => (values.nats === undefined ? hub.client().layer : nats(values.nats, deployment))
  const first = yield* replica("first", busOf(), world.layer, publishers, blocks)
  first.members.setReady(true)
  const fillMs = performance.now()
  yield* first.follow
  yield* until(() => first.isWhole() && first.bootstrap.isReady())
  yield* first.index.settled
  world.forget()
  const filledMs = performance.now() - fillMs
  let at = 0
  const everyMs = 20
  const going = setInterval(() => {
    for (let i = 0; i < Math.max(1, (rate * everyMs) / 1_000); i++) world.publish(at++ % publishers)
  }, everyMs)
  // How the serving loop does without anybody who joins.
  yield* Effect.sleep(values.tiny ? 100 : 1_000)
  const quiet = watch()
  yield* Effect.sleep(values.tiny ? 100 : 1_000)
  const quietMs = quiet.end().longest
  const watched = watch()
  const joined =
    values.nats === undefined
      ? yield* replica("second", busOf(), unreachable, publishers, blocks).pipe(Effect.flatMap(join))
      : yield* inOtherProcess(deployment, blocks, publishers)
  const served = watched.end()
  clearInterval(going)
  yield* Effect.sleep(200)
  yield* first.index.settled
  const truth = Array.from({ length: publishers }, (_, engine) => world.held(engine))
  // The other process has stopped counting before the engines stopped: it holds no less than there was at its end.
  const agrees =
    first.held().join() === truth.join() &&
    joined.held.every((held, i) => held >= batches * turnBlocks && held <= truth[i]!)
  const column = (text: string, width: number) => text.padStart(width)
  console.log(
    [
      column(number(blocks), 11),
      column(`${(joined.readyMs / 1_000).toFixed(2)} s`, 9),
      column(`${(joined.wholeMs / 1_000).toFixed(2)} s`, 9),
      column(`${number(joined.bytes / 1e6)} MB`, 9),
      column(`${(joined.bytes / blocks).toFixed(1)}`, 9),
      column(`${served.longest.toFixed(1)} ms`, 9),
      column(String(served.long), 7),
      column(`${quietMs.toFixed(1)} ms`, 9),
      column(`${joined.turnMs.toFixed(1)} ms`, 10),
      column(`${(filledMs / 1_000).toFixed(1)} s`, 9)
    ].join(" ")
  )
  if (!agrees) console.log(`The replicas differ: ${first.held()} and ${joined.held}, of ${truth}`)
  return agrees
})

const quiet = Effect.provide(Logger.layer([]))

const main = async (): Promise<boolean> => {
  const publishers = Number(values.publishers)
  if (values.join !== undefined) {
    const [deployment, blocks] = values.join.split(",") as [string, string]
    const body = replica("second", nats(values.nats!, deployment), unreachable, publishers, Number(blocks))
    const joined = await Effect.runPromise(body.pipe(Effect.flatMap(join), Effect.scoped, quiet))
    console.log(JSON.stringify(joined))
    return true
  }
  const sizes = values.tiny ? [20_000] : values.blocks.length > 0 ? values.blocks.map(Number) : [1_000_000, 10_000_000]
  console.log(`A replica joins, ${publishers} publishers, over ${values.nats ?? "the memory twin, in one process"}`)
  console.log("     blocks     ready     whole     moved   a block longest turn  > 5 ms  without   joining   first one")
  let agree = true
  for (const blocks of sizes) {
    agree =
      (await Effect.runPromise(measure(blocks, publishers, Number(values.rate)).pipe(Effect.scoped, quiet))) && agree
  }
  return agree
}

if (values.help) console.log(help)
else process.exitCode = (await main()) ? 0 : 1
