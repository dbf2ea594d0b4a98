/**
 * Reader: a stream read in order, each message once, and again from where it was whenever reading ended.
 *
 * An ephemeral consumer without acknowledgements pushes to an inbox; its sequence shows a hole, its heartbeats that it
 * lives. The client library has such a reader, too; it goes on in silence where a stream was replaced by a new one of the
 * same name, which is what those who read here must hear of.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { AckPolicy, type ConsumerConfig, DeliverPolicy, ReplayPolicy, type StreamInfo } from "@nats-io/jetstream"
import { createInbox, type Msg, nanos, nuid } from "@nats-io/transport-node"
import { isMissing } from "./Failure.ts"
import type { Session, Sessions } from "./Session.ts"

export interface Message {
  /** In the stream. */
  readonly seq: number
  /** When the stream took it, in nanoseconds: tells it from another of that number. */
  readonly stamp: string
  readonly subject: string
  /** A view: to be copied where it is kept. */
  readonly data: Uint8Array
  /** Messages still to come of those there are. */
  readonly pending: number
  /** `DEL` or `PURGE` for a row removed from a table. */
  readonly operation: string
}

export interface Hears {
  /** Where to begin, given the stream as it is: at a sequence, or with the last message of each subject. */
  readonly from: (info: StreamInfo) => { readonly seq: number } | "last"
  /** False: what is there is not what it was, read anew. */
  readonly message: (message: Message) => boolean
  /** Nothing more is to come for now. */
  readonly idle: () => void
  /** The last sequence accounted for. */
  readonly at: () => number
}

const heartbeatMs = 500
/** Ticks of the timer, not time: a process that was busy has not missed anything. */
const silentTicksMax = 3
const pauseMsMin = 50
const pauseMsMax = 2_000

const configOf = (from: { readonly seq: number } | "last", subject: string): ConsumerConfig => ({
  name: nuid.next(),
  deliver_subject: createInbox(),
  filter_subject: subject,
  ...(from === "last"
    ? { deliver_policy: DeliverPolicy.LastPerSubject }
    : { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: Math.max(1, from.seq) }),
  ack_policy: AckPolicy.None,
  replay_policy: ReplayPolicy.Instant,
  max_deliver: 1,
  flow_control: true,
  idle_heartbeat: nanos(heartbeatMs),
  inactive_threshold: nanos(30_000),
  mem_storage: true,
  num_replicas: 1
})

/** `$JS.ACK.<stream>.<consumer>.<tries>.<seq>.<delivery>.<stamp>.<pending>`, newer ones with domain and account before. */
const placeOf = (reply: string) => {
  const parts = reply.split(".")
  const at = parts.length >= 11 ? 7 : 5
  return {
    seq: Number(parts[at]),
    delivery: Number(parts[at + 1]),
    stamp: parts[at + 2]!,
    pending: Number(parts[at + 3])
  }
}

/** Reads until something ends it; answers what. */
const readOnce = async (
  session: Session,
  stream: string,
  hears: Hears,
  readerMs: number,
  stop: AbortSignal
): Promise<void> => {
  const { jsm, nc } = session
  const info = await jsm.streams.info(stream)
  if (stop.aborted) return
  const config = configOf(hears.from(info), info.config.subjects[0]!)
  let heardTicks = 0
  let deliveries = 0
  let isLive = true
  let resolveEnded: () => void = () => {}
  const ended = new Promise<void>((resolve) => {
    resolveEnded = resolve
  })
  /** Nothing that came along with what ended it is taken. */
  const end = (): void => {
    isLive = false
    resolveEnded()
  }
  const take = (message: Msg): void => {
    const { seq, delivery, stamp, pending } = placeOf(message.reply!)
    // A hole: the consumer sent something that did not arrive.
    if (delivery !== ++deliveries) return end()
    const operation = message.headers?.get("KV-Operation") ?? ""
    if (!hears.message({ seq, stamp, subject: message.subject, data: message.data, pending, operation })) end()
  }
  const control = (message: Msg): void => {
    // What is not data says how the consumer is.
    if (message.headers?.code !== 100) return end()
    if (message.reply !== undefined && message.reply !== "") return void message.respond()
    const stalled = message.headers.get("Nats-Consumer-Stalled")
    if (stalled !== "") return nc.publish(stalled)
    if (Number(message.headers.get("Nats-Last-Consumer")) > deliveries) return end()
    hears.idle()
  }
  const subscription = nc.subscribe(config.deliver_subject!, {
    callback: (error, message) => {
      if (!isLive) return
      heardTicks = 0
      if (error !== null) end()
      else if (message.reply?.startsWith("$JS.ACK.") === true) take(message)
      else control(message)
    }
  })
  const ticks = setInterval(() => ++heardTicks > silentTicksMax && end(), heartbeatMs)
  let seen = -1
  /** Whether the stream is still the one that is read, and what it has arrives. */
  const look = async (): Promise<void> => {
    const now = await jsm.streams.info(stream).catch((error) => (isMissing(error) ? null : undefined))
    if (now === undefined) return
    const at = hears.at()
    const { last_seq: last } = now?.state ?? { last_seq: 0 }
    if (now === null || now.created !== info.created || last < at || (last > at && at === seen)) end()
    seen = at
  }
  const looks = setInterval(() => void look(), readerMs)
  stop.addEventListener("abort", end, { once: true })
  try {
    const created = await jsm.consumers.add(stream, config)
    if (created.num_pending === 0 && created.delivered.consumer_seq === 0 && isLive) hears.idle()
    await ended
  } finally {
    end()
    stop.removeEventListener("abort", end)
    clearInterval(ticks)
    clearInterval(looks)
    if (!nc.isClosed()) {
      subscription.unsubscribe()
      jsm.consumers.delete(stream, config.name!).catch(() => {})
    }
  }
}

/** Reads for as long as it is wanted. Returns how to stop. */
export const keep = (sessions: Sessions, stream: string, hears: Hears, readerMs: number): (() => void) =>
  sessions.each((session) => {
    const stopping = new AbortController()
    const stop = stopping.signal
    const run = async (): Promise<void> => {
      let pauseMs = pauseMsMin
      while (!stop.aborted && session.isOpen()) {
        const began = performance.now()
        await readOnce(session, stream, hears, readerMs, stop).catch((error) => {
          if (isMissing(error)) session.look()
        })
        pauseMs = performance.now() - began > pauseMsMax ? pauseMsMin : Math.min(pauseMsMax, pauseMs * 2)
        await sleep(pauseMs, undefined, { signal: stop }).catch(() => {})
      }
    }
    void run()
    return () => stopping.abort()
  })
