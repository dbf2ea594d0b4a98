/**
 * Collector: reads the KV events of a worker and publishes what changed, in the router's own keys.
 *
 * Owns     per worker: one subscription, one `EventSequence` and one `Translator` for each data-parallel rank.
 * Hears    live and replayed batches, on the socket's turn; the socket's queue is the mailbox, and what it drops shows
 *          as a hole and is replayed.
 * Answers  `state`, synchronously; `onTrust` when the belief in a worker changes.
 * Loses    nothing that a replay or the engine's next events do not bring back; then the worker starts from empty.
 *
 * Trust is `degraded` while a hole is open, a reconnect is unverified, or events cannot be read; `none` before
 * anything is known. After a purge the picture is right but may be short: `complete` says which.
 */
import { Cause, Context, Effect, FiberMap, Layer, Queue, Schedule, type Scope } from "effect"
import type { EngineBatch, KvDelta } from "../src/domain/KvEvent.ts"
import type { EventSource, Trust } from "../src/domain/Worker.ts"
import type { Hasher } from "../src/hot/BlockHash.ts"
import * as EventSequence from "../src/hot/EventSequence.ts"
import * as HolderMerge from "../src/hot/HolderMerge.ts"
import * as KeyTranslate from "../src/hot/KeyTranslate.ts"
import { EventBus } from "../src/ports/EventBus.ts"
import { EventStream } from "../src/ports/EventStream.ts"

export interface Options {
  /** The fleet's hasher: every key of one index must come from one seed. */
  readonly hasher: Hasher
  /** A worker silent for this long is asked for its last batch: the very last message may be the lost one. */
  readonly quietMs: number
  /** First pause between failed replays; doubles up to the second. */
  readonly backoffMsMin: number
  readonly backoffMsMax: number
  /** Failed replays in a row before the hole is admitted and the worker starts from empty. */
  readonly attemptsMax: number
  /** Live batches held back per rank while a replay runs. */
  readonly heldMax: number
  readonly heldBytesMax: number
  /** See `KeyTranslate.Options`. */
  readonly repeats: "copy" | "refresh"
  readonly copiesMax: number
  readonly parkedMax: number
  readonly parkedBatches: number
  readonly hashesMax: number
}

export const defaults: Omit<Options, "hasher"> = {
  // A replay costs the engine a scan of its ring; a stale tail costs a few misses.
  quietMs: 5_000,
  backoffMsMin: 250,
  backoffMsMax: 30_000,
  attemptsMax: 4,
  heldMax: 10_000,
  heldBytesMax: 64 * 1024 * 1024,
  // What stock engines mean; only a request that asks for full reports makes them repeat themselves.
  repeats: "copy",
  copiesMax: 255,
  parkedMax: 64,
  parkedBatches: 256,
  // Four times the blocks of the largest caches seen; 67 bytes each at worst.
  hashesMax: 4_194_304
}

/** One worker to follow. */
export interface Followed {
  readonly id: string
  readonly slot: number
  /** Canonical name of the base model: what the request side puts into its namespaces. */
  readonly model: string
  /** One per data-parallel rank. */
  readonly sources: ReadonlyArray<EventSource>
  /** Tokens per block, or null to learn it. */
  readonly blockSize: number | null
  /** The engine's decoder. */
  readonly decode: (payload: Uint8Array) => EngineBatch
}

/** What is known about one worker's events. Counters only grow. */
export interface State extends KeyTranslate.Counters {
  readonly trust: Trust
  /** Every batch since the engine started, or since it emptied its cache, has been applied. */
  readonly complete: boolean
  readonly connected: boolean
  /** Last applied number per rank, in the order of the sources; -1 for none. */
  readonly lastSeq: ReadonlyArray<number>
  readonly batches: number
  readonly gaps: number
  readonly replays: number
  readonly replayFailures: number
  readonly purges: number
  readonly restarts: number
  readonly duplicates: number
  /** Holes that no replay filled. */
  readonly lost: number
  readonly decodeErrors: number
  /** Changes the bus had no room for; each forces a fresh start. */
  readonly overflows: number
  /** Batches held back now. */
  readonly lagEvents: number
  /** Engine hashes known now. */
  readonly hashes: number
  /** Tokens per block: as told, or as learned from events. */
  readonly blockSize: number | null
}

