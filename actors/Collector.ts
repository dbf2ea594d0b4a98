/**
 * Collector: reads the KV events of every publisher, and tells the index what changed, in the router's own keys.
 *
 * Owns     per slot: one subscription and one `Publisher`, which decides everything; here are only its fibers.
 * Hears    live and replayed batches, on the socket's turn; the socket's queue is the mailbox, and what it drops shows
 *          as a hole and is replayed.
 * Answers  `state`, synchronously; `onState` when the belief in a slot changes.
 * Loses    nothing that a replay or the engine's next events do not bring back; then the slot starts from empty.
 *
 * Replays run one at a time per publisher and `concurrentReplays` at a time in all, first come, first served: a router
 * that starts in front of a large fleet reads it piece by piece.
 */
import {
  Cause,
  Clock,
  Context,
  Deferred,
  Effect,
  Exit,
  FiberHandle,
  FiberMap,
  Layer,
  Schedule,
  Semaphore
} from "effect"
import type { KvDelta } from "../src/domain/KvEvent.ts"
import { EventBus } from "../src/ports/EventBus.ts"
import { EventStream, ReplayFailed, type Subscription } from "../src/ports/EventStream.ts"
import { defaults, type Followed, type Options as PublisherOptions, type State } from "./Followed.ts"
import { HeldInputs } from "./HeldInputs.ts"
import { type Input, type Order, Publisher } from "./Publisher.ts"

export interface Options extends PublisherOptions {
  /** Replays that run at a time. */
  readonly concurrentReplays: number
  /** A replay that takes longer has failed. */
  readonly replayMsMax: number
}

/** Beside those of a publisher. */
const replayDefaults = {
  // Reading is decoding and hashing on one thread, so more at once is no faster; but an engine may take a tenth of a
  // second to answer at all, and one that never does must not keep the others waiting.
  concurrentReplays: 8,
  // Two million blocks are read in a second; this is for a network a hundred times slower.
  replayMsMax: 120_000
}

/** Between two looks at what is due: a pause may end this much late. */
const tickMs = 125

/** The event loop's next turn. */
const turn = Effect.callback<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

const restart = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("10 seconds")])

type StateListener = (slot: number, state: State) => void

/** A publisher at one moment: `PublisherCopy`. */
export interface Saved {
  readonly head: Uint8Array
  readonly pieces: ReadonlyArray<Int32Array>
}

/** A publisher that takes over what another has saved. All answer false when it is over, or was followed anew meanwhile. */
export interface Restoring {
  readonly piece: (words: Int32Array) => boolean
  /** Tells the index what the other had told it. */
  readonly publish: (delta: KvDelta) => boolean
  /** It goes on from there, if all is there. */
  readonly end: () => boolean
  /** Everything of it is forgotten. */
  readonly abandon: () => void
}

/** One batch of one publisher. */
export interface Batch {
  /** `Followed.name` */
  readonly name: string
  readonly seq: number
  /** Seconds since the epoch, by the engine's clock. */
  readonly publishedAt: number
}

interface Entry {
  readonly followed: Followed
  readonly publisher: Publisher
  /** What it hears waits from now on; answers whether it still does. */
  readonly hold: () => () => boolean
  readonly release: () => void
  readonly feed: (input: Input) => void
  /** Its last word, at once: the slot may have its next tenant before its socket is closed. */
  readonly leave: () => void
}

export class Collector extends Context.Service<
  Collector,
  {
    /** Follows a publisher; the one followed on this slot is stopped first. */
    readonly start: (followed: Followed) => Effect.Effect<void>
    /** Withdraws at once all that was published about the slot, and follows it no more; done when its socket is closed. */
    readonly stop: (slot: number) => Effect.Effect<void>
    /** Forgets what is known of a slot, or of all, and reads it again. */
    readonly resync: (slot?: number) => void
    /** Requests that ask for full reports go there: from now on its repeats are no copies. Forgotten with `start`. */
    readonly refreshes: (slot: number) => void
    /** A request to this slot that took so long has just ended, and must have stored at least one new block. */
    readonly expected: (slot: number, tookMs: number) => void
    /** Blocks its events have taken from a slot so far; for a slot that is not followed 0. */
    readonly evicted: (slot: number) => number
    /** Publishers followed now. */
    readonly publishers: () => ReadonlyArray<Followed>
    /**
     * What it takes to go on from where a publisher stands: the moment of `began`. What it hears meanwhile waits. Null when
     * there is nothing to go on from, or more was heard than can wait. Pieces are of at most so many hashes.
     */
    readonly save: (slot: number, hashesMax: number, began: () => void) => Effect.Effect<Saved | null>
    /** For a publisher that has heard nothing yet. Null when it has, or the head is refused. */
    readonly restore: (slot: number, head: Uint8Array) => Restoring | null
    /** Follows a publisher anew, as `start` does. */
    readonly again: (slot: number) => Effect.Effect<void>
    /** Since its events, or a proof that there were none, were last heard; null where they never were. O(1), unlike `state`. */
    readonly heardAgoMs: (slot: number) => number | null
    /** The last batch of a slot, on the way to the index while `EventBus` tells of it; null for a slot that is not followed. */
    readonly lastBatch: (slot: number) => Batch | null
    /** Null for a slot that is not followed. */
    readonly state: (slot: number) => State | null
    /** Calls back on every change of health, of why, and of the block size. Returns how to stop that. */
    readonly onState: (listener: StateListener) => () => void
  }
