/**
 * A metadata store, and the routers that write to it, struck under load: killed, wiped, frozen. No request may notice, and
 * when all is calm the store says what engines hold: never more.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { Effect, Logger, Result } from "effect"
import { percentile } from "../../loadtest/client/Stats.ts"
import * as Random from "../../loadtest/Random.ts"
import * as Config from "../../src/Config.ts"
import * as Store from "../../src/Store.ts"
import * as Agree from "./Agree.ts"
import * as Cluster from "./Cluster.ts"
import * as Load from "./Load.ts"
import type { Options as Common } from "./Scenarios.ts"
import { type Kind, kinds, type Strike } from "./StoreKinds.ts"
import * as StoreTruth from "./StoreTruth.ts"

export interface Options extends Omit<Common, "routers"> {
  readonly kind: Kind
  /** Longest that anything is away or frozen. */
  readonly awayMsMax: number
}

/** Time to the first token of requests that were answered, ms. */
interface Times {
  readonly requests: number
  /** Null where there were none. */
  readonly ttftMsP50: number | null
  readonly ttftMsP99: number | null
}

export interface Outcome extends StoreTruth.Differences {
  readonly requests: number
  readonly failed: number
  /** Failures that no killed router explains, the first few. */
  readonly unexplained: ReadonlyArray<string>
  /** Where a router's picture is not the engine's cache, once all is calm. */
  readonly differences: ReadonlyArray<string>
  /** What routers say of the store that is not well then. */
  readonly unwell: ReadonlyArray<string>
  readonly healedMs: number
  readonly strikes: number
  /** Requests sent while nothing was struck, while the store was, and while a router was. */
  readonly calm: Times
  readonly storeStruck: Times
  readonly routerStruck: Times
}

/** Small caches that turn over, with a tier below; fast engines: two cores run all of this. */
const engines = { speed: 20, blocks: 400, hostBlocks: 200, maxModelLen: 2_000, outputTokens: 20 }
const knobs = ["--store-lookup-ms", "5"]
/** All of it is found within: routers ask every 10 s whether a store lost its data, engines every 30 s what was missed. */
const healMs = 60_000
const sayMs = 5_000
/** What follows a strike counts as struck so long. */
const afterMs = 1_000

/** What `/admin/store` says that is looked at here. */
interface Shown {
  readonly connected: boolean
  readonly why: string
  readonly writing: {
    readonly why: string
    readonly queuedShares: number
    readonly names: Readonly<Record<string, number>>
  }
  readonly recalled: { readonly waiting: number }
}

/** Empty when all it wants to write is written. */
const unwellOf = async ({ adminUrl, id }: Cluster.Replica): Promise<ReadonlyArray<string>> => {
  const shown = (await (await fetch(`${adminUrl}/admin/store`)).json()) as Shown
  const { names, queuedShares, why } = shown.writing
  const under = ["asked", "waiting", "filling", "filled"].filter((state) => names[state]! > 0)
  return [
    ...(shown.connected && shown.why === "" ? [] : [`not connected: ${shown.why}`]),
    ...(why === "" ? [] : [why]),
    ...(queuedShares === 0 ? [] : [`${queuedShares} changes wait`]),
    ...under.map((state) => `${names[state]} names are ${state}`),
    ...(shown.recalled.waiting === 0 ? [] : [`${shown.recalled.waiting} names are not recalled`])
  ].map((text) => `${id}: ${text}`)
}

/** Opens the store as a router would. */
const check = (address: string, cluster: Cluster.Cluster): Promise<StoreTruth.Differences> => {
  const config = Result.getOrThrow(Config.decode({ flags: { store: address, hashSeed: 0 } }))
  return Effect.gen(function* () {
    const store = (yield* Store.open(config))!
    while (!store.status().connected) yield* Effect.sleep(20)
    return yield* StoreTruth.compare(store, cluster.engines)
  }).pipe(Effect.scoped, Effect.provide(Logger.layer([])), Effect.runPromise)
}

const nothing: StoreTruth.Differences = { wrong: [], missing: [], compared: { blocks: 0, chains: 0 } }

const timesOf = (sent: ReadonlyArray<Load.Sent>): Times => {
  const ttfts = sent.flatMap(({ ttftMs }) => ttftMs ?? [])
  return { requests: sent.length, ttftMsP50: percentile(ttfts, 0.5), ttftMsP99: percentile(ttfts, 0.99) }
}

