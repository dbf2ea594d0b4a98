/**
 * The prefix index on one core, beside a plain Map/Set index on the same events.
 *
 * Throughputs and latencies are thread CPU time, medians of the repeats; a build is repeated in a fresh table. The
 * longest slice is wall time: of each event or sweep the fastest repeat, of those the slowest, so that what another
 * process took does not count and what the index took does.
 */
import * as PrefixTable from "../../src/hot/PrefixTable.ts"
import * as SlotLayers from "../../src/hot/SlotLayers.ts"
import { MapSetIndex } from "./MapSetIndex.ts"
import { type Case, collect, cpuMs, cpuNsPerCall, median, type Options, quantile } from "./Measure.ts"
import { generate, type Workload } from "./PrefixWorkload.ts"

const EVENT = 4
const SLICE_BLOCKS = 2_048
const FLEET = 1_000

export interface Result {
  readonly cases: ReadonlyArray<Case>
  /** True when both indexes gave the same overlaps to every query compared. */
  readonly agree: boolean
  readonly compared: number
}

/** Repeats of every figure of either index, in the units printed. */
interface Figures {
  readonly storeNew: Array<number>
  readonly storeKnown: Array<number>
  readonly removeBatch: Array<number>
  readonly lookups: Array<Array<number>>
  readonly miss: Array<number>
  readonly bytes: Array<number>
}

const build = (workload: Workload, workers: number): PrefixTable.PrefixTable =>
  PrefixTable.make({
    holdersMax: SlotLayers.holdersFor(workers),
    blocksMax: Math.ceil(workload.blocks * 1.1) + 1_024,
    shared: true
  })

/** Applies one event. A parent key is copied to `parentKey`, as a decoder would have it. */
const storeEvent = (table: PrefixTable.PrefixTable, { events, keys }: Workload, e: number): void => {
  const parent = events[e + 1]! << 1
  if (parent >= 0) {
    parentKey[0] = keys[parent]!
    parentKey[1] = keys[parent + 1]!
  }
  PrefixTable.store(table, events[e]!, parent < 0 ? null : parentKey, keys, events[e + 3]!, events[e + 2]!)
}

const parentKey = new Int32Array(2)

const storeAll = (table: PrefixTable.PrefixTable, workload: Workload): void => {
  for (let e = 0; e < workload.events.length; e += EVENT) storeEvent(table, workload, e)
}

const removeAll = (
  table: PrefixTable.PrefixTable,
  { removalEvents, removals }: Workload,
  from: number,
  to: number,
  size: number
): number => {
  let removed = 0
  for (let e = from; e < to; e += EVENT) {
    const end = removalEvents[e + 2]! + removalEvents[e + 3]!
    for (let first = removalEvents[e + 2]!; first < end; first += size) {
      removed += PrefixTable.remove(table, removalEvents[e]!, removals, Math.min(size, end - first), first)
    }
  }
  return removed
}

const blocksIn = (events: Int32Array, from = 0, to = events.length): number => {
  let sum = 0
  for (let e = from; e < to; e += EVENT) sum += events[e + 3]!
  return sum
}

/** A row of chain numbers to ask for, in random order, so that every lookup finds its lines cold. */
const order = (count: number, length: number): Int32Array => {
  let x = 12_345
  return Int32Array.from({ length }, () => {
    x = (Math.imul(x, 1_103_515_245) + 12_345) | 0
    return (x >>> 8) % count
  })
}

const wrongDepth = (depth: number, sum: number, expected: number): Error =>
  new Error(`Lookups of ${depth} blocks found ${sum} blocks where ${expected} are held`)

/** Microseconds per lookup of the query chains, by depth and repeat. */
const measureLookups = (
  table: PrefixTable.PrefixTable,
  { queries }: Workload,
  { cellMs, repeats }: Options
): Array<Array<number>> => {
  const levels = PrefixTable.makeLevels(table)
  return queries.map(({ count, depth, keys }) => {
    const picks = order(count, Math.max(64, Math.ceil(200_000 / depth)))
    const chains = Array.from({ length: count }, (_, i) => keys.subarray(i * depth * 2, (i + 1) * depth * 2))
    const ask = () => {
      let sum = 0
      for (let i = 0; i < picks.length; i++) sum += PrefixTable.levels(table, chains[picks[i]!]!, depth, levels)
      if (sum !== picks.length * depth) throw wrongDepth(depth, sum, picks.length * depth)
    }
    return Array.from({ length: repeats }, () => cpuNsPerCall(cellMs, picks.length, ask) / 1_000)
  })
}

