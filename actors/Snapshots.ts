/**
 * Snapshots: gives other replicas this one's picture of publishers, when they join.
 *
 * Owns     a few sessions at a time, each of which remembers how far it has been taken; one that is not taken further is
 *          forgotten.
 * Hears    `snapshot` on the bus: which publishers are wanted; `snapshot.<self>`: the next messages, please.
 * Answers  those, from when it is ready. Each message is made in slices, when it is asked for.
 * Loses    sessions, when it goes: who was taking asks another replica, from the start.
 */
import { Clock, Context, Effect, Layer, Option, Schema } from "effect"
import { Bus, word } from "../src/ports/Bus.ts"
import { Bootstrap } from "./Bootstrap.ts"
import { Collector } from "./Collector.ts"
import { PrefixIndex } from "./PrefixIndex.ts"
import { Relay } from "./Relay.ts"
import { SnapshotSession } from "./SnapshotSession.ts"
import * as Words from "./SnapshotWords.ts"

/** At once. Each holds one publisher's hashes at most: 20 bytes each, 80 MB for the largest caches. */
const sessionsMax = 4
/** Publishers in one session at most, and hashes: what is published meanwhile is held back by who takes it. */
const publishersMax = 64
const hashesMax = 1_048_576
/** Not taken further for so long: given up. */
const idleMs = 5_000
/** Messages given to one question: up to 2 MiB. */
const framesPerPull = 8

interface Open {
  readonly session: SnapshotSession
  touchedMs: number
  busy: boolean
}

export interface Stats {
  readonly sessions: number
  /** Sessions begun, and bytes given; both only grow. */
  readonly begun: number
  readonly bytes: number
}

const decodeOpen = Schema.decodeUnknownOption(Words.Open)
const decodePull = Schema.decodeUnknownOption(Words.Pull)
const encodeOpened = Schema.encodeUnknownSync(Words.Opened)

export class Snapshots extends Context.Service<Snapshots, { readonly stats: () => Stats }>()(
  "warmpath/actors/Snapshots"
) {
  static readonly layer = ({ id }: { readonly id: string }) =>
    Layer.effect(
      this,
      Effect.gen(function* () {
        const bus = yield* Bus
        const bootstrap = yield* Bootstrap
        const collector = yield* Collector
        const index = yield* PrefixIndex
        const relay = yield* Relay
        const clock = yield* Clock.Clock
        const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
        const sessions = new Map<number, Open>()
        /** Of this life: under its name an earlier one may have given, whose sessions somebody still asks for. */
        let lastSession = clock.currentTimeMillisUnsafe() * 1_000
        let begun = 0
        let bytes = 0
        const deps = { collector, index, positionOf: relay.positionOf, bytesMax: bus.bytesMax }

        const forget = (): void => {
          for (const [number, { busy, touchedMs }] of sessions) {
            if (!busy && now() - touchedMs >= idleMs) sessions.delete(number)
          }
        }

        const opened = ({ not, publishers, what }: typeof Words.Open.Type): typeof Words.Opened.Type => {
          forget()
          if (not.includes(id)) return { _tag: "pass", replica: id, busy: false }
          if (sessions.size >= sessionsMax) return { _tag: "pass", replica: id, busy: true }
          const known = new Map(collector.publishers().map((followed) => [followed.name, followed]))
          const found = publishers.map(({ model, name }) => {
            const followed = known.get(name)
            return followed?.model === model ? followed : undefined
          })
          const states = found.map((followed) => (followed === undefined ? null : collector.state(followed.slot)))
          const which = (is: (i: number) => boolean) => publishers.flatMap((_, i) => (is(i) ? [i] : []))
          const able = which((i) => {
            const state = states[i] ?? null
            if (state === null) return false
            return what === "take" ? state.health !== "absent" : state.health === "whole" && state.complete
          })
          if (what === "retake" && able.length === 0) return { _tag: "pass", replica: id, busy: false }
          let hashes = 0
          const taken = able.filter((i, at) => {
            hashes += states[i]!.hashes
            return at === 0 || (at < publishersMax && hashes <= hashesMax)
          })
          const absent = which((i) => !able.includes(i))
          if (taken.length === 0) return { _tag: "session", replica: id, session: 0, taken, absent }
          begun++
          const session = ++lastSession
          sessions.set(session, {
            session: new SnapshotSession(
              deps,
              taken.map((i) => found[i]!)
            ),
            touchedMs: now(),
            busy: false
          })
          return { _tag: "session", replica: id, session, taken, absent }
        }

        const give = Effect.fnUntraced(function* (open: Open, send: (answer: Uint8Array) => void) {
          for (let i = 0; i < framesPerPull; i++) {
            const frame = yield* open.session.next()
            if (frame === null) return
            bytes += frame.length
            send(frame)
            open.touchedMs = now()
          }
        })

        const refused = (message: string) => Effect.fail(new Error(message))

        yield* bootstrap.ready.pipe(
          Effect.andThen(
            bus.serve(Words.subject, (data, send) => {
              const question = Option.getOrNull(decodeOpen(Words.textOf(data)))
              if (question === null) return refused("not a question for a snapshot")
              return Effect.sync(() => send(Words.bytesOf(encodeOpened(opened(question)))))
            })
          ),
          Effect.andThen(
            bus.serve(Words.sessionSubject(word(id)), (data, send) => {
              const pull = Option.getOrNull(decodePull(Words.textOf(data)))
              const open = pull === null ? undefined : sessions.get(pull.session)
              if (pull === null || open === undefined) return refused("no such session")
              if (open.busy || open.session.given !== pull.after) return refused("not where the session is")
              open.busy = true
              return give(open, send).pipe(
                Effect.ensuring(
                  Effect.sync(() => {
                    open.busy = false
                    open.touchedMs = now()
                    if (open.session.isGiven) sessions.delete(pull.session)
                  })
                )
              )
            })
          ),
          Effect.andThen(Effect.sync(forget).pipe(Effect.andThen(Effect.sleep(idleMs)), Effect.forever)),
          Effect.tapCause((cause) => Effect.logError("Sessions of pictures are no longer given up", cause)),
          Effect.forkScoped
        )
        return Snapshots.of({ stats: () => ({ sessions: sessions.size, begun, bytes }) })
      })
    )
}
