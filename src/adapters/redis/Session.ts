/**
 * Session: the connection there is now, and another when it breaks.
 *
 * Each begins with a look at the server: that it is of use, that our script is there, and which life of the store it is.
 * A server that says nothing is noticed by a ping that nobody answers, since sockets to a frozen one stay open.
 */
import { randomBytes, randomInt } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { Effect } from "effect"
import type { Address, Host } from "./Address.ts"
import * as Calls from "./Calls.ts"
import * as Connect from "./Connect.ts"
import { within } from "./Deadline.ts"
import * as Failure from "./Failure.ts"
import type { Health } from "./Health.ts"
import type { Keys } from "./Pieces.ts"
import * as Server from "./Server.ts"

export interface Session {
  readonly connection: Connect.Connection
  readonly calls: Calls.Calls
  readonly server: Server.Server
  /** Asks which life it is; begins one where there is none. */
  readonly begin: () => Promise<string>
}

export interface Paces {
  /** To connect, until the server is known to be of use. */
  readonly connectMs: number
  /** First pause between two connections; doubles up to the last. */
  readonly retryMsMin: number
  readonly retryMsMax: number
  /** The pause when it is there, and of no use as it is. */
  readonly wrongMs: number
  /** Between pings, and how long one may take. */
  readonly pingMs: number
  readonly silentMs: number
}

export const defaults: Paces = {
  connectMs: 2_000,
  retryMsMin: 50,
  retryMsMax: 1_000,
  wrongMs: 10_000,
  pingMs: 1_000,
  silentMs: 2_000
}

/** Numbers of tenures that may have been given out by a server whose last seconds are lost, and then some. */
const tenuresLost = 65_536

const begin = async (calls: Calls.Calls, keys: Keys, { run }: Server.Server): Promise<string> => {
  const first = randomInt(2 ** 28)
  const args = [randomBytes(8).toString("hex"), String(first), run, String(tenuresLost)]
  return String(await calls.call("begin", [keys.meta, keys.names], args))
}

/** What a user needs, besides what `calls` finds out. */
const allowed = async ({ send, primaries }: Connect.Connection, keys: Keys): Promise<void> => {
  const piece = `${keys.piecePrefix}0`
  await Promise.all([
    send(piece, ["HGET", piece, "0"]),
    send(piece, ["HVALS", piece]),
    send(keys.names, ["HGETALL", keys.names]),
    ...primaries().map((ask) => ask(["SCAN", "0", "COUNT", "1"]))
  ])
}

const looked = async (connection: Connect.Connection, address: Address, keys: Keys): Promise<Session> => {
  const server = await Server.look(connection, address.mode)
  const calls = await Calls.make(connection, [`${keys.piecePrefix}0`])
  await allowed(connection, keys)
  const session: Session = { connection, calls, server, begin: () => begin(calls, keys, server) }
  await session.begin()
  return session
}

/** Ends when the connection broke or a server fell silent, with the reason. */
const watch = async ({ connection }: Session, { pingMs, silentMs }: Paces, signal: AbortSignal): Promise<unknown> => {
  const ended = new AbortController()
  signal.addEventListener("abort", () => ended.abort(), { once: true })
  const pings = async () => {
    while (!ended.signal.aborted) {
      await sleep(pingMs, undefined, { signal: ended.signal })
      await within(silentMs, "it", Promise.all(connection.primaries().map((send) => send(["PING"]))))
    }
  }
  return Promise.race([connection.broken, pings().catch((error) => error)]).finally(() => ended.abort())
}

export interface Sessions {
  /** Null while there is none that can be used. */
  readonly current: () => Session | null
  /** Gives up the one there is, because what it leads to is not the primary any more. */
  readonly renew: (session: Session, why: unknown) => void
}

/** Done when the first connection is there, or known to be missing; fails when waiting would not help. */
export const make = Effect.fnUntraced(function* (
  address: Address,
  options: Connect.Options,
  keys: Keys,
  paces: Paces,
  permissions: string,
  health: Health
) {
  let current: Session | null = null
  let renew: (why: unknown) => void = () => {}

  const one = async (known: ReadonlyArray<Host>, signal: AbortSignal, first: () => void) => {
    const connection = await Connect.open(address, options, known, paces.connectMs)
    const close = (): void => connection.close()
    signal.addEventListener("abort", close, { once: true })
    try {
      // Closed while it connected: nobody would be told any more.
      signal.throwIfAborted()
      const isBroken = connection.broken.then((error) => Promise.reject(error))
      isBroken.catch(() => {})
      const session = await within(paces.connectMs, "it", Promise.race([looked(connection, address, keys), isBroken]))
      current = session
      health.connected(session.server.name)
      first()
      const renewed = new Promise<unknown>((resolve) => {
        renew = resolve
      })
      const why = await Promise.race([watch(session, paces, signal), renewed])
      if (!signal.aborted) health.away(`the connection broke: ${Failure.wordsOf(why)}`)
      return connection.hosts()
    } finally {
      current = null
      signal.removeEventListener("abort", close)
      close()
    }
  }

  /** What is wrong in the way of an operator's, else null. */
  const judge = async (error: unknown): Promise<Failure.Unusable | null> => {
    const known = Server.unusable(error, address, permissions)
    if (known !== null || address.mode === "sentinel") return known
    // One that wants TLS hangs up on those who do not speak it; another waits for the end of what it takes for a line.
    const isSilent = /closed|ECONNRESET|EPROTO|wrong version|did not answer|timeout/i.test(Failure.wordsOf(error))
    return isSilent ? Server.otherWire(address, paces.connectMs) : null
  }

  const run = async (signal: AbortSignal, first: (unusable: Failure.Unusable | null) => void): Promise<void> => {
    let pauseMs = paces.retryMsMin
    let known: ReadonlyArray<Host> = []
    while (!signal.aborted) {
      const began = performance.now()
      let isWrong = false
      try {
        known = await one(known, signal, () => first(null))
        // One that broke at once is not to be tried at full speed.
        if (performance.now() - began > paces.retryMsMax) pauseMs = paces.retryMsMin
      } catch (error) {
        const wrong = await judge(error)
        isWrong = wrong !== null
        if (!signal.aborted) health.away(wrong === null ? Failure.wordsOf(error) : `${wrong.message}. ${wrong.fix}`)
        first(wrong)
      }
      const ms = isWrong ? paces.wrongMs : pauseMs
      await sleep(ms * (0.75 + Math.random() / 2), undefined, { signal }).catch(() => {})
      pauseMs = Math.min(paces.retryMsMax, pauseMs * 2)
    }
  }

  const closing = new AbortController()
  let first: (unusable: Failure.Unusable | null) => void = () => {}
  const begun = new Promise<Failure.Unusable | null>((resolve) => {
    first = resolve
  })
  yield* Effect.acquireRelease(
    Effect.sync(() => run(closing.signal, first)),
    (ran) =>
      Effect.promise(() => {
        closing.abort()
        return ran
      })
  )
  const wrong = yield* Effect.promise(() => begun)
  if (wrong !== null) {
    closing.abort()
    return yield* Effect.fail(wrong)
  }
  const sessions: Sessions = {
    current: () => current,
    renew: (session, why) => {
      if (session === current) renew(why)
    }
  }
  return sessions
})