/** The same lookups in a fleet of 1 000: levels, not a depth for each worker, are what is read. */
const measureLargeFleet = (options: Options): ReadonlyArray<Case> => {
  const workload = generate(options.blocks, FLEET)
  const table = build(workload, FLEET)
  storeAll(table, workload)
  const lookups = measureLookups(table, workload, options)
  return workload.queries.map(({ depth }, i) => ({
    name: `lookup ${depth} of ${FLEET} workers`,
    unit: "us",
    value: median(lookups[i]!),
    best: Math.min(...lookups[i]!)
  }))
}

/**
 * Lookups where caches are full of holes: chains of 512 blocks that 64 workers hold, each with ten blocks missing
 * somewhere. The slowest of a hundred is wall time, clock included.
 */
const measureFragmented = ({ blocks, cellMs, repeats }: Options): ReadonlyArray<Case> => {
  const depth = 512
  const workers = 64
  const count = Math.min(2_000, Math.ceil(blocks / depth / 5))
  const table = PrefixTable.make({
    holdersMax: SlotLayers.holdersFor(workers),
    blocksMax: count * depth + 1_024,
    blocksPerSpan: 0.5
  })
  const words = order(0x7fffffff, count * depth * 2)
  const chains = Array.from({ length: count }, (_, i) => words.subarray(i * depth * 2, (i + 1) * depth * 2))
  const holes = order(depth, count * workers * 10)
  chains.forEach((keys, i) => {
    for (let worker = 0; worker < workers; worker++) {
      PrefixTable.store(table, worker, null, keys, depth)
      const first = (i * workers + worker) * 10
      for (let hole = first; hole < first + 10; hole++) PrefixTable.remove(table, worker, keys, 1, holes[hole]!)
    }
  })
  const levels = PrefixTable.makeLevels(table)
  const picks = order(count, 20_000)
  const ask = () => {
    for (let i = 0; i < picks.length; i++) PrefixTable.levels(table, chains[picks[i]!]!, depth, levels)
  }
  const means = Array.from({ length: repeats }, () => cpuNsPerCall(cellMs, picks.length, ask) / 1_000)
  const took = new Float64Array(picks.length)
  const slowest = Array.from({ length: repeats }, () => {
    for (let i = 0; i < picks.length; i++) {
      const before = performance.now()
      PrefixTable.levels(table, chains[picks[i]!]!, depth, levels)
      took[i] = (performance.now() - before) * 1_000
    }
    return quantile(took, 0.99)
  })
  return [
    { name: "lookup 512, 64 x 10 holes", value: median(means), best: Math.min(...means), unit: "us" },
    { name: "lookup 512, 64 x 10 holes, p99", value: median(slowest), best: Math.min(...slowest), unit: "us wall" }
  ]
}

const measureTable = (workload: Workload, options: Options): { figures: Figures; table: PrefixTable.PrefixTable } => {
  const { workers, repeats, cellMs } = options
  const fresh: Array<number> = []
  const known: Array<number> = []
  const none = PrefixTable.make({ holdersMax: 1, blocksMax: 1_024 })
  let table = none
  const stored = blocksIn(workload.events)
  for (let i = 0; i < repeats; i++) {
    // The one before is freed first: else what the machine takes to find new memory is part of the figure.
    table = none
    collect()
    table = build(workload, workers)
    fresh.push(stored / cpuMs(() => storeAll(table, workload)) / 1_000)
    known.push(stored / cpuMs(() => storeAll(table, workload)) / 1_000)
  }
  const stats = PrefixTable.stats(table)
  const levels = PrefixTable.makeLevels(table)
  const lookups = measureLookups(table, workload, options)
  const unknown = order(1 << 30, 20_000)
  const strangers = Array.from({ length: 10_000 }, (_, i) => unknown.subarray(i * 2, i * 2 + 2))
  const missAll = () => {
    let sum = 0
    for (let i = 0; i < 10_000; i++) sum += PrefixTable.levels(table, strangers[i]!, 1, levels)
    if (sum > 10) throw wrongDepth(1, sum, 0)
  }
  const miss = Array.from({ length: repeats }, () => cpuNsPerCall(cellMs, 10_000, missAll))
  const { removalEvents } = workload
  const removing: Array<number> = []
  for (let i = 0; i < repeats; i++) {
    const ms = cpuMs(() => void removeAll(table, workload, 0, removalEvents.length, 64))
    removing.push(blocksIn(removalEvents) / ms / 1_000)
    storeAll(table, workload)
  }
  return {
    table,
    figures: {
      storeNew: fresh,
      storeKnown: known,
      removeBatch: removing,
      lookups,
      miss,
      bytes: [stats.bytes / stats.blocks]
    }
  }
}

