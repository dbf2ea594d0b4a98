/**
 * FleetShare: one fleet for all replicas: what operators told any of them, and who announced itself to all.
 *
 * Owns     the last word on every worker (`FleetRows`), which of them the table `fleet` has, and the announcements.
 * Hears    this replica's admin API and config, the table, the subject `announce`.
 * Answers  `list`, synchronously; what follows from it all it tells its local `Fleet`.
 * Loses    the words, with the process: they are in the table, and every replica puts back what a table has lost.
 *
 * Nothing waits for the bus but the answer to an operator, and the first list for half a second: a change counts here at
 * once, and is shared when the bus is there.
 */
import { Clock, Context, Deferred, Effect, Equal, Layer, Queue, Result, Schedule, Semaphore } from "effect"
import type { WorkerSpec } from "../src/domain/Worker.ts"
import { Bus, BusError, type Row, textOf, word } from "../src/ports/Bus.ts"
import { Announcements, decode as decodeAnnouncement, subject } from "./Announcements.ts"
import { Fleet, type WorkerRefused, type WorkerStatus } from "./Fleet.ts"
import * as Lifecycle from "./FleetLifecycle.ts"
import * as Rows from "./FleetRows.ts"
import { FleetWords } from "./FleetWords.ts"

export interface Options {
  readonly self: { readonly id: string }
  /** Most workers that may be announced at a time. */
  readonly workersMax: number
}

/** Whether all replicas know; and if not, why. */
export interface Sharing {
  readonly shared: boolean
  readonly why: string
}

/** What is known over all replicas of one worker, for people. */
export interface SharedWorker {
  readonly id: string
  readonly url: string
  /** An operator's last word on it; null when there is none. */
  readonly told: { readonly state: Rows.RowState; readonly by: string; readonly atMs: number } | null
  /** Whether the table has that word. */
  readonly shared: boolean
  /** Ms since it last announced itself; null when it does not. */
  readonly announcedMsAgo: number | null
  /** Its state in this replica's fleet; null where it is not in it. */
  readonly here: Lifecycle.State | null
  /** Why it is not here although it should be. */
  readonly why: string
}

/** Between two looks at what is due. */
const tickMs = 1_000
/** What the first list waits for the table. */
const firstMs = 500
/** A worker that left is remembered for those who were away. */
const rememberMs = 86_400_000
/** Times a write is tried against others'. */
const triesMax = 5

const restart = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("10 seconds")])

const keyStays = "its apiKey stays on this router: give it to each of the others, in its config or by its admin API"

