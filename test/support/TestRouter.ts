/** A whole router on free ports of the loopback, over whatever workers a test has. */
import { setTimeout as sleep } from "node:timers/promises"
import { Clock, Duration, Effect, Exit, identity, References, Result, Scope } from "effect"
import type { State } from "../../actors/Followed.ts"
import type { Errors } from "../../actors/TrustEvidence.ts"
import * as Config from "../../src/Config.ts"
import type { CacheModel } from "../../src/hot/CacheModel.ts"
import * as Router from "../../src/Router.ts"

export interface TestRouter {
  readonly url: string
  readonly adminUrl: string
  /** One worker as the admin API shows it. */
  readonly worker: (id: string) => Promise<AdminWorker>
  readonly workers: () => Promise<ReadonlyArray<AdminWorker>>
  /** Keys the index holds for a worker, as hex; `query` chooses a rank or a tier. */
  readonly blocks: (id: string, query?: string) => Promise<ReadonlyArray<string>>
  readonly apply: (knobs: Readonly<Record<string, unknown>>) => Promise<void>
  readonly close: () => Promise<void>
}

export interface AdminWorker {
  readonly id: string
  readonly url: string
  readonly state: string
  readonly engine: string | null
  readonly blockSize: number | null
  readonly inFlight: number
  readonly ranks: ReadonlyArray<{
    readonly slot: number
    readonly rank: number | null
    readonly trust: string
    readonly why: string
    readonly credit: number
    readonly error: Errors
    readonly blocks: Readonly<Record<string, number>>
    readonly events: (State & Readonly<Record<string, unknown>>) | null
    readonly guesses: CacheModel["stats"] | null
    readonly ledger: { readonly queued: number; readonly active: number; readonly activeTokens: number } | null
  }>
}

const local = { host: "127.0.0.1", port: 0, adminPort: 0, drainMs: 5_000 }

/** A clock that runs so many times as fast: minutes of waiting pass in seconds, while the work takes as long as ever. */
export const fastClock = (times: number): Clock.Clock => {
  const fromMs = performance.now()
  const epochMs = Date.now()
  const passedMs = () => (performance.now() - fromMs) * times
  const millis = () => Math.floor(epochMs + passedMs())
  const nanos = () => BigInt(Math.floor(passedMs() * 1e6))
  return {
    currentTimeMillisUnsafe: millis,
    currentTimeMillis: Effect.sync(millis),
    currentTimeNanosUnsafe: () => BigInt(epochMs) * 1_000_000n + nanos(),
    currentTimeNanos: Effect.sync(() => BigInt(epochMs) * 1_000_000n + nanos()),
    monotonicTimeNanosUnsafe: nanos,
    monotonicTimeNanos: Effect.sync(nanos),
    sleep: (duration) =>
      Effect.callback<void>((resume) => {
        const timer = setTimeout(() => resume(Effect.void), Duration.toMillis(duration) / times)
        return Effect.sync(() => clearTimeout(timer))
      })
  }
}

/** Starts a router and waits until every worker it was given takes requests. */
export const start = async (knobs: Readonly<Record<string, unknown>>, clock?: Clock.Clock): Promise<TestRouter> => {
  const config = Result.getOrThrow(Config.decode({ flags: { ...local, ...knobs } }))
  const scope = Scope.makeUnsafe()
  const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>): Promise<A> =>
    Effect.runPromise(
      effect.pipe(
        Effect.provideService(Scope.Scope, scope),
        Effect.provideService(References.MinimumLogLevel, "None"),
        clock === undefined ? identity : Effect.provideService(Clock.Clock, clock)
      )
    )
  const router = await run(Router.start(config))
  const get = async (path: string) => (await fetch(`${router.adminUrl}${path}`)).json()
  const workers = async () => ((await get("/admin/workers")) as { workers: ReadonlyArray<AdminWorker> }).workers
  // Bounded by the timeout of the hook or test that called.
  while (router.able() < config.workers.length) await sleep(10)
  return {
    url: router.url,
    adminUrl: router.adminUrl,
    workers,
    worker: async (id) => (await get(`/admin/workers/${encodeURIComponent(id)}`)) as AdminWorker,
    blocks: async (id, query = "") =>
      ((await get(`/admin/blocks/${encodeURIComponent(id)}${query}`)) as { keys: Array<string> }).keys,
    apply: (next) => run(router.apply(Result.getOrThrow(Config.decode({ flags: { ...local, ...knobs, ...next } })))),
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** Host and port of a URL: the id a worker has when none is given. */
export const idOf = (url: string): string => new URL(url).host
