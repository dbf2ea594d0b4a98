/**
 * Runs: full runs of blocks, the favourable case: 512-block prefixes, 16 of which share their first 20, each held by one to
 * six of 64 workers. A request has so many blocks, of which the first M are held; M is all of them in a quarter of the
 * requests, else anything down to none.
 */
import { strideOf } from "../../src/ports/StateStore.ts"
import * as Random from "../Random.ts"
import { hold, keysOf, type Query, query, type Workload, workersMax } from "./Workload.ts"

const length = 512
const shared = 20
const groupOf = 16

export const make = (prefixes: number, queries: number): Workload => {
  const random = Random.make(7)
  const below = (limit: number): number => Math.floor(random() * limit)
  const groups = Math.ceil(prefixes / groupOf)
  const count = groups * shared + prefixes * (length - shared)
  const blocks = {
    keys: keysOf({ length: 0 }),
    parents: new Int32Array(count),
    places: new Int32Array(count),
    masks: new Int32Array(2 * count)
  }
  const chains: Array<Int32Array> = []
  let next = 0
  const append = (chain: Int32Array, from: number, to: number): void => {
    for (let i = from; i < to; i++, next++) {
      chain[i] = next
      blocks.parents[next] = i === 0 ? -1 : chain[i - 1]!
      blocks.places[next] = i
    }
  }
  let stem = new Int32Array(shared)
  for (let i = 0; i < prefixes; i++) {
    if (i % groupOf === 0) {
      stem = new Int32Array(shared)
      append(stem, 0, shared)
    }
    const chain = new Int32Array(length)
    chain.set(stem)
    append(chain, shared, length)
    for (let holder = 1 + below(6); holder > 0; holder--) {
      const worker = below(workersMax)
      for (const block of chain) hold(blocks, block, worker)
    }
    chains.push(chain)
  }
  const all = { ...blocks, keys: keysOf(Uint32Array.from({ length: count }, (_, i) => i)) }
  let unknown = count
  const ask = (depth: number): Query => {
    const held = random() < 0.25 ? depth : below(depth + 1)
    const chain = chains[below(chains.length)]!
    // Blocks behind are of nobody's.
    return query(
      all,
      workersMax,
      Int32Array.from({ length: depth }, (_, i) => (i < held ? chain[i]! : unknown++))
    )
  }
  return {
    name: `runs of ${length} blocks, held by 1 to 6 of ${workersMax} workers`,
    stride: strideOf(16),
    workers: workersMax,
    blocks: all,
    queries: [8, 64, 512].map((depth) => ({
      name: `D = ${depth}`,
      queries: Array.from({ length: queries }, () => ask(depth))
    }))
  }
}
