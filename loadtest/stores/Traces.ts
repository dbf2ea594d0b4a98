/**
 * Traces: what the caches of some workers hold after most of a trace, and its last requests to look up.
 *
 * Sessions stay at a worker; each worker has an LRU cache in blocks of the trace. Blocks of 512 tokens are looked up as they
 * are, or split into those of 16 that engines have. Where two chains part inside a block the trace cannot tell: `split` lets
 * them part at its beginning, as all that follow one block do; `parted` at a place drawn for each such block.
 */
import { fileURLToPath } from "node:url"
import { strideOf } from "../../src/ports/StateStore.ts"
import * as Random from "../Random.ts"
import * as Lineage from "../replay/Lineage.ts"
import * as Trace from "../replay/Trace.ts"
import { type Blocks, hold, keysOf, query, type Workload } from "./Workload.ts"

export type Shape = "whole" | "split" | "parted"

export interface Options {
  readonly shape: Shape
  readonly workers: number
  /** Blocks of the trace that a worker's cache has. */
  readonly cacheBlocks: number
  readonly requestsMax: number
  readonly queriesMax: number
}

const traces = new Map<string, ReadonlyArray<Trace.Request>>()

export const requestsOf = (name: string): ReadonlyArray<Trace.Request> => {
  const known = traces.get(name) ?? read(name)
  traces.set(name, known)
  return known
}

const read = (name: string): ReadonlyArray<Trace.Request> => {
  const trace = Trace.read(fileURLToPath(new URL(`../traces/${name}.jsonl.gz`, import.meta.url)))
  if (trace.kind !== "arrivals") throw new Error(`${name} is a trace of sessions`)
  return trace.requests.filter(({ blocks }) => blocks.length > 0)
}

/** Tokens of an id of Mooncake's, and of an engine's block. */
const traceTokens = 512
const engineTokens = 16
const parts = traceTokens / engineTokens

/** Numbers for the blocks of requests, and their chains: more as requests come. Keys are those of numbers from `offset` on. */
export const numbering = (shape: Shape, offset = 0) => {
  const parents: Array<number> = []
  const places: Array<number> = []
  /** First number of what a block of the trace has of its own, and of what all that follow a block begin with. */
  const own = new Map<number, number>()
  const begun = new Map<number, number>()
  const append = (count: number, parent: number): number => {
    const first = parents.length
    for (let i = 0; i < count; i++) {
      const before = i === 0 ? parent : first + i - 1
      parents.push(before)
      places.push(before === -1 ? 0 : places[before]! + 1)
    }
    return first
  }
  /** The first number of what was numbered before, or is now. */
  const known = (numbered: Map<number, number>, id: number, count: number, parent: number): number => {
    const first = numbered.get(id) ?? append(count, parent)
    numbered.set(id, first)
    return first
  }
  /** Of a request's blocks in the trace. */
  const numbers = (ids: ArrayLike<number>): Int32Array => {
    const each = shape === "whole" ? 1 : parts
    const out = new Int32Array(ids.length * each)
    let last = -1
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!
      const before = i === 0 ? -1 : ids[i - 1]!
      const common = shape === "parted" ? Random.mix(1, [before]) % each : 0
      if (common > 0) {
        const first = known(begun, before, common, last)
        for (let j = 0; j < common; j++) out[i * each + j] = first + j
        last = first + common - 1
      }
      const rest = known(own, id, each - common, last)
      for (let j = common; j < each; j++) out[i * each + j] = rest + j - common
      last = rest + each - common - 1
    }
    return out
  }
  const blocks = (): Blocks => ({
    keys: keysOf(Uint32Array.from(parents, (_, i) => offset + i)),
    parents: Int32Array.from(parents),
    places: Int32Array.from(places),
    masks: new Int32Array(2 * parents.length)
  })
  return { numbers, blocks, count: () => parents.length }
}

/** For each worker the last request that left each block it has in its cache. A request's first block goes last. */
const fill = (
  requests: ReadonlyArray<Trace.Request>,
  { cacheBlocks, workers }: Options
): Array<Map<number, Trace.Request>> => {
  const sessions = Lineage.sessions(requests)
  const caches = Array.from({ length: workers }, () => new Map<number, Trace.Request>())
  requests.forEach((request, i) => {
    const cache = caches[sessions[i]! % workers]!
    for (let at = request.blocks.length - 1; at >= 0; at--) {
      cache.delete(request.blocks[at]!)
      cache.set(request.blocks[at]!, request)
    }
    for (const id of cache.keys()) {
      if (cache.size <= cacheBlocks) break
      cache.delete(id)
    }
  })
  return caches
}

/** How many neighbours each group has: ids that count up, as the trace numbers blocks that first came together. */
const groupsOf = (ids: ArrayLike<number>): ReadonlyArray<number> => {
  const groups: Array<number> = []
  for (let i = 0; i < ids.length; i++) {
    if (i > 0 && ids[i] === ids[i - 1]! + 1) groups[groups.length - 1]!++
    else groups.push(1)
  }
  return groups
}

const hows = {
  whole: "as they are",
  split: "split, chains part between blocks of the trace",
  parted: "split, chains part anywhere"
}

/** Leading blocks of requests that a cache still has. */
const pathsOf = (cache: Map<number, Trace.Request>): ReadonlyArray<Float64Array> => {
  const depths = new Map<Trace.Request, number>()
  for (const [id, request] of cache) {
    depths.set(request, Math.max(depths.get(request) ?? 0, request.blocks.indexOf(id) + 1))
  }
  return Array.from(depths, ([{ blocks }, count]) => blocks.subarray(0, count))
}

export const make = (name: string, options: Options): Workload => {
  const { queriesMax, requestsMax, shape, workers } = options
  const requests = requestsOf(name).slice(0, requestsMax)
  const filling = Math.floor(requests.length * 0.75)
  const { blocks: numbered, numbers } = numbering(shape)
  const held = fill(requests.slice(0, filling), options).map((cache) => pathsOf(cache).map(numbers))
  const rest = requests.slice(filling)
  const length = Math.min(queriesMax, rest.length)
  const asked = Array.from({ length }, (_, i) => rest[Math.floor((i * rest.length) / length)]!)
  const paths = asked.map((request) => numbers(request.blocks))
  const blocks = numbered()
  held.forEach((paths, worker) => {
    for (const path of paths) for (const block of path) hold(blocks, block, worker)
  })
  const tokens = shape === "whole" ? traceTokens : engineTokens
  const groups = shape === "whole" ? asked.map((request) => groupsOf(request.blocks)) : null
  const mean = paths.reduce((sum, path) => sum + path.length, 0) / length
  const queries = paths.map((path, i) => query(blocks, workers, path, groups?.[i] ?? null))
  return {
    name: `${name}, ${tokens}-token blocks, ${hows[shape]}`,
    ...{ stride: strideOf(tokens), workers, blocks, queries: [{ name: `${mean.toFixed(0)} blocks`, queries }] }
  }
}