const measureSingle = (table: PrefixTable.PrefixTable, workload: Workload, repeats: number): Array<number> => {
  const { removalEvents } = workload
  return Array.from({ length: repeats }, () => {
    const ms = cpuMs(() => void removeAll(table, workload, 0, removalEvents.length, 1))
    storeAll(table, workload)
    return blocksIn(removalEvents) / ms / 1_000
  })
}

/**
 * Wall milliseconds of the longest store event, of the longest slice while a second layer of every fourth worker begins as
 * a copy of its first, and of the longest sweep slice after those workers left.
 */
const measureSlices = (
  workload: Workload,
  { repeats, workers }: Options
): { store: number; copy: number; sweep: number } => {
  const { events } = workload
  const fastest = new Float64Array(events.length / EVENT).fill(Number.POSITIVE_INFINITY)
  const copies: Array<number> = []
  const sweeps: Array<number> = []
  for (let i = 0; i < repeats; i++) {
    const table = build(workload, workers)
    collect()
    for (let e = 0; e < events.length; e += EVENT) {
      const before = performance.now()
      storeEvent(table, workload, e)
      const took = performance.now() - before
      if (took < fastest[e / EVENT]!) fastest[e / EVENT] = took
    }
    let copied = 0
    for (let worker = 0; worker < workers; worker += 4) {
      PrefixTable.join(table, workers + worker, worker)
      for (let cursor = 0, more = true; more; more = cursor !== 0) {
        const before = performance.now()
        cursor = PrefixTable.copy(table, worker, workers + worker, cursor, SLICE_BLOCKS)
        const took = performance.now() - before
        if (!(took >= copies[copied]!)) copies[copied] = took
        copied++
      }
    }
    for (let worker = 0; worker < workers; worker += 4) {
      PrefixTable.clear(table, worker)
      PrefixTable.clear(table, workers + worker)
    }
    for (let slice = 0, more = true; more; slice++) {
      const before = performance.now()
      more = PrefixTable.sweep(table, SLICE_BLOCKS)
      const took = performance.now() - before
      if (!(took >= sweeps[slice]!)) sweeps[slice] = took
    }
  }
  const longest = (took: Iterable<number>) => {
    let most = 0
    for (const one of took) most = Math.max(most, one)
    return most
  }
  return { store: longest(fastest), copy: longest(copies), sweep: longest(sweeps) }
}

const lanes = (keys: Int32Array): BigInt64Array => {
  const aligned = keys.byteOffset % 8 === 0 ? keys : keys.slice()
  return new BigInt64Array(aligned.buffer, aligned.byteOffset, aligned.length / 2)
}

const measureTwin = (workload: Workload, { cellMs, workers }: Options): { figures: Figures; twin: MapSetIndex } => {
  const { events, removalEvents } = workload
  const keys = lanes(workload.keys)
  const removals = lanes(workload.removals)
  const out = new Uint32Array(workers)
  const twin = new MapSetIndex()
  const storeTwin = () => {
    for (let e = 0; e < events.length; e += EVENT) {
      twin.store(events[e]!, keys, events[e + 2]!, events[e + 2]! + events[e + 3]!)
    }
  }
  collect()
  const heapBefore = process.memoryUsage().heapUsed
  const stored = blocksIn(events)
  const storeNew = [stored / cpuMs(storeTwin) / 1_000]
  const storeKnown = [stored / cpuMs(storeTwin) / 1_000]
  collect()
  const bytes = [(process.memoryUsage().heapUsed - heapBefore) / workload.blocks]
  const lookups = workload.queries.map(({ count, depth, keys: asked }) => {
    const view = lanes(asked)
    const picks = order(count, Math.max(4, Math.ceil(20_000 / depth)))
    const ask = () => {
      for (let i = 0; i < picks.length; i++) {
        const found = twin.overlap(view, picks[i]! * depth, (picks[i]! + 1) * depth, out)
        if (found !== depth) throw wrongDepth(depth, found, depth)
      }
    }
    return [cpuNsPerCall(cellMs, picks.length, ask) / 1_000]
  })
  const strangers = lanes(order(1 << 30, 20_000))
  const missAll = () => {
    for (let i = 0; i < 10_000; i++) twin.overlap(strangers, i, i + 1, out)
  }
  const miss = [cpuNsPerCall(cellMs, 10_000, missAll)]
  const ms = cpuMs(() => {
    for (let e = 0; e < removalEvents.length; e += EVENT) {
      twin.remove(removalEvents[e]!, removals, removalEvents[e + 2]!, removalEvents[e + 2]! + removalEvents[e + 3]!)
    }
  })
  const removeBatch = [blocksIn(removalEvents) / ms / 1_000]
  storeTwin()
  return { twin, figures: { storeNew, storeKnown, removeBatch, lookups, miss, bytes } }
}