/** Batches between two fresh starts that a store without its parent may cause; what a replay does not cure, it never will. */
const orphanResyncEvery = 10_000

const restart = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("10 seconds")])

type Replay = Extract<EventSequence.Output, { readonly _tag: "Replay" }>

/** What a rank needs from outside. */
export interface Hands {
  readonly publish: (delta: KvDelta) => boolean
  /** Run this replay and feed back `Replayed`, then `ReplayDone` or `ReplayFailed`. */
  readonly replay: (order: Replay) => void
  /** Feed back `Resync`, soon. */
  readonly resync: () => void
}

/** One publisher: feeds inputs through the sequence and the translator. No runtime, no clock. */
export class Rank {
  readonly sequence: EventSequence.State
  readonly translator: KeyTranslate.Translator
  batches = 0
  decodeErrors = 0
  overflows = 0
  /** What is published no longer adds up; nothing is, until the resync that was asked for. */
  private broken = false
  /** The cache was emptied since the last purge, so what is known is all there is. */
  private emptied = false
  private readonly decode: (payload: Uint8Array) => EngineBatch
  private readonly hands: Hands
  private readonly merge: HolderMerge.HolderMerge | null
  private readonly emit: (delta: KvDelta) => void
  private orphansDropped = 0
  private orphanResyncBatch = -orphanResyncEvery
  /** Something was published since the last purge. */
  private dirty = false

  constructor(
    worker: Followed,
    source: EventSource,
    options: Options,
    hands: Hands,
    merge: HolderMerge.HolderMerge | null
  ) {
    this.decode = worker.decode
    this.hands = hands
    this.merge = merge
    this.sequence = EventSequence.make({ ...options, replayable: source.replayEndpoint !== null })
    this.translator = KeyTranslate.make({
      ...options,
      worker: worker.slot,
      model: worker.model,
      blockSize: worker.blockSize
    })
    const send = (delta: KvDelta) => {
      if (this.broken || hands.publish(delta)) return
      this.overflows++
      this.breakOff()
    }
    this.emit = (delta) => {
      this.dirty = true
      if (merge === null) send(delta)
      else merge(delta, send)
    }
  }

  get complete(): boolean {
    return this.sequence.complete || this.emptied
  }

  get trust(): Trust {
    const { connected, doubt, started } = this.sequence
    if (!started) return "none"
    return doubt || !connected || this.broken ? "degraded" : "exact"
  }

  feed(input: EventSequence.Input): void {
    if (input._tag === "Resync") this.broken = false
    for (const output of EventSequence.step(this.sequence, input)) {
      if (output._tag === "Apply") this.apply(output.payload)
      else if (output._tag === "Purge") this.purge()
      else this.hands.replay(output)
    }
  }

  /** Forgets, and says so. */
  purge(): void {
    this.emptied = false
    // Clearing a slot costs the index a sweep; one that holds nothing is left alone.
    this.translator.clear(this.dirty ? this.emit : () => {}, this.merge !== null)
    this.dirty = false
  }

  private apply(payload: Uint8Array): void {
    if (this.broken) return
    this.batches++
    let batch: EngineBatch
    try {
      batch = this.decode(payload)
    } catch {
      // Its changes are unknown: no better than a lost batch, and a replay would bring the same bytes.
      this.decodeErrors++
      this.purge()
      this.sequence.complete = false
      return
    }
    const wasComplete = this.complete
    if (this.translator.apply(batch.events, this.emit, this.merge !== null)) this.emptied = true
    const { orphansDropped } = this.translator.counters
    // An engine never stores a child before its parent, so something went missing; unless the past was lost anyway.
    if (orphansDropped > this.orphansDropped && wasComplete) {
      this.emptied = false
      this.sequence.complete = false
      if (this.batches - this.orphanResyncBatch >= orphanResyncEvery) {
        this.orphanResyncBatch = this.batches
        this.breakOff()
      }
    }
    this.orphansDropped = orphansDropped
    if (this.translator.overflow) this.breakOff()
  }

  private breakOff(): void {
    if (this.broken) return
    this.broken = true
    this.hands.resync()
  }
}

/** The worker's trust is that of its worst rank; ranks that never spoke hold nothing and spoil nothing. */
export const trustOf = (ranks: ReadonlyArray<{ readonly trust: Trust }>): Trust => {
  if (ranks.some((rank) => rank.trust === "degraded")) return "degraded"
  return ranks.some((rank) => rank.trust === "exact") ? "exact" : "none"
}

