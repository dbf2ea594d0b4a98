/**
 * EventStream: one publisher of KV events, live and replayed, as raw numbered payloads.
 *
 * Live messages may be lost, never invented; the sequence number says which. What a subscriber missed it asks for with
 * `replay`, where the engine keeps a buffer. Real: ZeroMQ (`adapters/zmq`). In-process twin: `memory`.
 */
import { Context, Effect, Layer, Schema, type Scope, Semaphore } from "effect"
import type { EventSource } from "../domain/Worker.ts"

/** Called on the socket's turn; must not block. */
export interface Listener {
  /** `payload` is the listener's to keep. */
  readonly message: (seq: number, payload: Uint8Array) => void
  /** The subscription has reached the publisher, for the first time or again. */
  readonly connected: () => void
  readonly disconnected: () => void
}

/** The engine's buffer could not be read. */
export class ReplayFailed extends Schema.TaggedError<ReplayFailed>()("ReplayFailed", {
  endpoint: Schema.String,
  from: Schema.Number,
  reason: Schema.String
}) {
  readonly blame = "worker"
  readonly retry = "later"
  override get message() {
    return `Replay of KV events from ${this.endpoint}, starting at ${this.from}, failed: ${this.reason}. Check the engine's replay_endpoint and that its port is reachable.`
  }
}

/** The address cannot be subscribed to at all. */
export class EndpointInvalid extends Schema.TaggedError<EndpointInvalid>()("EndpointInvalid", {
  endpoint: Schema.String,
  reason: Schema.String
}) {
  readonly blame = "fleet"
  readonly retry = "never"
  override get message() {
    return `KV events cannot be read from "${this.endpoint}": ${this.reason}. Give an address to connect to, for example tcp://10.0.0.4:5557.`
  }
}

/** Whose events they are. */
export interface Who {
  /** The same in every replica: the worker's id, with the rank where there are several. */
  readonly name: string
  /** Canonical name of the base model. */
  readonly model: string
}

export interface Subscription {
  /**
   * Every buffered batch with `seq >= from`, in order; done at the engine's end marker. One at a time: a second call
   * waits for the first. Fails when the source has no replay address, does not answer in time, or breaks off.
   * `batchesMax`: keeps no more than so many that were not taken yet. Only as many are then sure to come in full: who
   * asks ends it there, and asks for the rest.
   */
  readonly replay: (
    from: number,
    take: (seq: number, payload: Uint8Array) => void,
    batchesMax?: number
  ) => Effect.Effect<void, ReplayFailed>
}

export class EventStream extends Context.Service<
  EventStream,
  {
    /** Subscribes until the scope closes; the transport reconnects by itself. */
    readonly open: (
      source: EventSource,
      listener: Listener,
      who: Who
    ) => Effect.Effect<Subscription, EndpointInvalid, Scope.Scope>
  }
>()("warmpath/ports/EventStream") {}

/** A publisher inside this process, with the faults a wire has. */
export interface MemoryPublisher {
  /** Numbers, buffers and sends a payload. `lost`: buffers it, but sends it to nobody. */
  readonly publish: (payload: Uint8Array, lost?: boolean) => number
  /** Sends anything under any number, without buffering it. */
  readonly inject: (seq: number, payload: Uint8Array) => void
  /** A new life: numbers start at 0 again and the buffer is empty. */
  readonly restart: () => void
  readonly disconnect: () => void
  readonly connect: () => void
  /** Leaves out a number, as an engine does that lost a batch after numbering it. */
  readonly skip: () => void
  /** How many of the next replays fail. */
  failReplays: number
  /** Replays that will be answered; those after them fail. */
  answersLeft: number
  /**
   * What is wrong with replays. `hang`: never answered. `cut`: broken off half-way. `garble`: other bytes than were
   * published.
   */
  replayFault: "none" | "hang" | "cut" | "garble"
  /** Time a replay takes before its first batch. */
  replayMs: number
  /** Replays asked for so far, and those of them that were answered. */
  asked: number
  replays: number
  /** Subscribers now. */
  readonly listeners: () => number
}

