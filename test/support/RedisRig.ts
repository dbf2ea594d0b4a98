/** Stores over real redis-servers, each with a way to the server that can be cut. */
import { randomUUID } from "node:crypto"
import { Effect, Exit, Logger, Scope } from "effect"
import { ask } from "../../loadtest/servers/RedisGroups.ts"
import type { RedisServer } from "../../loadtest/servers/RedisServer.ts"
import * as RedisStore from "../../src/adapters/redis/RedisStore.ts"
import type { Paces } from "../../src/adapters/redis/Session.ts"
import type { Interface, Status, StoreError } from "../../src/ports/StateStore.ts"
import type { Rig } from "../ports/StateStoreConformance.ts"
import * as TcpProxy from "./TcpProxy.ts"

/** Impatient where a deployment is not. */
export const paces: Partial<Paces> = {
  connectMs: 8_000,
  retryMsMin: 10,
  retryMsMax: 100,
  wrongMs: 200,
  pingMs: 100,
  silentMs: 1_500
}

export const newNamespace = (): string => `t${randomUUID().slice(0, 8)}`

/** Deadlines with room for a busy machine: what is late is tested on its own. */
export const options = (url: string, given: Partial<RedisStore.Options> = {}): RedisStore.Options => ({
  url,
  namespace: "test",
  user: null,
  password: null,
  caFile: null,
  certFile: null,
  keyFile: null,
  ttlMs: 600_000,
  deadlineMs: 10_000,
  lookupMs: 10_000,
  paces,
  ...given
})

export interface Opened {
  readonly store: Interface
  /** Lines it logged. */
  readonly lines: ReadonlyArray<string>
  readonly until: (wanted: (status: Status) => boolean) => Promise<Status>
  readonly close: () => Promise<void>
}

export const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)

/** `done`, or why not. */
export const outcome = (effect: Effect.Effect<unknown, StoreError>): Promise<string> =>
  run(
    effect.pipe(
      Effect.as("done"),
      Effect.catch(({ reason }) => Effect.succeed(reason))
    )
  )

export const open = async (given: RedisStore.Options): Promise<Opened> => {
  const lines: Array<string> = []
  const logger = Logger.make<unknown, void>(({ message }) => void lines.push(String(message)))
  const scope = await run(Scope.make())
  const store = await run(
    RedisStore.open(given).pipe(Effect.provideService(Scope.Scope, scope), Effect.provide(Logger.layer([logger])))
  )
  const until = async (wanted: (status: Status) => boolean): Promise<Status> => {
    for (const late = Date.now() + 20_000; Date.now() < late; await new Promise((done) => setTimeout(done, 10))) {
      if (wanted(store.status())) return store.status()
    }
    throw new Error(`Its status stays ${JSON.stringify(store.status())}`)
  }
  return { store, lines, until, close: () => run(Scope.close(scope, Exit.void)) }
}

/** One namespace on a server, for the conformance suite. */
export const rig = async (server: RedisServer): Promise<Rig> => {
  const namespace = newNamespace()
  const opened: Array<{ readonly close: () => Promise<void> }> = []
  const cuts = new Map<Interface, (away: boolean) => Promise<void>>()
  return {
    client: async () => {
      const proxy = await TcpProxy.open(server.port)
      const one = await open(options(`redis://127.0.0.1:${proxy.port}`, { namespace }))
      opened.push(one, proxy)
      await one.until(({ connected }) => connected)
      cuts.set(one.store, async (away) => {
        proxy.cut(away)
        await one.until(({ connected }) => connected !== away)
      })
      return one.store
    },
    cut: (store, away) => cuts.get(store)!(away),
    wipe: async () => void (await ask(server.port, "FLUSHALL")),
    close: async () => {
      for (const one of opened) await one.close()
    }
  }
}
