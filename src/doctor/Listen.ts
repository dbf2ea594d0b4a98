/** Listen: a worker's publishers, heard for as long as the scope lives; and whether they replay. */
import { Clock, Effect, Schedule, type Scope } from "effect"
import type { EngineBatch } from "../domain/KvEvent.ts"
import type { EventSource } from "../domain/Worker.ts"
import { EventStream, type Subscription } from "../ports/EventStream.ts"
import type { Heard, Listened } from "./Seen.ts"

export interface Ear {
  readonly isConnected: () => boolean
  /** What was heard since the start, read as events. */
  readonly heard: () => ReadonlyArray<Heard>
  /** All there is to say of this publisher; asks for a replay. */
  readonly listened: Effect.Effect<Listened>
}

/** Newest messages kept of one publisher: what a busy engine says in minutes. */
const messagesMax = 20_000
/** Beyond every number: a replay from there has nothing to send but its end. */
const beyond = Number.MAX_SAFE_INTEGER
/** A subscription reaches the publisher a moment after the handshake. */
const settleMs = 250

type Decode = (payload: Uint8Array) => EngineBatch

const read = (decode: Decode, payload: Uint8Array): Pick<Heard, "batch" | "why"> => {
  try {
    return { batch: decode(payload), why: "" }
  } catch (error) {
    return { batch: null, why: error instanceof Error ? error.message : String(error) }
  }
}

interface Topic {
  readonly isConnected: () => boolean
  readonly heard: ReadonlyArray<Heard>
  readonly subscription: Subscription | null
}

const onTopic = Effect.fnUntraced(function* (source: EventSource, decode: Decode, name: string) {
  const clock = yield* Clock.Clock
  const stream = yield* EventStream
  const heard: Array<Heard> = []
  let connected = false
  const listener = {
    message: (seq: number, payload: Uint8Array) => {
      if (heard.length === messagesMax) heard.splice(0, messagesMax / 2)
      heard.push({ seq, atMs: clock.currentTimeMillisUnsafe(), ...read(decode, payload) })
    },
    connected: () => {
      connected = true
    },
    disconnected: () => {
      connected = false
    }
  }
  const subscription = yield* stream
    .open(source, listener, { name, model: "" })
    .pipe(Effect.catchTag("EndpointInvalid", () => Effect.succeed(null)))
  return { isConnected: () => connected, heard, subscription } satisfies Topic
})

export const open = Effect.fnUntraced(function* (
  source: EventSource,
  decode: Decode,
  name: string
): Effect.fn.Return<Ear, never, EventStream | Scope.Scope> {
  const own = yield* onTopic(source, decode, name)
  const wide = source.topic === "" ? null : yield* onTopic({ ...source, topic: "" }, decode, name)
  const replay = Effect.suspend(() => {
    if (source.replayEndpoint === null) return Effect.succeed(null)
    if (own.subscription === null) return Effect.succeed("the event endpoint is no address")
    return own.subscription
      .replay(beyond, () => {})
      .pipe(
        Effect.as(""),
        Effect.catchTag("ReplayFailed", ({ reason }) => Effect.succeed(reason))
      )
  })
  return {
    isConnected: own.isConnected,
    heard: () => own.heard,
    listened: Effect.map(replay, (answer) => ({
      source,
      connected: own.isConnected(),
      heard: [...own.heard],
      wide: wide === null ? null : [...wide.heard],
      replay: answer
    }))
  }
})

/** Until all are connected and their subscriptions have arrived, or the time is over. */
export const ready = (ears: ReadonlyArray<Ear>, ms: number): Effect.Effect<void> =>
  Effect.sync(() => ears.every((ear) => ear.isConnected())).pipe(
    Effect.repeat({ until: (all) => all, schedule: Schedule.spaced("25 millis") }),
    Effect.timeoutOption(ms),
    Effect.andThen(Effect.sleep(settleMs))
  )
