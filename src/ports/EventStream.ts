/**
 * EventStream: one publisher of KV events, live and replayed, as raw numbered payloads.
 *
 * Live messages may be lost, never invented; the sequence number says which. What a subscriber missed it asks for with
 * `replay`, where the engine keeps a buffer. Real: ZeroMQ (`adapters/zmq`). In-process twin: `memory`.
 */
import { Context, Effect, Layer, Schema, type Scope } from "effect"
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

export interface Subscription {
  /**
   * Every buffered batch with `seq >= from`, in order; done at the engine's end marker. One at a time: a second call
   * waits for the first. Fails when the source has no replay address, does not answer in time, or breaks off.
   */
  readonly replay: (from: number, take: (seq: number, payload: Uint8Array) => void) => Effect.Effect<void, ReplayFailed>
}

export class EventStream extends Context.Service<
  EventStream,
  {
    /** Subscribes until the scope closes; the transport reconnects by itself. */
    readonly open: (
      source: EventSource,
      listener: Listener
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
  /** How many of the next replays fail. */
  failReplays: number
  /** Replays answered so far. */
  replays: number
  /** Subscribers now. */
  readonly listeners: () => number
}

/** The twin: publishers by endpoint, and the layer that subscribes to them. `bufferMax`: batches kept for replay. */
export const memory = (
  bufferMax = 10_000
): { readonly publisher: (endpoint: string) => MemoryPublisher; readonly layer: Layer.Layer<EventStream> } => {
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
        failReplays: 0,
        replays: 0,
        listeners: () => room.listeners.size
      }
    }
    rooms.set(endpoint, room)
    return room
  }
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
          return {
            replay: (from, take) =>
              Effect.suspend(() => {
                const failed = (reason: string) => new ReplayFailed({ endpoint: source.endpoint, from, reason })
                if (source.replayEndpoint === null) return Effect.fail(failed("the source has no replay address"))
                if (room.publisher.failReplays > 0) {
                  room.publisher.failReplays--
                  return Effect.fail(failed("told to fail"))
                }
                room.publisher.replays++
                for (const [seq, payload] of room.buffer) if (seq >= from) take(seq, payload)
                return Effect.void
              })
          }
        })
    })
  )
  return { publisher: (endpoint) => roomOf(endpoint).publisher, layer }
}
