/** KV events through replicas: as many as they take, and at a steady rate. */
import * as BlockHash from "../../src/hot/BlockHash.ts"
import { percentile } from "../client/Stats.ts"
import { blockSize, type Stream } from "../micro/IngestWorkload.ts"
import * as Engines from "./Engines.ts"
import * as Pair from "./Pair.ts"
import { digestOf, type Usage } from "./Words.ts"

/** Of one process, over the part of a stream in which caches are full. */
export interface Spent extends Usage {
  readonly who: string
}

export interface Flood {
  readonly spent: ReadonlyArray<Spent>
  readonly batches: number
  /** Blocks that events told of: half stored, half removed. */
  readonly blocks: number
  readonly seconds: number
  /** Bytes that engines published. */
  readonly bytes: number
  /** Batches that some replica had to ask for again. */
  readonly gaps: number
  /** All tables hold what the caches do. */
  readonly agree: boolean
}

export interface Latency {
  readonly who: string
  readonly p50: number
  readonly p99: number
  /** Of a core, while it lasts. */
  readonly cpuShare: number
}

const progressOf = (group: Pair.Group) => () => Math.min(...group.replicas.map((each) => each.progress().batches))

/** What tables must hold: the keys that a request with the same tokens has. */
const truthOf = ({ caches }: Stream) => {
  const hasher = BlockHash.make()
  const root = hasher.root({ model: "bench", lora: null, salt: null, blockSize })
  return caches.map((cache) => {
    let count = 0
    let digest = 0
    for (const { cached, tokens } of cache) {
      const held = digestOf(hasher.chain(Uint32Array.from(tokens).subarray(0, cached * blockSize), blockSize, root))
      count += held.count
      digest = (digest + held.digest) | 0
    }
    return `${count}/${digest}`
  })
}

const withGroup = async <A>(
  kind: Pair.Kind,
  stream: Stream,
  probes: boolean,
  flags: ReadonlyArray<string>,
  use: (group: Pair.Group, engines: Engines.Engines, arrived: (batches: number) => Promise<void>) => Promise<A>
): Promise<A> => {
  const engines = await Engines.start(stream, Pair.engineNames)
  const blocksMax = stream.fillingBlocks + stream.steadyBlocks + 4_096
  const group = await Pair.start(kind, { engines: engines.list, blocksMax, workers: 0, probes }, flags)
  try {
    return await use(group, engines, async (batches) => {
      await Pair.reached(group, (each) => each.progress().batches, batches)
      await Promise.all(group.replicas.map((each) => each.ask("settled")))
    })
  } finally {
    await group.close()
    engines.close()
  }
}

/** As many as the slowest replica takes. */
export const flood = (kind: Pair.Kind, stream: Stream, flags: ReadonlyArray<string>): Promise<Flood> =>
  withGroup(kind, stream, false, flags, async (group, engines, arrived) => {
    const { payloads, steadyBlocks, steadyFrom } = stream
    const usages = async (): Promise<ReadonlyArray<Spent>> => [
      ...(await Promise.all(group.replicas.map(async (each) => ({ who: each.id, ...(await each.ask("usage")) })))),
      ...(kind === "pair"
        ? [{ who: "nats-server", cpuUs: group.natsUs(), threadUs: Number.NaN, inBytes: 0, outBytes: 0 }]
        : [])
    ]
    await engines.publish(steadyFrom, progressOf(group))
    await arrived(steadyFrom)
    const before = await usages()
    const startedMs = performance.now()
    await engines.publish(payloads.length, progressOf(group))
    await arrived(payloads.length)
    const seconds = (performance.now() - startedMs) / 1_000
    const after = await usages()
    const truth = truthOf(stream).join()
    const held = await Promise.all(group.replicas.map((each) => each.ask("held")))
    const states = await Promise.all(group.replicas.map((each) => each.ask("state")))
    return {
      spent: after.map(({ cpuUs, inBytes, outBytes, threadUs, who }, i) => ({
        who,
        cpuUs: cpuUs - before[i]!.cpuUs,
        threadUs: threadUs - before[i]!.threadUs,
        inBytes: inBytes - before[i]!.inBytes,
        outBytes: outBytes - before[i]!.outBytes
      })),
      batches: payloads.length - steadyFrom,
      blocks: 2 * steadyBlocks,
      seconds,
      bytes: payloads.slice(steadyFrom).reduce((sum, { length }) => sum + length, 0),
      gaps: states.reduce((sum, { gaps }) => sum + gaps, 0),
      agree: held.every((each) => each.map(({ count, digest }) => `${count}/${digest}`).join() === truth)
    }
  })

/** From an engine's publish to the first lookup that finds it, at each rate for so many seconds. By rate, by replica. */
export const latency = (
  kind: Pair.Kind,
  stream: Stream,
  rates: ReadonlyArray<number>,
  seconds: number,
  flags: ReadonlyArray<string>
): Promise<ReadonlyArray<ReadonlyArray<Latency>>> =>
  withGroup(kind, stream, true, flags, async (group, engines, arrived) => {
    let at = stream.steadyFrom
    await engines.publish(at, progressOf(group))
    await arrived(at)
    const found = () => Promise.all(group.replicas.map((each) => each.ask("found")))
    await found()
    const rows: Array<ReadonlyArray<Latency>> = []
    for (const rate of rates) {
      at = Math.min(stream.payloads.length, at + Math.ceil(rate * seconds))
      const usages = () => Promise.all(group.replicas.map((each) => each.ask("usage")))
      const before = await usages()
      const startedMs = performance.now()
      const sent = await engines.pace(at, rate)
      await arrived(at)
      const tookUs = (performance.now() - startedMs) * 1_000
      const after = await usages()
      const all = await found()
      rows.push(
        all.map((times, i) => {
          const took = sent.flatMap((each, engine) => Array.from(each, (sentMs, n) => times[engine]![n]! - sentMs))
          if (took.some(Number.isNaN)) throw new Error("A batch was in no lookup: no figure is worth giving.")
          return {
            who: group.replicas[i]!.id,
            p50: percentile(took, 0.5)!,
            p99: percentile(took, 0.99)!,
            cpuShare: (after[i]!.cpuUs - before[i]!.cpuUs) / tookUs
          }
        })
      )
    }
    return rows
  })
