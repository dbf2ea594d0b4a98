/**
 * Session: the connection there is now. When it breaks another is made, for as long as the layer lives; whoever needs one
 * is told of each, and begins anew on it.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream"
import type { NatsConnection } from "@nats-io/transport-node"
import { Effect } from "effect"
import * as Connect from "./Connect.ts"
import { wordsOf } from "./Failure.ts"
import type { Health } from "./Health.ts"

export interface Session {
  readonly nc: NatsConnection
  readonly js: JetStreamClient
  readonly jsm: JetStreamManager
  readonly isOpen: () => boolean
  /** Looks after the streams soon, because one seems to be missing. */
  readonly look: () => void
}

export interface Sessions {
  /** Null while there is none that can be used. */
  readonly current: () => Session | null
  /** Begins on the session there is and on every later one; what it answers ends that. Returns how to stop. */
  readonly each: (begin: (session: Session) => () => void) => () => void
}

export interface Paces {
  /** First pause between two connections; doubles up to the last. */
  readonly connectMsMin: number
  readonly connectMsMax: number
  /** Of requests to JetStream. */
  readonly answerMs: number
  /** From one look at streams and buckets to the next: when all was well, when something was missing or late, when wrong. */
  readonly wellMs: number
  readonly missingMs: number
  readonly wrongMs: number
  /** From one look at whether a reader still hears all to the next. */
  readonly readerMs: number
  /** Removed rows leave a mark, for watchers that are away; when it is of no use any more. */
  readonly marksMs: number
}

export const defaults: Paces = {
  connectMsMin: 100,
  connectMsMax: 1_000,
  answerMs: 3_000,
  wellMs: 30_000,
  missingMs: 500,
  wrongMs: 10_000,
  readerMs: 5_000,
  marksMs: 3_600_000
}

/** What a look at the streams found. `wait`: nobody need do anything but wait. */
export interface Looked {
  readonly problems: ReadonlyArray<string>
  readonly wait: boolean
}

const drainMs = 2_000

const within = (ms: number, promise: Promise<unknown>): Promise<unknown> =>
  Promise.race([promise, sleep(ms, undefined, { ref: false })])

const closeGently = (nc: NatsConnection): Promise<void> =>
  within(drainMs, nc.drain())
    .catch(() => {})
    .then(() => nc.close())

interface Each {
  readonly begin: (session: Session) => () => void
  end: (() => void) | null
}

const begin = (each: Each, session: Session): void => {
  try {
    each.end = each.begin(session)
  } catch (error) {
    // On a connection that has just broken nothing begins; the next one is near.
    if (!session.nc.isClosed()) throw error
  }
}

export const make = Effect.fnUntraced(function* (
  options: Connect.Options,
  paces: Paces,
  health: Health,
  lookAt: (session: Session) => Promise<Looked>
) {
  const begins = new Set<Each>()
  /** The one whose subscriptions have begun, and the same once its streams have been looked at. */
  let opened: Session | null = null
  let current: Session | null = null

  /** One connection, from its beginning to its end. */
  const live = async (nc: NatsConnection, signal: AbortSignal): Promise<void> => {
    let isOpen = true
    let isSilent = false
    let looking = false
    let timer: NodeJS.Timeout | undefined
    let lookedAt = Number.NEGATIVE_INFINITY
    const look = async (): Promise<void> => {
      if (looking || !isOpen) return
      looking = true
      clearTimeout(timer)
      const { problems, wait } = await lookAt(session)
      looking = false
      lookedAt = performance.now()
      if (!isOpen) return
      health.problem("layout", problems.join("; "))
      const pauseMs = problems.length === 0 ? paces.wellMs : wait ? paces.missingMs : paces.wrongMs
      timer = setTimeout(() => void look(), pauseMs).unref()
    }
    const session: Session = {
      nc,
      js: jetstream(nc, { timeout: paces.answerMs }),
      jsm: await jetstreamManager(nc, { checkAPI: false, timeout: paces.answerMs }),
      isOpen: () => isOpen && !nc.isClosed(),
      look: () => {
        if (looking || !isOpen) return
        clearTimeout(timer)
        // However often something is found missing.
        timer = setTimeout(() => void look(), Math.max(0, lookedAt + paces.missingMs - performance.now())).unref()
      }
    }
    const end = (): void => {
      if (!isOpen) return
      isOpen = false
      opened = null
      current = null
      clearTimeout(timer)
      for (const each of begins) {
        each.end?.()
        each.end = null
      }
    }
    const close = (): void => {
      end()
      void closeGently(nc)
    }
    const listen = async (): Promise<void> => {
      for await (const status of nc.status()) {
        if (status.type === "error") health.problem("server", `the server says: ${status.error.message}`)
        if (status.type === "staleConnection") isSilent = true
        if (status.type === "disconnect") end()
      }
    }
    signal.addEventListener("abort", close, { once: true })
    try {
      void listen()
      opened = session
      for (const each of begins) begin(each, session)
      // One that hangs, as 2.9 does on a full disk, takes connections and answers nothing on them.
      await Promise.race([look().then(() => nc.flush()), nc.closed()]).catch(() => {})
      if (session.isOpen()) {
        current = session
        health.connected(`nats-server ${nc.info?.version ?? "of unknown version"}`)
      }
      const error = await nc.closed()
      const reason = isSilent
        ? ": it takes connections, and does not answer"
        : error instanceof Error
          ? `: ${wordsOf(error)}`
          : ""
      if (!signal.aborted) health.away(`the connection to ${Connect.named(options.servers)} broke${reason}`)
    } finally {
      signal.removeEventListener("abort", close)
      end()
      await closeGently(nc)
    }
  }

  const run = async (signal: AbortSignal): Promise<void> => {
    let pauseMs = paces.connectMsMin
    while (!signal.aborted) {
      const began = performance.now()
      try {
        const nc = await Connect.open(options)
        if (signal.aborted) return await nc.close()
        await live(nc, signal)
        // One that broke at once is not to be tried at full speed.
        if (performance.now() - began > paces.connectMsMax) pauseMs = paces.connectMsMin
      } catch (error) {
        if (!signal.aborted) health.away(Connect.failure(error, options))
      }
      await sleep(pauseMs * (0.75 + Math.random() / 2), undefined, { signal }).catch(() => {})
      pauseMs = Math.min(paces.connectMsMax, pauseMs * 2)
    }
  }

  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const closing = new AbortController()
      return { closing, ran: run(closing.signal) }
    }),
    ({ closing, ran }) =>
      Effect.promise(() => {
        closing.abort()
        return within(drainMs + 100, ran)
      })
  )

  const sessions: Sessions = {
    current: () => (current?.isOpen() === true ? current : null),
    each: (how) => {
      const each: Each = { begin: how, end: null }
      begins.add(each)
      if (opened?.isOpen() === true) begin(each, opened)
      return () => {
        begins.delete(each)
        each.end?.()
        each.end = null
      }
    }
  }
  return sessions
})
