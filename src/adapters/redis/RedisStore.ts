/** RedisStore: the StateStore in Redis. What is stored where, and what a user there needs: README.md. */
import { Effect, type Scope } from "effect"
import { type Interface, StateStore, type StoreError, StoreUnusable } from "../../ports/StateStore.ts"
import * as Address from "./Address.ts"
import * as Bulk from "./Bulk.ts"
import type * as Connect from "./Connect.ts"
import * as Deadline from "./Deadline.ts"
import * as Failure from "./Failure.ts"
import * as Findings from "./Findings.ts"
import * as Health from "./Health.ts"
import * as Lookup from "./Lookup.ts"
import * as Names from "./Names.ts"
import * as Pieces from "./Pieces.ts"
import * as Session from "./Session.ts"

export interface Options extends Connect.Options {
  readonly url: string
  /** Routers with the same share all of it. Letters, digits and `_.:-`. */
  readonly namespace: string
  /** How long a piece stays that nobody writes. */
  readonly ttlMs: number
  readonly deadlineMs?: number
  readonly lookupMs?: number
  readonly paces?: Partial<Session.Paces>
}

/** Calls of one `write` on their way at once: their bytes stay below what sockets hold. */
const writesMax = 256

const nowS = (): number => Math.floor(Date.now() / 1_000)

const addressOf = ({ namespace, url }: Options): Address.Address | string =>
  /^[\w.:-]{1,100}$/.test(namespace) ? Address.parse(url) : `"${namespace}" is no namespace: letters, digits and _.:-`

/** What to give a user, for `ACL SETUSER`. */
export const permissions = (namespace: string): string =>
  `~${namespace}:s:* ~{${namespace}}:* +hget +hmget +hgetall +hvals +hset +hdel +hincrby +del +pexpire +scan +ping ` +
  "+info +fcall +function|load +evalsha +eval, and for doctor +dbsize +memory|usage; in a cluster +cluster|slots"

export const open = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<Interface, StoreUnusable, Scope.Scope> {
  const { deadlineMs = 1_000, lookupMs = 20, namespace, ttlMs, url } = options
  const shown = Address.shown(url)
  const unusable = ({ code, fix, message }: Failure.Unusable) =>
    new StoreUnusable({ store: shown, code, why: message, fix })
  const address = addressOf(options)
  if (typeof address === "string")
    return yield* unusable(new Failure.Unusable("ERR_REDIS_URL", address, "See the knob store."))
  const keys = Pieces.keysOf(namespace)
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const health = Health.make(({ connected, server, why }) => {
    if (connected) fork(Effect.logInfo(`Store: connected to ${server} at ${shown}`))
    else fork(Effect.logWarning(`The store ${shown} is away: ${why}`))
  })
  const paces = { ...Session.defaults, ...options.paces }
  const sessions = yield* Session.make(address, options, keys, paces, permissions(namespace), health).pipe(
    Effect.mapError(unusable)
  )
  const names = Names.make(keys)
  const life = Names.makeLife(keys)

  /** In time, or not at all; what is asked may be done even so. */
  const run = <A>(
    what: string,
    work: (session: Session.Session) => Promise<A>,
    ms = deadlineMs
  ): Effect.Effect<A, StoreError> =>
    Effect.callback((resume) => {
      const session = sessions.current()
      if (session === null) return void resume(Effect.fail(Failure.away(what, health.status().why)))
      const fail = (error: unknown) => {
        stop()
        if (Failure.wordOf(error) === "READONLY") sessions.renew(session, error)
        resume(Effect.fail(Failure.storeError(what, error)))
      }
      const stop = Deadline.start(ms, () => fail(new Deadline.Late(`no answer in ${ms} ms`)))
      work(session).then((value) => {
        stop()
        resume(Effect.succeed(value))
      }, fail)
      return Effect.sync(stop)
    })
  const both = [keys.meta, keys.names]
  /** A call of the script that is of the life that is known. */
  const inLife = async (session: Session.Session, call: "enter" | "settle" | "leave", args: ReadonlyArray<string>) =>
    session.calls.call(call, both, [await life.known(session), ...args])

  const write: Interface["write"] = (shares) =>
    run(`write ${shares.length} shares`, async (session) => {
      const head = [String(nowS()), String(ttlMs), String(names.last(session)?.floor ?? 0)]
      const writes = Pieces.writesOf(keys, shares)
      await life.known(session)
      let version = ""
      for (let at = 0; at < writes.length || version === ""; at += writesMax) {
        const sent: Array<Promise<unknown>> = writes
          .slice(at, at + writesMax)
          .map(({ key, shares }) => session.calls.call("write", [key], [...head, ...shares]))
        // Behind the writes, so that it tells that they were of this life.
        if (at + writesMax >= writes.length) sent.push(life.same(session).then((found) => (version = found)))
        await Promise.all(sent)
      }
      await names.table(session, version)
    })

  const table = async (session: Session.Session) => names.table(session, await Names.versionOf(session, keys))

  const read: Interface["read"] = (take) =>
    Effect.gen(function* () {
      const what = "read it all"
      const { nameOf } = yield* run(what, table)
      const session = sessions.current()
      if (session === null) return yield* Failure.away(what, health.status().why)
      for (const send of session.connection.primaries()) {
        for (let cursor: string | null = "0"; cursor !== null; ) {
          const at: string = cursor
          const part: Bulk.Part = yield* run(what, () => Bulk.part(send, keys.piecePrefix, at, nameOf))
          if (part.stretches.length > 0 && !(yield* take(part.stretches))) return
          cursor = part.cursor
        }
      }
    })

  return StateStore.of({
    url: shown,
    status: health.status,
    generation: run("read its generation", (session) => {
      names.forget()
      return life.ask(session)
    }),
    enter: (name) =>
      run(`enter ${name}`, (session) =>
        inLife(session, "enter", [name, String(nowS()), String(Math.ceil(ttlMs / 1_000))])
      ).pipe(Effect.map(Number)),
    settle: (name, tenure) =>
      run(`settle ${name}`, (session) => inLife(session, "settle", [name, String(tenure)])).pipe(
        Effect.map((settled) => settled === 1)
      ),
    leave: (name, tenure) =>
      run(`leave ${name}`, (session) => inLife(session, "leave", [name, String(tenure)])).pipe(Effect.asVoid),
    write,
    lookup: (path, count, stride) =>
      run(`look up ${count} blocks`, (session) => Lookup.lookup(session, keys, names, path, count, stride), lookupMs),
    read,
    names: run("read names", table).pipe(Effect.map(({ names }) => names)),
    findings: run("say how it is", (session) => Findings.all(session, address, keys, lookupMs), 10 * deadlineMs)
  })
})