const stateOf = (ranks: ReadonlyArray<Rank>): State => {
  const sum = (of: (rank: Rank) => number) => ranks.reduce((total, rank) => total + of(rank), 0)
  const counted = (name: keyof KeyTranslate.Counters) => sum((rank) => rank.translator.counters[name])
  return {
    trust: trustOf(ranks),
    complete: ranks.every((rank) => rank.complete),
    connected: ranks.every((rank) => rank.sequence.connected),
    lastSeq: ranks.map((rank) => rank.sequence.next - 1),
    batches: sum((rank) => rank.batches),
    gaps: sum((rank) => rank.sequence.gaps),
    replays: sum((rank) => rank.sequence.replays),
    replayFailures: sum((rank) => rank.sequence.replayFailures),
    purges: sum((rank) => rank.sequence.purges),
    restarts: sum((rank) => rank.sequence.restarts),
    duplicates: sum((rank) => rank.sequence.duplicates),
    lost: sum((rank) => rank.sequence.lost),
    decodeErrors: sum((rank) => rank.decodeErrors),
    overflows: sum((rank) => rank.overflows),
    lagEvents: sum((rank) => rank.sequence.held.size),
    hashes: sum((rank) => rank.translator.size),
    blockSize: ranks.find((rank) => rank.translator.blockSize !== null)?.translator.blockSize ?? null,
    unknownParents: counted("unknownParents"),
    orphansDropped: counted("orphansDropped"),
    unknownRemovals: counted("unknownRemovals"),
    ignored: counted("ignored"),
    skipped: counted("skipped"),
    unknownEvents: counted("unknownEvents"),
    mismatched: counted("mismatched")
  }
}

type TrustListener = (id: string, trust: Trust, state: State) => void

export class Collector extends Context.Service<
  Collector,
  {
    /** Follows a worker; one already followed under this id is stopped first. */
    readonly start: (worker: Followed) => Effect.Effect<void>
    /** Stops following and withdraws all that was published about the worker. */
    readonly stop: (id: string) => Effect.Effect<void>
    /** Forgets what is known of a worker, or of all, and reads it again. */
    readonly resync: (id?: string) => void
    /** Null for a worker that is not followed. */
    readonly state: (id: string) => State | null
    /** Calls back on every change of trust or of the block size. Returns how to stop that. */
    readonly onTrust: (listener: TrustListener) => () => void
  }
>()("warmpath/actors/Collector") {
  static readonly layer = (
    given: Partial<Options> & Pick<Options, "hasher">
  ): Layer.Layer<Collector, never, EventBus | EventStream> =>
    Layer.effect(
      this,
      Effect.gen(function* () {
        const options: Options = { ...defaults, ...given }
        const bus = yield* EventBus
        const stream = yield* EventStream
        const fibers = yield* FiberMap.make<string, void, never>()
        const workers = new Map<string, { readonly ranks: ReadonlyArray<Rank>; readonly resync: () => void }>()
        const listeners = new Set<TrustListener>()

        const follow = Effect.fnUntraced(function* (worker: Followed) {
          const merge = worker.sources.length > 1 ? HolderMerge.make() : null
          const ranks: Array<Rank> = []
          let told = ""
          const tell = () => {
            const trust = trustOf(ranks)
            const size = ranks.find((rank) => rank.translator.blockSize !== null)?.translator.blockSize
            if (told === `${trust} ${size}`) return
            told = `${trust} ${size}`
            const state = stateOf(ranks)
            for (const listener of listeners) listener(worker.id, trust, state)
          }
          const resync = () => {
            // Counts over several ranks are worth nothing once one of them is: all start over.
            if (merge !== null) merge({ _tag: "Cleared", worker: worker.slot }, bus.publish)
            for (const rank of ranks) rank.feed({ _tag: "Resync" })
            tell()
          }
          const entry = { ranks, resync }
          workers.set(worker.id, entry)
          yield* Effect.addFinalizer(() =>
            Effect.sync(() => {
              if (workers.get(worker.id) === entry) workers.delete(worker.id)
              bus.publish({ _tag: "Cleared", worker: worker.slot })
            })
          )
          for (const source of worker.sources) {
            yield* followRank(worker, source, options, { bus, stream }, merge, ranks, tell, resync)
          }
          return yield* Effect.never
        })

        const supervised = (worker: Followed): Effect.Effect<void> =>
          Effect.scoped(follow(worker)).pipe(
            Effect.tapCause((cause) =>
              Cause.hasInterruptsOnly(cause)
                ? Effect.void
                : Effect.logError(`Collector of ${worker.id} died; it reads its events anew`, cause)
            ),
            Effect.sandbox,
            Effect.retry(restart),
            Effect.ignore
          )

        return Collector.of({
          // First the old one to its end: its last word is that the slot is empty.
          start: (worker) =>
            FiberMap.remove(fibers, worker.id).pipe(
              Effect.andThen(FiberMap.run(fibers, worker.id, supervised(worker), { startImmediately: true })),
              Effect.asVoid
            ),
          stop: (id) => FiberMap.remove(fibers, id),
          resync: (id) => {
            for (const [known, worker] of workers) if (id === undefined || id === known) worker.resync()
          },
          state: (id) => {
            const worker = workers.get(id)
            return worker === undefined ? null : stateOf(worker.ranks)
          },
          onTrust: (listener) => {
            listeners.add(listener)
            return () => void listeners.delete(listener)
          }
        })
      })
    )
}