const shuffled = <A>(random: Random.Random, items: ReadonlyArray<A>): ReadonlyArray<A> =>
  items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)

export const storeFails = async (options: Options): Promise<Outcome> => {
  const { awayMsMax, everyMs, forMs, kind, perSecond, say, seed } = options
  const random = Random.make(seed)
  const store = await kinds[kind]()
  const cluster = await Cluster.start({
    engines,
    routers: store.isShared ? 2 : 1,
    servers: store.isShared ? 1 : 0,
    flags: ["--store", store.address, ...knobs]
  }).catch(async (cause) => {
    await store.close()
    throw cause
  })
  const victim = () => cluster.living()[Math.floor(random() * cluster.living().length)]!
  const ofRouters: ReadonlyArray<Strike> = [
    {
      what: "a router is killed, and another started",
      run: async (awayMs) => {
        await cluster.kill(victim())
        await sleep(awayMs / 4)
        await cluster.join()
      }
    },
    { what: "a router is frozen", run: (awayMs) => cluster.freeze(victim(), awayMs) }
  ]
  try {
    const load = Load.start({ living: cluster.living, perSecond, seed })
    const windows: Array<{ readonly isStore: boolean; readonly fromMs: number; readonly toMs: number }> = []
    const endMs = performance.now() + forMs
    let strikes: ReadonlyArray<Strike> = []
    while (performance.now() < endMs) {
      if (strikes.length === 0) strikes = shuffled(random, [...store.strikes, ...ofRouters])
      const [strike, ...rest] = strikes
      strikes = rest
      await sleep(everyMs * (0.5 + random()))
      const awayMs = awayMsMax * (0.1 + 0.9 * random())
      const fromMs = performance.now()
      await strike!.run(awayMs)
      const toMs = performance.now()
      windows.push({ isStore: store.strikes.includes(strike!), fromMs, toMs: toMs + afterMs })
      const seconds = ((toMs - fromMs) / 1_000).toFixed(1)
      say(`strike ${windows.length}: ${strike!.what}, ${seconds} s; ${load.sent.length} requests so far`)
    }
    await sleep(everyMs)
    const sent = await load.stop()

    const calmMs = performance.now()
    const look = async () => ({
      differences: await Agree.differences(cluster),
      unwell: (await Promise.all(cluster.living().map(unwellOf))).flat(),
      // A file is its router's until that ends.
      ...(store.isShared ? await check(store.address, cluster) : nothing)
    })
    const isCalm = ({ differences, missing, unwell, wrong }: Awaited<ReturnType<typeof look>>) =>
      [differences, missing, unwell, wrong].every(({ length }) => length === 0)
    let found = await look()
    let saidMs = calmMs
    while (!isCalm(found) && performance.now() - calmMs < healMs) {
      await sleep(250)
      found = await look()
      if (isCalm(found) || performance.now() - saidMs < sayMs) continue
      saidMs = performance.now()
      const { differences, missing, unwell, wrong } = found
      say(`not yet: ${JSON.stringify({ wrong, missing, unwell, differences })}`)
    }
    const healedMs = performance.now() - calmMs
    if (!isCalm(found)) {
      for (const { adminUrl, id } of cluster.living()) {
        say(`${id} has of its store: ${await (await fetch(`${adminUrl}/admin/store`)).text()}`)
      }
    }
    if (!store.isShared) {
      await cluster.kill(victim())
      found = { ...found, ...(await check(store.address, cluster)) }
    }

    const during = (isStore: boolean) => (one: Load.Sent) =>
      windows.some(
        (window) =>
          window.isStore === isStore && one.sentMs < window.toMs && one.sentMs + (one.ttftMs ?? 0) > window.fromMs
      )
    const [byStore, byRouter] = [during(true), during(false)]
    return {
      requests: sent.length,
      failed: sent.filter(({ error }) => error !== null).length,
      unexplained: Load.unexplained(sent)
        .slice(0, 5)
        .map(({ error, replica }) => `${replica.id}: ${error}`),
      ...found,
      healedMs,
      strikes: windows.length,
      calm: timesOf(sent.filter((one) => !byStore(one) && !byRouter(one))),
      storeStruck: timesOf(sent.filter((one) => byStore(one) && !byRouter(one))),
      routerStruck: timesOf(sent.filter(byRouter))
    }
  } finally {
    await cluster.close()
    await store.close()
  }
}
