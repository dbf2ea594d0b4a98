/** Seeded histories of workers on a metadata store and on its naive twin: both must answer alike after every step. */
import { Effect } from "effect"
import { expect } from "vitest"
import * as Trace from "../../loadtest/replay/Trace.ts"
import type { KeyLanes } from "../../src/domain/Block.ts"
import { DEVICE, GUESS, HOST, type Layer } from "../../src/domain/Tier.ts"
import type { Interface, Reach, Share, Stretch } from "../../src/ports/StateStore.ts"
import * as StateStoreMemory from "../../src/ports/StateStoreMemory.ts"
import { chainKey, forest, random } from "../support/Chains.ts"
import { byName, type Holding, lines, sharesOf } from "../support/Shares.ts"

const run = Effect.runPromise

export const readAll = async (store: Interface): Promise<Array<Stretch>> => {
  const all: Array<Stretch> = []
  await run(store.read((chunk) => Effect.sync(() => all.push(...chunk) > 0)))
  return all
}

/** A tenure, as the store counts and as the twin does. */
interface Tenure {
  readonly name: string
  readonly real: number
  readonly twin: number
}

/** The store under test, spread over its clients, beside its twin. */
const makePair = (clients: ReadonlyArray<Interface>, next: (below: number) => number) => {
  const { store: twin } = StateStoreMemory.make({ random: () => next(1 << 30) / (1 << 30) }).client()
  const any = (): Interface => clients[next(clients.length)]!
  return {
    twin,
    any,
    enter: async (name: string): Promise<Tenure> => ({
      name,
      real: await run(any().enter(name)),
      twin: await run(twin.enter(name))
    }),
    settle: async ({ name, real, twin: its }: Tenure): Promise<void> =>
      expect(await run(any().settle(name, real))).toBe(await run(twin.settle(name, its))),
    leave: async ({ name, real, twin: its }: Tenure): Promise<void> => {
      await run(any().leave(name, real))
      await run(twin.leave(name, its))
    },
    write: async (told: ReadonlyArray<{ readonly by: Tenure; readonly share: Share }>): Promise<void> => {
      await run(any().write(told.map(({ by, share }) => ({ ...share, tenure: by.real }))))
      await run(twin.write(told.map(({ by, share }) => ({ ...share, tenure: by.twin }))))
    },
    lookup: async (keys: KeyLanes, count: number, stride: number): Promise<ReadonlyArray<Reach>> => {
      const reach = byName(await run(any().lookup(keys, count, stride)))
      expect(reach).toEqual(byName(await run(twin.lookup(keys, count, stride))))
      return reach
    },
    same: async (): Promise<void> => {
      expect(lines(await readAll(any()))).toEqual(lines(await readAll(twin)))
      const sorted = (names: ReadonlyArray<{ readonly name: string }>) =>
        [...names].sort((a, b) => (a.name < b.name ? -1 : 1))
      expect(sorted(await run(any().names))).toEqual(sorted(await run(twin.names)))
    }
  }
}

/** Workers that store, evict, restart and leave at random on chains that branch at random. */
export const randomHistory = async (clients: ReadonlyArray<Interface>, seed: number, steps: number, stride: number) => {
  const next = random(seed)
  const pair = makePair(clients, next)
  const chains = forest(24, 1 + 3 * stride, next)
  const names = Array.from({ length: 4 + next(17) }, (_, i) => `${seed}-${stride}-w${i}`)
  const tenures: Array<Tenure> = []
  const one = <A>(all: ReadonlyArray<A>): A => all[next(all.length)]!
  /** Mostly one that counts. */
  const tenure = (): Tenure =>
    next(8) === 0 ? one(tenures) : tenures[tenures.length - 1 - next(Math.min(8, tenures.length))]!
  const layers: ReadonlyArray<Layer> = [DEVICE, DEVICE, DEVICE, HOST, 2, 3, GUESS]
  for (const name of names) tenures.push(await pair.enter(name))

  const told = () => {
    const by = tenure()
    const chain = one(chains)
    const length = chain.length / 2
    const holding: Holding = { tenure: 0, layer: one(layers), stride }
    const [from, to] = [next(length), next(length) + 1]
    const stores = next(3) > 0
    // A stretch from the start, as requests store; one anywhere, as engines evict; or scattered blocks.
    const kind = next(4)
    const tell = (block: number): boolean | null => {
      if (kind < 2) return block < to ? stores : null
      if (kind === 2) return block >= from && block < to ? stores : null
      return next(3) === 0 ? next(2) === 0 : null
    }
    return sharesOf(holding, chain, tell).map((share) => ({ by, share }))
  }

  /** Everyone loses a stretch of a chain, so that nobody is left there. */
  const lost = () => {
    const chain = one(chains)
    const [from, to] = [next(2) * next(chain.length / 2), next(chain.length / 2) + 1]
    return tenures.flatMap((by) =>
      layers.slice(2).flatMap((layer) => {
        const tell = (block: number) => (block >= from && block < to ? false : null)
        return sharesOf({ tenure: 0, layer, stride }, chain, tell).map((share) => ({ by, share }))
      })
    )
  }

  for (let step = 0; step < steps; step++) {
    const what = next(40)
    if (what === 0) tenures.push(await pair.enter(one(names)))
    else if (what <= 2) await pair.settle(tenure())
    else if (what === 3) await pair.leave(tenure())
    else if (what <= 5) await pair.write(lost())
    else await pair.write(Array.from({ length: 1 + next(4) }, told).flat())
    const chain = one(chains)
    await pair.lookup(chain, next(chain.length / 2 + 3), stride)
    if (step % 100 === 99 || step === steps - 1) await pair.same()
  }
}

