/**
 * EventSocket: KV events over ZeroMQ. SUB for the live stream, DEALER for replay.
 *
 * Live frames: topic, sequence (8 bytes, big-endian), payload. Replay request: "", start (8 bytes); replies: "" and
 * then `sequence, payload` (vLLM to 0.25, SGLang) or `topic, sequence, payload` (vLLM from 0.26, TensorRT-LLM), ended by
 * a sequence of eight ff bytes. ZeroMQ reconnects by itself; the socket's monitor says when. Beyond the high-water mark
 * it drops silently, which shows as a hole in the sequence. Topics are compared by prefix.
 * Source: vllm-project/vllm `vllm/distributed/kv_events.py`, pull request 45177.
 */
import { Effect, Layer, Semaphore } from "effect"
import * as zmq from "zeromq"
import type { EventSource } from "../../domain/Worker.ts"
import { EndpointInvalid, EventStream, ReplayFailed } from "../../ports/EventStream.ts"

export interface Options {
  /** Messages ZeroMQ keeps for us while we are busy; beyond them it drops, which shows as a hole. */
  readonly queueMessagesMax: number
  /** Messages of one replay kept while we are busy. */
  readonly replayMessagesMax: number
  /** Larger messages end the connection. */
  readonly messageBytesMax: number
  /** Longest silence inside a replay. */
  readonly replayTimeoutMs: number
  readonly reconnectMsMin: number
  readonly reconnectMsMax: number
  /** Heartbeat between sockets: a peer that vanished without a word is noticed after two. */
  readonly heartbeatMs: number
}

const defaults: Options = {
  // As many as an engine keeps for replay by default: some 50 MB, and what is dropped can still be asked for.
  queueMessagesMax: 10_000,
  // The engine's ROUTER drops what its peer does not take: ten times the ring of 10 000.
  replayMessagesMax: 100_000,
  // The blocks of a prompt of a million tokens, ten times.
  messageBytesMax: 64 * 1024 * 1024,
  // A publisher looks for requests every 100 ms, when its engine lets it.
  replayTimeoutMs: 3_000,
  reconnectMsMin: 100,
  reconnectMsMax: 2_000,
  heartbeatMs: 5_000
}

/**
 * Bytes handed on in one turn of the event loop, by all sockets together: about half a millisecond of decoding and
 * hashing, and no more than the index applies in a turn.
 */
export const bytesPerTurn = 64 * 1024

/** A worker takes a socket and the two ends of its monitor, and as many while it replays; the default is 1 023. */
const socketsMax = 16_383

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Shares the turns of the event loop among sockets. */
class Turns {
  private left = bytesPerTurn
  private next: Promise<void> | null = null

  /** Counts bytes handed on. What it answers is to be awaited before the next. */
  spend(bytes: number): Promise<void> | null {
    this.left -= bytes
    if (this.left > 0) return null
    this.next ??= new Promise((resolve) =>
      setImmediate(() => {
        this.left = bytesPerTurn
        this.next = null
        resolve()
      })
    )
    return this.next
  }
}

const endMarker = (seq: Uint8Array): boolean => seq.every((byte) => byte === 0xff)

/** ZeroMQ connects to IPv6 addresses only where told. Names are left to IPv4, where engines bind. */
const isIpv6 = (endpoint: string): boolean => endpoint.startsWith("tcp://[")

/** Inexact beyond 2^53, which does not occur: at a thousand batches a second that is 285 000 years. */
const seqOf = (frame: Buffer): number => frame.readUInt32BE(0) * 0x1_0000_0000 + frame.readUInt32BE(4)

const seqFrame = (seq: number): Buffer => {
  const frame = Buffer.alloc(8)
  frame.writeBigUInt64BE(BigInt(seq))
  return frame
}

const close = (socket: zmq.Socket) => Effect.sync(() => socket.close())