/** Both indexes hold the same events: what do they say of the query chains, and of what is left of some after a removal? */
const compare = (workload: Workload, table: PrefixTable.PrefixTable, twin: MapSetIndex) => {
  const { removalEvents } = workload
  const removals = lanes(workload.removals)
  const some = Math.min(removalEvents.length, EVENT * 200)
  removeAll(table, workload, 0, some, 64)
  for (let e = 0; e < some; e += EVENT) {
    twin.remove(removalEvents[e]!, removals, removalEvents[e + 2]!, removalEvents[e + 2]! + removalEvents[e + 3]!)
  }
  const scratch = PrefixTable.makeLevels(table)
  const ours = new Uint32Array(table.holdersMax)
  const theirs = new Uint32Array(table.holdersMax)
  let agree = true
  let compared = 0
  const check = (keys: Int32Array, from: number, to: number): void => {
    PrefixTable.overlap(table, keys.subarray(from * 2, to * 2), to - from, scratch, ours)
    twin.overlap(lanes(keys), from, to, theirs)
    agree &&= ours.every((depth, worker) => depth === theirs[worker])
    compared++
  }
  for (const { count, depth, keys } of workload.queries) {
    for (let i = 0; i < Math.min(count, 50); i++) check(keys, i * depth, (i + 1) * depth)
  }
  for (let e = 0; e < Math.min(workload.events.length, EVENT * 2_000); e += EVENT) {
    check(workload.keys, workload.events[e + 2]!, workload.events[e + 2]! + workload.events[e + 3]!)
  }
  return { agree, compared }
}

export const run = (options: Options): Result => {
  // Warm-up: the compiler sees every path on a small table first.
  const tiny = { ...options, repeats: 1, cellMs: 20 }
  measureSingle(
    measureTable(generate(200_000, options.workers, 7), tiny).table,
    generate(20_000, options.workers, 7),
    1
  )

  const workload = generate(options.blocks, options.workers)
  const { figures, table } = measureTable(workload, options)
  const single = measureSingle(table, workload, options.repeats)
  const slices = measureSlices(workload, options)
  const alsoShown = [...measureLargeFleet(options), ...measureFragmented(options)]

  let compared = { agree: true, compared: 0 }
  let beside: { ours: Figures; theirs: Figures } | undefined
  if (options.twinBlocks > 0) {
    const isSame = options.twinBlocks === options.blocks
    const smaller = isSame ? workload : generate(options.twinBlocks, options.workers)
    const ours = isSame ? { figures, table } : measureTable(smaller, options)
    const { figures: theirs, twin } = measureTwin(smaller, options)
    compared = compare(smaller, ours.table, twin)
    beside = { ours: ours.figures, theirs }
  }
  const rate = "M blocks/s"
  const row = (
    name: string,
    unit: string,
    pick: (of: Figures) => Array<number> | undefined,
    gate?: NonNullable<Case["gate"]>
  ): Case => {
    const repeats = pick(figures)!
    const theirs = beside && pick(beside.theirs)
    const ours = beside && pick(beside.ours)
    return {
      name,
      unit,
      value: median(repeats),
      ...(repeats.length > 1 && { best: unit === rate ? Math.max(...repeats) : Math.min(...repeats) }),
      ...(gate && { gate }),
      ...(theirs && ours && { twin: { value: median(theirs), ours: median(ours) } })
    }
  }
  const lookupGates: Record<number, number> = { 128: 0.25, 1024: 0.5, 8192: 2 }
  return {
    ...compared,
    cases: [
      row("store new", rate, (of) => of.storeNew, { atLeast: 9 }),
      row("store known", rate, (of) => of.storeKnown),
      row("remove, batches of 64", rate, (of) => of.removeBatch, { atLeast: 7 }),
      { name: "remove, one at a time", unit: rate, value: median(single), best: Math.max(...single) },
      ...workload.queries.map(({ depth }, i) =>
        row(`lookup ${depth} blocks, all held`, "us", (of) => of.lookups[i], { atMost: lookupGates[depth]! })
      ),
      row("lookup, first block unknown", "ns", (of) => of.miss),
      row("memory", "B/block", (of) => of.bytes, { atMost: 34 }),
      { name: "longest store event", value: slices.store, unit: "ms wall", gate: { atMost: 1 } },
      { name: `longest copy(${SLICE_BLOCKS}) slice`, value: slices.copy, unit: "ms wall", gate: { atMost: 1 } },
      { name: `longest sweep(${SLICE_BLOCKS}) slice`, value: slices.sweep, unit: "ms wall", gate: { atMost: 1 } },
      ...alsoShown
    ]
  }
}