interface Ports {
  readonly bus: EventBus["Service"]
  readonly stream: EventStream["Service"]
}

/** Subscribes one rank and forks its replays and its clock; all end with the scope. */
const followRank = Effect.fnUntraced(function* (
  worker: Followed,
  source: EventSource,
  options: Options,
  { bus, stream }: Ports,
  merge: HolderMerge.HolderMerge | null,
  ranks: Array<Rank>,
  tell: () => void,
  resync: () => void
): Effect.fn.Return<void, never, Scope.Scope> {
  const orders = yield* Queue.unbounded<Replay | "resync">()
  const rank = new Rank(
    worker,
    source,
    options,
    {
      publish: bus.publish,
      replay: (order) => void Queue.offerUnsafe(orders, order),
      resync: () => void Queue.offerUnsafe(orders, "resync")
    },
    merge
  )
  ranks.push(rank)
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const feed = (input: EventSequence.Input) => {
    try {
      rank.feed(input)
      tell()
    } catch (defect) {
      // Half a batch may be applied. The socket's loop must live on.
      run(
        Effect.logError(`KV events of ${worker.id} at ${source.endpoint}: ${input._tag} failed; starting over`, defect)
      )
      Queue.offerUnsafe(orders, "resync")
    }
  }
  const logged = Effect.tapCause((cause) => Effect.logError(`KV events of ${worker.id} at ${source.endpoint}`, cause))
  const opened = yield* stream
    .open(source, {
      message: (seq, payload) => feed({ _tag: "Live", seq, payload }),
      connected: () => feed({ _tag: "Connected" }),
      disconnected: () => feed({ _tag: "Disconnected" })
    })
    .pipe(Effect.catchTag("EndpointInvalid", (error) => Effect.as(Effect.logError(error.message), null)))
  if (opened === null) return
  const pause = (attempt: number) => Math.min(options.backoffMsMax, options.backoffMsMin * 2 ** (attempt - 1))
  let resyncs = 0
  const serve = Effect.fnUntraced(function* (order: Replay | "resync") {
    if (order === "resync") {
      yield* Effect.sleep(pause(++resyncs))
      resync()
      return
    }
    const { attempt, from, id } = order
    if (attempt > 0) yield* Effect.sleep(pause(attempt))
    // Overtaken by a fresh start.
    if (id !== rank.sequence.id) return
    yield* opened
      .replay(from, (seq, payload) => feed({ _tag: "Replayed", id, seq, payload }))
      .pipe(
        Effect.match({
          onFailure: () => feed({ _tag: "ReplayFailed", id }),
          onSuccess: () => feed({ _tag: "ReplayDone", id })
        })
      )
  })
  yield* Queue.take(orders).pipe(Effect.flatMap(serve), logged, Effect.ignoreCause, Effect.forever, Effect.forkScoped)
  yield* Effect.sleep(options.quietMs).pipe(
    Effect.andThen(
      Effect.sync(() => {
        resyncs = Math.max(0, resyncs - 1)
        feed({ _tag: "Quiet" })
      })
    ),
    Effect.forever,
    logged,
    Effect.forkScoped
  )
})