const replayWith = (
  context: zmq.Context,
  turns: Turns,
  source: EventSource,
  from: number,
  take: (seq: number, payload: Uint8Array) => void,
  batchesMax: number,
  options: Options
): Effect.Effect<void, ReplayFailed> => {
  const { replayEndpoint } = source
  const failed = (reason: string) => new ReplayFailed({ endpoint: replayEndpoint ?? source.endpoint, from, reason })
  if (replayEndpoint === null) return Effect.fail(failed("the source has no replay address"))
  const read = async (socket: zmq.Dealer): Promise<void> => {
    let refused = false
    // ZeroMQ would try for ever, in silence. Closing the socket ends what waits on it.
    socket.events.on("connect:retry", () => {
      refused = true
      socket.close()
    })
    try {
      await answer(socket)
    } catch (error) {
      throw refused ? new Error("nobody listens there") : error
    }
  }
  const answer = async (socket: zmq.Dealer): Promise<void> => {
    socket.connect(replayEndpoint)
    await socket.send(["", seqFrame(from)])
    for (;;) {
      const frames: ReadonlyArray<Buffer> = await socket.receive()
      // Delimiter first; then two frames without a topic, or three with one.
      const [seq, payload] = frames.slice(-2)
      if (frames.length < 3 || frames.length > 4 || seq?.length !== 8 || payload === undefined) {
        throw new Error(`a reply of ${frames.length} frames is not [delimiter, topic?, sequence, payload]`)
      }
      if (endMarker(seq)) return
      take(seqOf(seq), payload)
      const wait = turns.spend(payload.length)
      if (wait !== null) await wait
    }
  }
  const { replayTimeoutMs } = options
  return Effect.acquireUseRelease(
    Effect.sync(
      () =>
        new zmq.Dealer({
          context,
          ipv6: isIpv6(replayEndpoint),
          linger: 0,
          receiveHighWaterMark: Math.min(batchesMax, options.replayMessagesMax),
          maxMessageSize: options.messageBytesMax,
          receiveTimeout: replayTimeoutMs,
          sendTimeout: replayTimeoutMs,
          sendHighWaterMark: 1
        })
    ),
    (socket) =>
      Effect.tryPromise({
        try: () => read(socket),
        catch: (error) => {
          const silent = (error as { readonly code?: unknown } | null)?.code === "EAGAIN"
          return failed(silent ? `no answer within ${replayTimeoutMs} ms` : reasonOf(error))
        }
      }),
    close
  )
}

export const layerWith = (given: Partial<Options> = {}): Layer.Layer<EventStream> => {
  const options: Options = { ...defaults, ...given }
  return Layer.sync(EventStream, () => {
    const context = new zmq.Context({ maxSockets: socketsMax })
    const turns = new Turns()
    return EventStream.of({
      open: (source, listener) =>
        Effect.gen(function* () {
          const invalid = (error: unknown) =>
            new EndpointInvalid({ endpoint: source.endpoint, reason: reasonOf(error) })
          const socket = yield* Effect.acquireRelease(
            Effect.sync(
              () =>
                new zmq.Subscriber({
                  context,
                  ipv6: isIpv6(source.endpoint),
                  linger: 0,
                  receiveHighWaterMark: options.queueMessagesMax,
                  maxMessageSize: options.messageBytesMax,
                  reconnectInterval: options.reconnectMsMin,
                  reconnectMaxInterval: options.reconnectMsMax,
                  heartbeatInterval: options.heartbeatMs,
                  heartbeatTimeout: options.heartbeatMs
                })
            ),
            close
          )
          let open = true
          yield* Effect.addFinalizer(() =>
            Effect.sync(() => {
              open = false
            })
          )
          socket.events.on("handshake", () => open && listener.connected())
          socket.events.on("disconnect", () => open && listener.disconnected())
          yield* Effect.try({
            try: () => {
              socket.subscribe(source.topic)
              socket.connect(source.endpoint)
            },
            catch: invalid
          })
          const pump = async (): Promise<void> => {
            for await (const [, seq, payload] of socket) {
              // Anything else on the topic is not a KV event.
              if (!open || seq?.length !== 8 || payload === undefined) continue
              const number = seqOf(seq)
              // Nothing could follow it: all that was known would be given up for it.
              if (!Number.isSafeInteger(number)) continue
              listener.message(number, payload)
              const wait = turns.spend(payload.length)
              if (wait !== null) await wait
            }
          }
          yield* Effect.tryPromise(pump).pipe(
            Effect.tapCause((cause) =>
              open ? Effect.logError(`KV events of ${source.endpoint} broke off`, cause) : Effect.void
            ),
            Effect.ignore,
            Effect.forkScoped({ startImmediately: true })
          )
          const one = yield* Semaphore.make(1)
          return {
            replay: (from, take, batchesMax = Infinity) =>
              one.withPermits(1)(replayWith(context, turns, source, from, take, batchesMax, options))
          }
        })
    })
  })
}

export const layer: Layer.Layer<EventStream> = layerWith()