/** The last use of each block a worker holds, and how its key came about. */
type Cache = Map<string, { readonly chain: KeyLanes; readonly block: number }>

/** Requests of a trace on workers that each keep the blocks used last, sent to who reaches furthest. */
export const traceHistory = async (
  clients: ReadonlyArray<Interface>,
  file: string,
  requests: number,
  stride: number,
  workers = 5,
  cacheBlocks = 1_500
) => {
  const trace = Trace.read(file)
  if (trace.kind !== "arrivals") throw new Error(`${file} has no arrivals`)
  const next = random(requests)
  const pair = makePair(clients, next)
  const names = Array.from({ length: workers }, (_, i) => `worker-${i}`)
  const caches = new Map<string, Cache>(names.map((name) => [name, new Map()]))
  const tenures = new Map<string, Tenure>()
  for (const name of names) {
    const entered = await pair.enter(name)
    await pair.settle(entered)
    tenures.set(name, entered)
  }
  let hits = 0
  for (const [i, request] of trace.requests.slice(0, requests).entries()) {
    const chain = new Int32Array(request.blocks.length * 2)
    for (const [at, id] of request.blocks.entries()) {
      chainKey(at > 0 ? chain[2 * at - 2]! : 1, at > 0 ? chain[2 * at - 1]! : 1, id, chain, at)
    }
    const reach = await pair.lookup(chain, chain.length / 2, stride)
    const best = [...reach].sort((a, b) => b.blocks[DEVICE]! - a.blocks[DEVICE]!)[0]
    const name = best !== undefined && next(4) > 0 ? best.name : names[i % workers]!
    hits += best?.blocks[DEVICE] ?? 0
    const by = tenures.get(name)!
    await pair.write(serve(caches.get(name)!, chain, cacheBlocks, stride).map((share) => ({ by, share })))
    if (i % 500 === 250) tenures.set(name, await restated(pair, name, caches.get(name)!, stride))
  }
  // Else nothing was compared but misses.
  expect(hits).toBeGreaterThan(requests / 2)
  await pair.same()
}

/** What a worker tells when it serves a request: blocks it stores, then those that went for them. */
const serve = (cache: Cache, chain: KeyLanes, blocksMax: number, stride: number): Array<Share> => {
  const holding: Holding = { tenure: 0, layer: DEVICE, stride }
  const nameOf = (block: number) => `${chain[2 * block]} ${chain[2 * block + 1]}`
  const told: Array<Share> = sharesOf(holding, chain, (block) => (cache.has(nameOf(block)) ? null : true))
  for (let block = chain.length / 2 - 1; block >= 0; block--) {
    const used = cache.get(nameOf(block)) ?? { chain, block }
    cache.delete(nameOf(block))
    cache.set(nameOf(block), used)
  }
  for (const [name, used] of cache) {
    if (cache.size <= blocksMax) break
    cache.delete(name)
    told.push(...sharesOf(holding, used.chain, (block) => (block === used.block ? false : null)))
  }
  return told
}

/** Everything of a worker again, under a tenure of its own. */
const restated = async (
  pair: ReturnType<typeof makePair>,
  name: string,
  cache: Cache,
  stride: number
): Promise<Tenure> => {
  const by = await pair.enter(name)
  const holding: Holding = { tenure: 0, layer: DEVICE, stride }
  const shares = [...cache.values()].flatMap(({ block, chain }) =>
    sharesOf(holding, chain, (other) => (other === block ? true : null))
  )
  await pair.write(shares.map((share) => ({ by, share })))
  await pair.settle(by)
  return by
}
