/**
 * ReplicaLink: what this replica has open, told to the others; what they have open, charged to the ledger here.
 *
 * Owns     the numbered deltas of its own bookings, and one `ReplicaLoad` for each other replica that is heard.
 * Hears    bookings, first tokens and ends in the ledger it hands to the request path, at once; `load.*` on the bus; that a
 *          worker is known here, or not any more; that a replica is gone.
 * Answers  `load-state.<own id>` on the bus: all that is open. `stats`, synchronously.
 * Loses    what others told, when the process ends or they are not heard for three seconds: it asks for their state when
 *          they are.
 *
 * A change is told within a turn of a few milliseconds, in one message with all others of that turn. A beat each second
 * says how many deltas there were, how much is open, and a digest of it: that shows a loss on a quiet line, and proves that
 * both have the same. So the state is sent only to who asks for it, having missed something or just begun. Nothing is kept
 * for a bus that is away.
 */
import { Clock, Context, Effect, FiberMap, Latch, Layer, Schedule } from "effect"
import * as LoadWire from "../src/hot/LoadWire.ts"
import { OwnLoad } from "../src/hot/OwnLoad.ts"
import { Bus, textOf, word } from "../src/ports/Bus.ts"
import type { Ledger } from "./Ledger.ts"
import { ReplicaLoad } from "./ReplicaLoad.ts"
import * as ToldLedger from "./ToldLedger.ts"

export interface Options {
  readonly self: { readonly id: string }
  readonly ledger: Ledger["Service"]
  /** The ledger's clock, ms. */
  readonly now: () => number
  /** Greater in each life of a replica. The time at which it starts, when left out. */
  readonly incarnation?: number
}

/** From a change to its message: what the first of a turn waits for the others. */
const turnMs = 5
const beatMs = 1_000
/** Three beats and deltas in between were not heard. */
const silentMs = 3_000
/** Silent for so long, its name is forgotten, too. */
const forgottenMs = 60_000
/** More replicas than anybody runs. */
const ownersMax = 256
/** A delta is sent before it is larger: NATS takes 1 MiB unless told otherwise. */
const deltaBytesMax = 256 << 10
const stateSilenceMs = 1_000
/** Between two questions for the same state. */
const askAgainMs = 250

interface OwnerStats {
  readonly id: string
  /** Requests it has open, as it told. */
  readonly open: number
  /** Since it was last heard. */
  readonly ageMs: number
  /** Its state is needed, and on its way. */
  readonly broken: boolean
  readonly gaps: number
  readonly disagreed: number
  readonly restored: number
}

export interface Stats {
  /** Deltas and beats that were sent, and that could not be. */
  readonly sent: number
  readonly unsent: number
  readonly sentBytes: number
  readonly heard: number
  readonly heardBytes: number
  /** Messages that nobody here can read. */
  readonly unreadable: number
  readonly gaps: number
  /** States given to others, and taken of them. */
  readonly statesGiven: number
  readonly statesTaken: number
  /** Replicas whose requests were dropped, as they were silent or gone. */
  readonly expired: number
  /** Own requests open. */
  readonly open: number
  readonly owners: ReadonlyArray<OwnerStats>
}

export class ReplicaLink extends Context.Service<
  ReplicaLink,
  {
    /** For the request path: what is booked in it is told to the others. */
    readonly ledger: Ledger["Service"]
    /** A slot stands for a worker from now on, by the name it has on all replicas. After it has joined the ledger. */
    readonly join: (slot: number, name: string) => void
    /** It does not any more. */
    readonly leave: (slot: number) => void
    /** A replica is dead: what it had open is dropped at once. */
    readonly gone: (id: string) => void
    readonly stats: () => Stats
  }
>()("warmpath/actors/ReplicaLink") {
  static readonly layer = (options: Options): Layer.Layer<ReplicaLink, never, Bus> => Layer.effect(this, make(options))
}

/** The workers of this replica's slots, by the hash of their names. */
const makeNames = () => {
  const bySlot: Array<number | undefined> = []
  const slots = new Map<number, number>()
  return {
    workerOf: (slot: number): number | undefined => bySlot[slot],
    slotOf: (worker: number): number | undefined => slots.get(worker),
    join: (slot: number, worker: number): void => {
      bySlot[slot] = worker
      slots.set(worker, slot)
    },
    /** The worker that has no slot now; undefined when it has another, or never had one. */
    leave: (slot: number): number | undefined => {
      const worker = bySlot[slot]
      bySlot[slot] = undefined
      if (worker === undefined || slots.get(worker) !== slot) return undefined
      slots.delete(worker)
      return worker
    }
  }
}