export interface Memory {
  readonly publisher: (endpoint: string) => MemoryPublisher
  readonly layer: Layer.Layer<EventStream>
  /** Most replays that ever ran at the same time, over all publishers. */
  readonly replaysAtOnce: () => number
}

/** The twin: publishers by endpoint, and the layer that subscribes to them. `bufferMax`: batches kept for replay. */
export const memory = (bufferMax = 10_000): Memory => {
  let running = 0
  let atOnce = 0
  interface Room {
    readonly listeners: Set<Listener>
    buffer: Array<readonly [number, Uint8Array]>
    next: number
    readonly publisher: MemoryPublisher
  }
  const rooms = new Map<string, Room>()
  const roomOf = (endpoint: string): Room => {
    const known = rooms.get(endpoint)
    if (known !== undefined) return known
    const send = (seq: number, payload: Uint8Array) => {
      for (const listener of room.listeners) listener.message(seq, payload)
    }
    const room: Room = {
      listeners: new Set(),
      buffer: [],
      next: 0,
      publisher: {
        publish: (payload, lost = false) => {
          const seq = room.next++
          room.buffer.push([seq, payload])
          if (room.buffer.length > bufferMax) room.buffer.shift()
          if (!lost) send(seq, payload)
          return seq
        },
        inject: send,
        restart: () => {
          room.next = 0
          room.buffer = []
        },
        disconnect: () => {
          for (const listener of room.listeners) listener.disconnected()
        },
        connect: () => {
          for (const listener of room.listeners) listener.connected()
        },
        skip: () => void room.next++,
        failReplays: 0,
        answersLeft: Infinity,
        replayFault: "none",
        replayMs: 0,
        asked: 0,
        replays: 0,
        listeners: () => room.listeners.size
      }
    }
    rooms.set(endpoint, room)
    return room
  }
  const counted = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        atOnce = Math.max(atOnce, ++running)
      }),
      () => effect,
      () => Effect.sync(() => void running--)
    )
  const replay = Effect.fnUntraced(function* (
    { buffer, publisher }: Room,
    source: EventSource,
    from: number,
    take: (seq: number, payload: Uint8Array) => void
  ) {
    const failed = (reason: string) => new ReplayFailed({ endpoint: source.endpoint, from, reason })
    if (source.replayEndpoint === null) return yield* failed("the source has no replay address")
    publisher.asked++
    if (publisher.replayMs > 0) yield* Effect.sleep(publisher.replayMs)
    if (publisher.replayFault === "hang") return yield* Effect.never
    if (publisher.failReplays > 0) {
      publisher.failReplays--
      return yield* failed("told to fail")
    }
    if (publisher.answersLeft <= 0) return yield* failed("no more answers")
    publisher.answersLeft--
    const answer = buffer.filter(([seq]) => seq >= from)
    const cut = publisher.replayFault === "cut"
    for (const [seq, payload] of cut ? answer.slice(0, answer.length >> 1) : answer) {
      take(seq, publisher.replayFault === "garble" ? payload.map((byte) => byte ^ 0x55) : payload)
    }
    if (cut) return yield* failed("broken off")
    publisher.replays++
  })
  const layer = Layer.succeed(
    EventStream,
    EventStream.of({
      open: (source, listener) =>
        Effect.gen(function* () {
          const room = roomOf(source.endpoint)
          yield* Effect.acquireRelease(
            Effect.sync(() => {
              room.listeners.add(listener)
              listener.connected()
            }),
            () => Effect.sync(() => void room.listeners.delete(listener))
          )
          const one = yield* Semaphore.make(1)
          return { replay: (from, take) => one.withPermits(1)(counted(replay(room, source, from, take))) }
        })
    })
  )
  return { publisher: (endpoint) => roomOf(endpoint).publisher, layer, replaysAtOnce: () => atOnce }
}