>()("warmpath/actors/Collector") {
  static readonly layer = (
    given: Partial<Options> & Pick<Options, "hasher">
  ): Layer.Layer<Collector, never, EventBus | EventStream> =>
    Layer.effect(
      this,
      Effect.gen(function* () {
        const options: Options = { ...defaults, ...replayDefaults, ...given }
        const bus = yield* EventBus
        const stream = yield* EventStream
        const clock = yield* Clock.Clock
        const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
        const permits = yield* Semaphore.make(options.concurrentReplays)
        const saving = yield* Semaphore.make(1)
        const log = Effect.runForkWith(yield* Effect.context<never>())
        const fibers = yield* FiberMap.make<number, void, never>()
        const entries = new Map<number, Entry>()
        const listeners = new Set<StateListener>()

        const follow = Effect.fnUntraced(function* (followed: Followed) {
          const { model, name, slot, source } = followed
          const died = yield* Deferred.make<never>()
          const opened = yield* Deferred.make<Subscription, ReplayFailed>()
          const replaying = yield* FiberHandle.make<void, never>()
          const run = yield* FiberHandle.runtime(replaying)()

          const replay = ({ from, id }: Order) => {
            const failed = (reason: string) => new ReplayFailed({ endpoint: source.endpoint, from, reason })
            const read = Effect.flatMap(Deferred.await(opened), (subscription) => {
              feed({ _tag: "ReplayBegun", id })
              return subscription.replay(from, (seq, payload) => feed({ _tag: "Replayed", id, seq, payload }))
            })
            const inTime = Effect.timeoutOrElse(read, {
              duration: options.replayMsMax,
              orElse: () => Effect.fail(failed(`not done in ${options.replayMsMax} ms`))
            })
            // Not on the turn that ordered it.
            return Effect.andThen(Effect.yieldNow, permits.withPermits(1)(inTime)).pipe(
              Effect.match({
                onFailure: ({ reason }) => feed({ _tag: "ReplayFailed", id, reason }),
                onSuccess: () => feed({ _tag: "ReplayDone", id })
              }),
              Effect.catchDefect((defect) => Deferred.die(died, defect))
            )
          }

          const publisher = new Publisher(
            followed,
            options,
            {
              publish: bus.publish,
              replay: (order) => void run(replay(order)),
              abandon: () => void run(Effect.void),
              say: (level, message) => void log(level === "info" ? Effect.logInfo(message) : Effect.logWarning(message))
            },
            now()
          )
          let told: Pick<State, "health" | "why" | "blockSize"> | null = null
          const tell = () => {
            const { health, reader, why } = publisher
            const { blockSize } = reader.translator
            if (told !== null && told.health === health && told.why === why && told.blockSize === blockSize) return
            told = { health, why, blockSize }
            const state = publisher.state(now())
            for (const listener of listeners) listener(slot, state)
          }
          let open = true
          const held = new HeldInputs(options)
          const feed = (input: Input) => {
            if (!open || held.take(input)) return
            release()
            try {
              publisher.feed(input, now())
              tell()
            } catch (defect) {
              // Half a batch may be applied; the socket's loop must live on, so the slot is followed anew from outside.
              open = false
              Deferred.doneUnsafe(died, Exit.die(defect))
            }
          }
          const release = () => {
            if (held.isHolding) for (const input of held.end()) feed(input)
          }
          const hold = () => {
            held.begin()
            return () => open && held.isHolding
          }
          const leave = () => {
            if (entries.get(slot) !== entry) return
            entries.delete(slot)
            open = false
            publisher.leave()
          }
          const entry: Entry = { followed, publisher, feed, hold, leave, release }
          entries.set(slot, entry)
          yield* Effect.addFinalizer(() => Effect.sync(leave))
          tell()
          yield* stream
            .open(
              source,
              {
                message: (seq, payload) => feed({ _tag: "Live", seq, payload }),
                connected: () => feed({ _tag: "Connected" }),
                disconnected: () => feed({ _tag: "Disconnected" })
              },
              { name, model }
            )
            .pipe(
              Effect.flatMap((subscription) => Deferred.succeed(opened, subscription)),
              Effect.catchTag("EndpointInvalid", ({ message, reason }) => {
                feed({ _tag: "Unreachable", why: reason })
                return Effect.andThen(
                  Effect.logError(`KV events of ${name}: ${message}`),
                  Deferred.fail(opened, new ReplayFailed({ endpoint: source.endpoint, from: 0, reason }))
                )
              })
            )
          return yield* Deferred.await(died)
        })

        const supervised = (followed: Followed): Effect.Effect<void> =>
          Effect.scoped(follow(followed)).pipe(
            Effect.tapCause((cause) =>
              Cause.hasInterruptsOnly(cause)
                ? Effect.void
                : Effect.logError(`Following the KV events of ${followed.name} died; they are read anew`, cause)
            ),
            Effect.sandbox,
            Effect.retry(restart),
            Effect.ignore
          )

        yield* Effect.sync(() => {
          const nowMs = now()
          for (const { feed, publisher } of entries.values()) {
            if (publisher.wakeMs <= nowMs) feed({ _tag: "Tick" })
          }
        }).pipe(
          Effect.andThen(Effect.sleep(tickMs)),
          Effect.forever,
          Effect.tapCause((cause) => Effect.logError("No replay of KV events is retried any more", cause)),
          Effect.forkScoped
        )

        const start = (followed: Followed) =>
          Effect.suspend(() => {
            entries.get(followed.slot)?.leave()
            return FiberMap.run(fibers, followed.slot, supervised(followed), { startImmediately: true })
          }).pipe(Effect.asVoid)

        const save = Effect.fnUntraced(function* (entry: Entry, hashesMax: number, began: () => void) {
          const copy = entry.publisher.save(hashesMax)
          if (copy === null) return null
          const isHeld = entry.hold()
          began()
          const pieces: Array<Int32Array> = []
          for (const piece of copy.pieces) {
            pieces.push(piece)
            yield* turn
            if (!isHeld()) return null
          }
          return { head: copy.head, pieces }
        })

        return Collector.of({
          start,
          again: (slot) =>
            Effect.suspend(() => {
              const entry = entries.get(slot)
              return entry === undefined ? Effect.void : start(entry.followed)
            }),
          publishers: () => Array.from(entries.values(), ({ followed }) => followed),
          save: (slot, hashesMax, began) =>
            Effect.suspend(() => {
              const entry = entries.get(slot)
              if (entry === undefined) return Effect.succeed(null)
              return save(entry, hashesMax, began).pipe(Effect.ensuring(Effect.sync(entry.release)))
            }).pipe(saving.withPermits(1)),
          restore: (slot, head) => {
            const entry = entries.get(slot)
            if (entry === undefined || !entry.publisher.copy.begin(head)) return null
            const { copy } = entry.publisher
            const isOpen = () => entries.get(slot) === entry
            return {
              piece: (words) => isOpen() && copy.piece(words),
              publish: (delta) => isOpen() && copy.publish(delta),
              end: () => isOpen() && copy.end(),
              abandon: () => {
                if (isOpen()) copy.abandon()
              }
            }
          },
          stop: (slot) =>
            Effect.suspend(() => {
              entries.get(slot)?.leave()
              return FiberMap.remove(fibers, slot)
            }),
          resync: (slot) => {
            for (const [known, { feed }] of entries) {
              if (slot === undefined || slot === known) feed({ _tag: "Resync", why: "read again from the start" })
            }
          },
          refreshes: (slot) => entries.get(slot)?.feed({ _tag: "Refreshes" }),
          evicted: (slot) => entries.get(slot)?.publisher.reader.translator.counters.evicted ?? 0,
          expected: (slot, tookMs) => entries.get(slot)?.feed({ _tag: "Expected", tookMs }),
          heardAgoMs: (slot) => {
            const heardAtMs = entries.get(slot)?.publisher.heardAtMs ?? -Infinity
            return heardAtMs === -Infinity ? null : now() - heardAtMs
          },
          lastBatch: (slot) => {
            const entry = entries.get(slot)
            if (entry === undefined) return null
            const { publishedAt, seq } = entry.publisher.reader
            return { name: entry.followed.name, seq, publishedAt }
          },
          state: (slot) => entries.get(slot)?.publisher.state(now()) ?? null,
          onState: (listener) => {
            listeners.add(listener)
            return () => void listeners.delete(listener)
          }
        })
      })
    )
}
