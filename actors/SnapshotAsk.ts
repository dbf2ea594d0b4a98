/**
 * SnapshotAsk: the side of a replica that asks others for their picture of publishers.
 *
 * Whoever serves `snapshot` may answer; the session that follows is with that one. Nothing is kept of a session that
 * breaks off.
 */
import { Effect, Fiber, Option, Schema } from "effect"
import { type Bus, word } from "../src/ports/Bus.ts"
import type { Who } from "../src/ports/EventStream.ts"
import type { Collector } from "./Collector.ts"
import type { PrefixIndex } from "./PrefixIndex.ts"
import { turn } from "./SnapshotSession.ts"
import { type Outcome, SnapshotTaker } from "./SnapshotTaker.ts"
import * as Words from "./SnapshotWords.ts"

export interface Options {
  /** Who says nothing for so long has failed. */
  readonly silenceMs: number
}

/** Nothing of it was kept. `replica`: who has failed; null when it is not known. */
export interface Failed {
  readonly _tag: "failed"
  readonly replica: string | null
  readonly why: string
}

/** By number in what was asked for; what is not among them is to be asked for again. */
interface Came {
  readonly _tag: "outcomes"
  readonly outcomes: ReadonlyMap<number, Outcome>
}

/** A replica that gives some of what was asked for. */
export type Session = Extract<typeof Words.Opened.Type, { readonly _tag: "session" }>

/** Answers that are none, from replicas that are not to answer, or cannot now: the bus chooses who is asked. */
const passesMax = 16

const encodeOpen = Schema.encodeUnknownSync(Words.Open)
const decodeOpened = Schema.decodeUnknownOption(Words.Opened)
const encodePull = Schema.encodeUnknownSync(Words.Pull)

const failed = (replica: string | null, why: string): Failed => ({ _tag: "failed", replica, why })

export const make = (
  bus: Bus["Service"],
  collector: Collector["Service"],
  index: PrefixIndex["Service"],
  { silenceMs }: Options
) => {
  let received = 0

  /**
   * One question on `snapshot`; who passes, or is not to answer, is asked past. Busy where all others give to others, nobody
   * where there are none; null for no answer.
   */
  const open = Effect.fnUntraced(function* (
    what: "take" | "retake",
    publishers: ReadonlyArray<Who>,
    not: ReadonlyArray<string>
  ) {
    const passed = new Set(not)
    let busy = false
    for (let passes = 0; passes < passesMax; passes++) {
      const heard: Array<Uint8Array> = []
      const question = Words.bytesOf(encodeOpen({ what, publishers, not: [...passed] }))
      yield* bus.ask(Words.subject, question, (bytes) => void heard.push(bytes), silenceMs)
      const opened = heard.length === 1 ? Option.getOrNull(decodeOpened(Words.textOf(heard[0]!))) : null
      if (opened?._tag !== "pass") return opened
      busy ||= opened.busy
      passed.add(opened.replica)
    }
    return busy ? "busy" : "nobody"
  })

  /** All messages of a session. Fails with why it broke off. */
  const pull = Effect.fnUntraced(function* (replica: string, session: number, taker: SnapshotTaker) {
    const ask = (after: number) =>
      Effect.suspend(() => {
        const frames: Array<Uint8Array> = []
        const question = Words.bytesOf(encodePull({ session, after }))
        return bus
          .ask(Words.sessionSubject(word(replica)), question, (frame) => void frames.push(frame), silenceMs)
          .pipe(
            // Whoever is asked is not to blame for a broker out of reach.
            Effect.mapError(({ message, reason }) => failed(reason === "away" ? null : replica, message)),
            Effect.as(frames)
          )
      }).pipe(Effect.forkChild({ startImmediately: true }))
    let coming = yield* ask(0)
    for (let after = 0; !taker.isOver; ) {
      const frames = yield* Fiber.join(coming)
      if (frames.length === 0) return yield* Effect.fail(failed(replica, "it ended too early"))
      after += frames.length
      // The next are on their way while these are applied.
      coming = yield* ask(after)
      for (const frame of frames) {
        received += frame.length
        if (!taker.take(frame)) return yield* Effect.fail(failed(replica, "that is no snapshot"))
        yield* turn
      }
      yield* index.caughtUp
    }
  })

  /**
   * Asks one replica for as many as it gives at once. Otherwise there is nobody to ask, no broker in reach, or all who could
   * answer give to others now. `begun`: a session that is open for the same publishers.
   */
  const take = Effect.fnUntraced(function* (
    wanted: ReadonlyArray<Who>,
    not: ReadonlyArray<string>,
    begun: Session | null = null
  ) {
    const opened =
      begun ??
      (yield* open("take", wanted, not).pipe(
        Effect.catchTag("BusError", ({ message, reason }) =>
          Effect.succeed(reason === "nobody" || reason === "away" ? reason : failed(null, message))
        )
      ))
    if (opened === "nobody" || opened === "away" || opened === "busy") return opened
    if (opened?._tag === "failed") return opened
    if (opened?._tag !== "session") return failed(null, "nobody gives an answer")
    const { absent, replica, session, taken } = opened
    const outcomes = new Map<number, Outcome>()
    for (const i of absent) outcomes.set(i, { _tag: "absent" })
    const came: Came = { _tag: "outcomes", outcomes }
    if (taken.length === 0) return came
    const slots = new Map(collector.publishers().map(({ name, slot }) => [name, slot]))
    const taker = new SnapshotTaker(
      taken.map((i) => {
        const slot = slots.get(wanted[i]?.name ?? "") ?? -1
        return { slot, restore: (head) => collector.restore(slot, head) }
      })
    )
    const broken = yield* pull(replica, session, taker).pipe(
      Effect.as(null),
      Effect.catch((broken) => Effect.succeed(broken)),
      Effect.ensuring(Effect.sync(() => taker.abandon()))
    )
    for (const [at, outcome] of taker.outcomes.entries()) outcomes.set(taken[at]!, outcome)
    return broken ?? came
  })

  return {
    open,
    take,
    /** Received so far. */
    bytes: () => received
  }
}