export const make = Effect.fnUntraced(function* ({ incarnation, ledger, now, self }: Options) {
  const bus = yield* Bus
  const clock = yield* Clock.Clock
  const own = new OwnLoad(incarnation ?? clock.currentTimeMillisUnsafe())
  const loads = new Map<string, ReplicaLoad>()
  const names = makeNames()
  const asking = yield* FiberMap.make<string>()
  const ask = yield* FiberMap.runtime(asking)<never>()
  const due = Latch.makeUnsafe()
  const subject = `load.${word(self.id)}`
  let sent = 0
  let unsent = 0
  let sentBytes = 0
  let heard = 0
  let heardBytes = 0
  let unreadable = 0
  let statesGiven = 0
  let expired = 0
  /** Of replicas that are forgotten. */
  const former = { gaps: 0, restored: 0, unreadable: 0 }

  const publish = (message: Uint8Array): void => {
    if (bus.publish(subject, message)) {
      sent++
      sentBytes += message.length
    } else unsent++
  }

  const flush = (): void => {
    due.closeUnsafe()
    if (!bus.status().connected) return own.skip()
    const message = own.take()
    if (message !== null) publish(message)
  }

  const told = ToldLedger.make(ledger, own, names.workerOf, () => {
    if (own.pending >= deltaBytesMax) flush()
    else if (own.pending > 0) due.openUnsafe()
  })

  /** Until what is known of a replica is whole, or it is not there any more. */
  const mend = (id: string, load: ReplicaLoad): Effect.Effect<void> =>
    Effect.gen(function* () {
      const messages: Array<Uint8Array> = []
      yield* bus.ask(`load-state.${word(id)}`, new Uint8Array(0), (message) => messages.push(message), stateSilenceMs)
      load.restore(messages, now())
    }).pipe(
      // It is away, dead, or slow: what it has is asked for again as long as it is heard.
      Effect.ignore,
      Effect.andThen(Effect.suspend(() => (load.broken ? Effect.sleep(askAgainMs) : Effect.void))),
      Effect.repeat({ while: () => load.broken })
    )

  const hear = (id: string, message: Uint8Array): void => {
    heard++
    heardBytes += message.length
    if (LoadWire.headerOf(message) === null) return void unreadable++
    const known = loads.get(id)
    if (known === undefined && loads.size >= ownersMax) return
    const load = known ?? new ReplicaLoad({ charge: ledger.charge, slotOf: names.slotOf })
    loads.set(id, load)
    load.hear(message, now())
    if (load.broken) ask(id, mend(id, load), { onlyIfMissing: true })
  }

  const expire = (id: string, load: ReplicaLoad): void => {
    if (load.incarnation === 0) return
    expired++
    load.expire(now())
    // A question without an answer would hold up the next.
    ask(id, Effect.void)
  }

  const supervised = (what: string, loop: Effect.Effect<void>) =>
    loop.pipe(
      Effect.forever,
      Effect.tapCause((cause) => Effect.logError(`ReplicaLink: ${what} failed, and goes on`, cause)),
      Effect.sandbox,
      Effect.retry(Schedule.spaced(beatMs)),
      Effect.forkScoped
    )

  yield* bus.subscribe("load.*", (from, message) => {
    const id = textOf(from.slice("load.".length))
    if (id !== self.id) hear(id, message)
  })
  yield* bus.serve(`load-state.${word(self.id)}`, (_, send) =>
    Effect.sync(() => {
      flush()
      statesGiven++
      for (const message of own.state(Math.min(deltaBytesMax, bus.bytesMax() >> 1))) send(message)
    })
  )
  yield* supervised("telling", due.await.pipe(Effect.andThen(Effect.sleep(turnMs)), Effect.andThen(Effect.sync(flush))))
  yield* supervised(
    "its beat",
    Effect.sync(() => {
      flush()
      publish(own.beat())
      for (const [id, load] of loads) {
        const ageMs = now() - load.heardMs
        if (ageMs >= silentMs) expire(id, load)
        if (ageMs < forgottenMs) continue
        for (const name of ["gaps", "restored", "unreadable"] as const) former[name] += load.counts[name]
        loads.delete(id)
      }
    }).pipe(Effect.andThen(Effect.sleep(beatMs)))
  )

  return ReplicaLink.of({
    ledger: told,
    join: (slot, name) => {
      const worker = LoadWire.nameHash(name)
      names.join(slot, worker)
      for (const load of loads.values()) load.join(worker, slot, now())
    },
    leave: (slot) => {
      const worker = names.leave(slot)
      if (worker !== undefined) for (const load of loads.values()) load.leave(worker)
    },
    gone: (id) => {
      const load = loads.get(id)
      if (load !== undefined) expire(id, load)
    },
    stats: () => {
      const atMs = now()
      const all = [...loads.values()]
      const sum = (name: keyof typeof former) => all.reduce((total, { counts }) => total + counts[name], former[name])
      return {
        sent,
        unsent,
        sentBytes,
        heard,
        heardBytes,
        unreadable: unreadable + sum("unreadable"),
        gaps: sum("gaps"),
        statesGiven,
        statesTaken: sum("restored"),
        expired,
        open: own.open,
        owners: [...loads].map(([id, { broken, counts, heardMs, open }]) => ({
          id,
          open,
          ageMs: atMs - heardMs,
          broken,
          gaps: counts.gaps,
          disagreed: counts.disagreed,
          restored: counts.restored
        }))
      }
    }
  })
})