const make = Effect.fnUntraced(function* ({ self, workersMax }: Options) {
  const bus = yield* Bus
  const fleet = yield* Fleet
  const clock = yield* Clock.Clock
  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const say = (text: string) => void fork(Effect.logInfo(text))
  const warn = (text: string) => void fork(Effect.logWarning(text))

  const table = bus.table("fleet")
  const words = new FleetWords()
  const listed = new Map<string, WorkerSpec>()
  const keyed = new Map<string, WorkerSpec>()
  const announcements = new Announcements(workersMax)
  /** Workers to be looked at again, and those that this replica's fleet would not have, with why. */
  const dirty = new Set<string>()
  const refused = new Map<string, string>()
  /** What was said already of those that are announced. */
  const complaints = new Map<string, string>()
  const wake = yield* Queue.sliding<true>(1)
  const known = yield* Deferred.make<void>()
  const one = yield* Semaphore.make(1)

  const look = (id: string): void => {
    dirty.add(id)
    Queue.offerUnsafe(wake, true)
  }

  const complain = (id: string, text: string): void => {
    if (complaints.get(id) === text) return
    if (complaints.size >= workersMax) complaints.clear()
    complaints.set(id, text)
    warn(text)
  }

  const isListed = (id: string): boolean => listed.has(id) || keyed.has(id) || announcements.get(id) !== undefined

  const wantedOf = (id: string): Rows.Wanted =>
    Rows.wanted({
      told: words.get(id),
      listed: listed.get(id),
      keyed: keyed.get(id),
      announced: announcements.get(id)
    })

  const absorb = ({ key, revision, value }: Row): void => {
    const id = textOf(key)
    const news = words.absorb(id, revision, value)
    if (news._tag === "Unreadable") complain(id, `What routers share of worker "${id}" cannot be read: ${news.why}`)
    if (news._tag === "Newer" && news.told.by !== self.id) {
      say(`Worker "${id}" is ${news.told.state}, as router ${news.told.by} was told`)
    }
    if (news._tag === "Newer" || news._tag === "Older") look(id)
  }

  /** A word that was taken out of the table: it was old, or somebody took it out by hand. */
  const forgotten = (id: string): void => {
    words.dropRow(id)
    const told = words.get(id)
    // Whoever still lists a worker that left remembers it for one more day.
    if (told !== undefined && told.state !== "listed" && isListed(id))
      words.tell(id, told, clock.currentTimeMillisUnsafe())
    else words.forget(id)
    look(id)
  }

  /** Brings the fleet in line with what is wanted of one worker. */
  const reconcile = Effect.fnUntraced(function* (id: string) {
    const want = wantedOf(id)
    const found = fleet.find(id)
    const why = refused.get(id)
    refused.delete(id)
    if (Rows.isAsWanted(found, want)) return
    if (want._tag !== "Have") return void fleet.remove(id, { drain: want._tag === "Drain" })
    if (found !== undefined && !Equal.equals(found.spec, want.spec)) fleet.remove(id, { drain: false })
    yield* fleet.add(want.spec, want.origin).pipe(
      Effect.catch(({ message }) => {
        refused.set(id, message)
        return message === why ? Effect.void : Effect.logWarning(message)
      })
    )
  })

  /** Writes the last word into the table, if that has an older one. `mustCount`: over whatever was written meanwhile. */
  const share = Effect.fnUntraced(function* (id: string, mustCount: boolean) {
    for (let tries = 0; tries < triesMax; tries++) {
      const told = words.get(id)
      if (told === undefined || !words.isPending(id)) return
      const revision = yield* table.replace(word(id), Rows.encode(told), words.revision(id))
      if (revision !== null) return words.wrote(id, told, revision)
      for (const row of yield* table.all) absorb(row)
      if (mustCount && words.get(id) !== told) words.tell(id, told, clock.currentTimeMillisUnsafe())
    }
    return yield* new BusError({
      what: `write fleet.${id}`,
      reason: "refused",
      detail: "others write it all the time"
    })
  })

  /** An operator's word, from now on the last one. */
  const tell = (id: string, spec: WorkerSpec, state: Rows.RowState): Effect.Effect<Sharing> =>
    Effect.suspend(() => {
      const isKeyed = spec.apiKey !== undefined
      words.tell(id, { spec, state, keyed: isKeyed, by: self.id }, clock.currentTimeMillisUnsafe())
      return share(id, true).pipe(
        Effect.match({
          onSuccess: (): Sharing => {
            if (!words.isShared(id))
              return { shared: false, why: "a later version of the router wrote what is shared of it" }
            return isKeyed && state === "listed" ? { shared: false, why: keyStays } : { shared: true, why: "" }
          },
          onFailure: ({ message }) => ({ shared: false, why: `${message}; it is shared when that works again` })
        })
      )
    })

  const hear = (data: Uint8Array): void => {
    const said = decodeAnnouncement(data)
    if (Result.isFailure(said)) return complain("", `An announcement of a worker is not understood: ${said.failure}`)
    const { id, url } = said.success.spec
    switch (announcements.hear(said.success, now())) {
      case "new":
        complaints.delete(id)
        return look(id)
      case "left":
        say(`Worker "${id}" announced that it leaves`)
        return look(id)
      case "contradicted":
        return complain(id, `Worker "${id}" is announced at ${url} and otherwise elsewhere: the first one counts`)
      case "full":
        return complain(id, `Worker "${id}" announced itself, one more than ${workersMax}: raise workersMax`)
      case "again":
        complaints.delete(id)
        return
      case "nothing":
        return
    }
  }

  /**
   * Silence alone takes no worker out: what announces may have died beside an engine that serves. An address that neither
   * is announced nor answers is nobody's, and is asked no more.
   */
  const judge = (): void => {
    for (const id of announcements.overdue(now())) {
      const state = fleet.find(id)?.state
      if (state === "draining") continue
      if (state !== undefined && Lifecycle.takesWork(state)) {
        complain(id, `Worker "${id}" is no longer announced; it answers, so it stays`)
        continue
      }
      announcements.forget(id)
      complaints.delete(id)
      say(`Worker "${id}" is no longer announced, nor does it answer: it leaves`)
      look(id)
    }
  }

  /** Takes what is long gone out of the table, once nobody here lists it. */
  const prune = Effect.fnUntraced(function* () {
    for (const id of words.leftBefore(clock.currentTimeMillisUnsafe() - rememberMs)) {
      if (!isListed(id)) yield* table.remove(word(id), words.revision(id))
    }
  })

  const turn = Effect.gen(function* () {
    const connected = bus.status().connected
    if (connected) judge()
    for (const id of new Set([...dirty, ...refused.keys()])) {
      dirty.delete(id)
      yield* one.withPermits(1)(reconcile(id))
    }
    if (!connected) return
    // What does not work now is tried again at the next turn.
    const shareOrPass = (id: string) =>
      share(id, false).pipe(
        Effect.catchIf(
          ({ reason }) => reason === "refused",
          ({ message }) => Effect.sync(() => complain(`fleet.${id}`, message))
        )
      )
    yield* Effect.forEach(words.pending(), shareOrPass, { discard: true }).pipe(Effect.andThen(prune()), Effect.ignore)
  })

  yield* table.watch({
    all: (all) => {
      words.clearRows()
      all.forEach(absorb)
      const missing = words.pending().filter((id) => words.revision(id) === 0)
      if (missing.length > 0) say(`The table of the fleet lacks ${missing.length} workers: they are put back`)
      Queue.offerUnsafe(wake, true)
      Deferred.doneUnsafe(known, Effect.void)
    },
    changed: absorb,
    removed: (key) => forgotten(textOf(key))
  })
  yield* bus.subscribe(subject, (_, data) => hear(data))
  yield* Effect.acquireRelease(
    Effect.sync(() =>
      bus.onStatus(({ connected }) => {
        if (connected) announcements.forgive(now())
        Queue.offerUnsafe(wake, true)
      })
    ),
    (stop) => Effect.sync(stop)
  )
  yield* Queue.take(wake).pipe(
    Effect.timeoutOption(tickMs),
    Effect.andThen(turn),
    Effect.forever,
    Effect.tapCause((cause) => Effect.logError("FleetShare died; it goes on with what it knows", cause)),
    Effect.sandbox,
    Effect.retry(restart),
    Effect.forkScoped
  )

  const add = Effect.fnUntraced(function* (spec: WorkerSpec) {
    const { id } = spec
    const isKnown = (own: WorkerSpec | undefined): own is WorkerSpec =>
      spec.apiKey === undefined && own !== undefined && own.url === spec.url
    const [inList, withKey] = [listed.get(id), keyed.get(id)]
    const meant = isKnown(withKey) ? withKey : isKnown(inList) ? inList : spec
    const worker = yield* one.withPermits(1)(fleet.add(meant, meant === inList ? "config" : "admin"))
    if (spec.apiKey !== undefined) keyed.set(id, spec)
    else if (meant !== withKey) keyed.delete(id)
    const sharing = yield* tell(id, meant, "listed")
    return { worker, ...sharing }
  })

  const remove = Effect.fnUntraced(function* (id: string, { drain }: { readonly drain: boolean }) {
    const told = words.get(id)
    // One that this replica has not, or would not have, leaves the others at its word. What drains may be cut short.
    const isElsewhere = told !== undefined && (told.state === "listed" || (told.state === "drained" && !drain))
    const spec = fleet.find(id)?.spec ?? (isElsewhere ? told.spec : undefined)
    if (spec === undefined) return null
    fleet.remove(id, { drain })
    return yield* tell(id, spec, drain ? "drained" : "removed")
  })

  const set = Effect.fnUntraced(function* (specs: ReadonlyArray<WorkerSpec>) {
    // A worker that was drained must not take work for the moment until the table says so.
    yield* Effect.timeoutOption(Deferred.await(known), firstMs)
    return yield* one.withPermits(1)(
      Effect.gen(function* () {
        const before = new Map(listed)
        listed.clear()
        for (const spec of specs) {
          listed.set(spec.id, spec)
          // What is written in the config now is newer than a key that was given before.
          if (before.has(spec.id) && !Equal.equals(before.get(spec.id), spec)) keyed.delete(spec.id)
        }
        for (const id of [...before.keys(), ...listed.keys()]) look(id)
        const without = yield* fleet.set(
          specs.filter((spec) => {
            const want = wantedOf(spec.id)
            return want._tag === "Have" && Equal.equals(want.spec, spec)
          })
        )
        for (const { id, message } of without) refused.set(id, message)
        return without
      })
    )
  })

  const list = (): ReadonlyArray<SharedWorker> =>
    [...new Set([...words.ids(), ...announcements.ids()])].sort().map((id) => {
      const told = words.get(id)
      const lacksKey = told?.state === "listed" && told.keyed && wantedOf(id)._tag !== "Have"
      return {
        id,
        url: (told?.spec ?? announcements.get(id))?.url ?? "",
        told: told === undefined ? null : { state: told.state, by: told.by, atMs: told.atMs },
        shared: words.isShared(id),
        announcedMsAgo: announcements.quietMs(id, now()),
        here: fleet.find(id)?.state ?? null,
        why: refused.get(id) ?? (lacksKey ? "this router was not given its apiKey" : "")
      }
    })

  return FleetShare.of({ add, remove, set, list })
})

export class FleetShare extends Context.Service<
  FleetShare,
  {
    /** Lists a worker on all replicas; as `Fleet.add` here, at once. One with a key is listed here only. */
    readonly add: (spec: WorkerSpec) => Effect.Effect<Sharing & { readonly worker: WorkerStatus }, WorkerRefused>
    /** Lets a worker finish, or forgets it, on all replicas: each its own requests. Null when none of them lists it. */
    readonly remove: (id: string, how: { readonly drain: boolean }) => Effect.Effect<Sharing | null>
    /** This replica's own list, as `Fleet.set`; without those that were drained or removed. */
    readonly set: (specs: ReadonlyArray<WorkerSpec>) => Effect.Effect<ReadonlyArray<WorkerRefused>>
    readonly list: () => ReadonlyArray<SharedWorker>
  }
>()("warmpath/actors/FleetShare") {
  static readonly layer = (options: Options): Layer.Layer<FleetShare, never, Bus | Fleet> =>
    Layer.effect(FleetShare, make(options))
}
