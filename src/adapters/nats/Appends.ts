/**
 * Appends: messages to a stream, and what became of each.
 *
 * Those of one turn of the event loop go out in one write, and the answers of a connection come to one inbox and are timed
 * by one timer. The client's own `publish` takes a write, a timer and an error with its stack for every message, which was
 * half of what it cost to append a batch of events.
 */
import { JetStreamApiError } from "@nats-io/jetstream"
import { createInbox, errors, headers, type Msg, TimeoutError } from "@nats-io/transport-node"
import type { Session, Sessions } from "./Session.ts"

/** Hears the place in the stream, or the error. Never on the turn of the call. */
export type Done = (result: number | Error) => void

interface Waiting {
  readonly subject: string
  readonly done: Done
  readonly untilMs: number
}

interface Queued {
  readonly subject: string
  readonly data: Uint8Array
  readonly id: string
  readonly reply: string
}

interface Lane {
  readonly add: (subject: string, data: Uint8Array, id: string, done: Done) => void
  /** Sends what is queued while that is possible; what is not answered by now has failed. */
  readonly end: () => void
}

const tickMs = 250

/** Source: nats-io/nats-server `server/jetstream_api.go`, `JSPubAckResponse`. */
type Ack = { readonly seq: number } | { readonly error: ConstructorParameters<typeof JetStreamApiError>[0] }

const resultOf = (message: Msg, subject: string): number | Error => {
  if (message.data.length === 0) return new errors.NoRespondersError(subject)
  try {
    const ack = message.json<Ack>()
    return "error" in ack ? new JetStreamApiError(ack.error) : ack.seq
  } catch {
    return new Error(`an answer that cannot be read: ${message.string().slice(0, 100)}`)
  }
}

const laneOf = ({ nc }: Session, answerMs: number): Lane => {
  const inbox = `${createInbox()}.`
  const waiting = new Map<number, Waiting>()
  let queue: Array<Queued> = []
  let next = 0

  const answer = (number: number, result: number | Error): void => {
    const known = waiting.get(number)
    // Else it was answered before, or given up.
    waiting.delete(number)
    known?.done(result)
  }
  const send = (): void => {
    const all = queue
    queue = []
    for (const { data, id, reply, subject } of all) {
      const named = headers()
      named.set("Nats-Msg-Id", id)
      try {
        nc.publish(subject, data, { headers: named, reply })
      } catch (error) {
        answer(Number(reply.slice(inbox.length)), error instanceof Error ? error : new Error(String(error)))
      }
    }
  }
  const subscription = nc.subscribe(`${inbox}*`, {
    callback: (error, message) => {
      if (error !== null) return
      const number = Number(message.subject.slice(inbox.length))
      const known = waiting.get(number)
      if (known !== undefined) answer(number, resultOf(message, known.subject))
    }
  })
  /** To those that the account may not publish there is no answer, only a word from the server. */
  const listen = async (): Promise<void> => {
    for await (const status of nc.status()) {
      if (status.type !== "error" || !(status.error instanceof errors.PermissionViolationError)) continue
      for (const [number, { subject }] of waiting) if (subject === status.error.subject) answer(number, status.error)
    }
  }
  void listen()
  const ticks = setInterval(() => {
    const nowMs = performance.now()
    for (const [number, { untilMs }] of waiting) {
      if (untilMs > nowMs) break
      answer(number, new TimeoutError())
    }
  }, tickMs).unref()
  return {
    add: (subject, data, id, done) => {
      const number = next++
      waiting.set(number, { subject, done, untilMs: performance.now() + answerMs })
      if (queue.push({ subject, data, id, reply: `${inbox}${number}` }) === 1) setImmediate(send)
    },
    end: () => {
      clearInterval(ticks)
      if (!nc.isClosed()) {
        send()
        subscription.unsubscribe()
      }
      queue = []
      for (const number of waiting.keys()) answer(number, new errors.ClosedConnectionError())
    }
  }
}

/** Appends on a session; `subject` in full. An answer that takes longer than `answerMs` comes too late. */
export const make = (sessions: Sessions, answerMs: number) => {
  const lanes = new WeakMap<Session, Lane>()
  sessions.each((session) => {
    const lane = laneOf(session, answerMs)
    lanes.set(session, lane)
    return lane.end
  })
  return (session: Session, subject: string, data: Uint8Array, id: string, done: Done): void => {
    const lane = lanes.get(session)
    // Its connection broke as it began.
    if (lane === undefined) setImmediate(() => done(new errors.ClosedConnectionError()))
    else lane.add(subject, data, id, done)
  }
}
