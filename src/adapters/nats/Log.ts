/** Log: entries appended in order, each once, and heard from a place on. */
import { Effect } from "effect"
import type { Bus, BusError, Follower } from "../../ports/Bus.ts"
import * as Appends from "./Appends.ts"
import * as Failure from "./Failure.ts"
import type { Guard, Health } from "./Health.ts"
import * as Reader from "./Reader.ts"
import type { Session, Sessions } from "./Session.ts"
import type { Subjects } from "./Subjects.ts"

type LogOf = Pick<Bus["Service"], "append" | "follow" | "position">

/** Appends without an answer yet; more are refused, so that a slow server costs a bounded amount of memory. */
const inFlightMax = 10_000
const inFlightBytesMax = 64 * 1024 * 1024
/** A leader is elected in 4 to 6 s (measured); one who waits longer has lost its place in the order anyway. */
const answerMs = 5_000
/** A problem is over when no append has failed for as long as this. */
const wellMs = 5_000

const headerOf = (id: string): string => (/[\r\n]/.test(id) ? encodeURIComponent(id) : id)

const makeAppend = (
  sessions: Sessions,
  subjects: Subjects,
  health: Health,
  guard: Guard,
  bytesMax: () => number
): LogOf["append"] => {
  const append = Appends.make(sessions, answerMs)
  let inFlight = 0
  let inFlightBytes = 0
  let well: NodeJS.Timeout | undefined

  const failed = (session: Session, what: string, error: unknown): BusError => {
    const reason = Failure.busError(what, error)
    if (!session.isOpen()) return Failure.away(what)
    clearTimeout(well)
    well = setTimeout(() => health.problem("append", ""), wellMs).unref()
    health.problem("append", `the log takes nothing: ${reason.detail}`)
    if (Failure.isMissing(error)) session.look()
    return reason
  }

  return (subject, data, id, done = () => {}) => {
    const what = `append ${subject}`
    const session = sessions.current()
    const later = (error: BusError) => void setImmediate(() => guard(() => done(error)))
    if (session === null) return later(Failure.away(what))
    if (!subjects.isLogged(subject)) return later(Failure.refused(what, 'the log takes subjects under "kv." only'))
    if (data.length > bytesMax())
      return later(Failure.refused(what, `${data.length} bytes are more than ${bytesMax()}`))
    if (inFlight >= inFlightMax || inFlightBytes + data.length > inFlightBytesMax)
      return later(Failure.late(what, `${inFlight} appends wait for their answers`))
    inFlight++
    inFlightBytes += data.length
    // No retries: one that comes later would come behind those called after it.
    append(session, subjects.full(subject), data, headerOf(id), (result) => {
      inFlight--
      inFlightBytes -= data.length
      const told = typeof result === "number" ? { position: result } : failed(session, what, result)
      guard(() => done(told))
    })
  }
}

/** What a follower is to be told, from what the stream shows. */
const hearing = (after: number, subjects: Subjects, follower: Follower): Reader.Hears => {
  /** The last entry heard; null when any that is there is the next. */
  let at: number | null = after === 0 ? null : after
  /** Of the entry at `at`, where it was heard. */
  let stamp: string | null = null
  /** When the stream was created. */
  let life: string | null = null

  const anew = (): void => {
    at = null
    stamp = null
    follower.lost("the log began anew")
  }
  return {
    from: ({ created, state: { first_seq: first, last_seq: last } }) => {
      if (at !== null && (at > last || (life !== null && life !== created))) anew()
      life = created
      if (at !== null && first > at + 1) {
        follower.lost(`the log's entries before ${first} are gone`)
        at = first - 1
      }
      if (at === null || at < first) stamp = null
      at ??= Math.max(0, first - 1)
      // The last one again: a server that lost its end and went on has another there.
      return { seq: stamp === null ? at + 1 : at }
    },
    message: (message) => {
      if (message.seq === at) {
        if (message.stamp === stamp) return true
        anew()
        return false
      }
      if (at !== null && message.seq > at + 1) follower.lost(`the log's entries before ${message.seq} are gone`)
      at = message.seq
      stamp = message.stamp
      follower.entry({
        position: message.seq,
        subject: subjects.within(message.subject),
        data: new Uint8Array(message.data)
      })
      return true
    },
    idle: () => {},
    at: () => at ?? 0
  }
}

export const make = (
  sessions: Sessions,
  subjects: Subjects,
  health: Health,
  readerMs: number,
  guard: Guard,
  bytesMax: () => number
): LogOf => ({
  append: makeAppend(sessions, subjects, health, guard, bytesMax),
  position: Effect.suspend(() => {
    const what = "read the log's position"
    const session = sessions.current()
    if (session === null) return Effect.fail(Failure.away(what))
    return Effect.tryPromise({
      try: () => session.jsm.streams.info(subjects.stream),
      catch: (error) => Failure.busError(what, error)
    }).pipe(Effect.map(({ state }) => state.last_seq))
  }),
  follow: (after, follower) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const guarded: Follower = {
          entry: (entry) => guard(() => follower.entry(entry)),
          lost: (why) => guard(() => follower.lost(why))
        }
        return Reader.keep(sessions, subjects.stream, hearing(after, subjects, guarded), readerMs)
      }),
      (stop) => Effect.sync(stop)
    ).pipe(Effect.asVoid)
})
