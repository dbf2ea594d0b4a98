/**
 * KV events on one core, from the bytes of a ZeroMQ message to the prefix table: each station alone, then all together.
 *
 * Blocks per second that events tell of. Caches are full, so half of these are stored and half removed; only "fill" is
 * what fills them first, stores alone, and all tables growing. Events of 1, 32 and 256 blocks, one store to a batch.
 * CPU time of the thread, its collection of garbage included; medians of the repeats.
 *
 * The whole path is what a router runs between its sockets and its table: `Publisher` and `PrefixIndex`, mailbox included.
 */
import { Decoder } from "@msgpack/msgpack"
import { defaults } from "../../actors/Followed.ts"
import * as PrefixIndex from "../../actors/PrefixIndex.ts"
import { Publisher } from "../../actors/Publisher.ts"
import { decode } from "../../src/adapters/kvevents/KvEvents.ts"
import { decodeGeneric } from "../../src/adapters/kvevents/KvGeneric.ts"
import type { EngineBatch, KvDelta } from "../../src/domain/KvEvent.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import * as KeyTranslate from "../../src/hot/KeyTranslate.ts"
import * as PrefixTable from "../../src/hot/PrefixTable.ts"
import type { Result } from "./Benches.ts"
import { blockSize, generate, publishers, type Stream } from "./IngestWorkload.ts"
import { type Case, collect, cpuMs, median, type Options } from "./Measure.ts"

const sizes = [1, 32, 256]
/** Blocks of a stream at most: 90 bytes each on the wire. Events of one block are many objects, so fewer of them. */
const blocksMax = 1_000_000
/** As the event sockets read. */
const bytesPerTurn = 64 * 1024
const hasher = BlockHash.make()
const model = "bench"
/** Read by nobody, written by all: so that no work is optimised away. */
let sink = 0

const library = new Decoder({ useBigInt64: true })

const table = (blocks: number): PrefixTable.PrefixTable =>
  PrefixTable.make({ holdersMax: publishers, blocksMax: blocks + 4_096 })

const translators = (): ReadonlyArray<KeyTranslate.Translator> =>
  Array.from({ length: publishers }, (_, worker) =>
    KeyTranslate.make({
      worker,
      model,
      blockSize: null,
      blockCount: null,
      hasher,
      copiesMax: 255,
      parkedMax: 64,
      parkedBatches: 256,
      hashesMax: blocksMax
    })
  )

const write = (index: PrefixTable.PrefixTable, delta: KvDelta): void => {
  if (delta._tag === "Stored") PrefixTable.store(index, delta.worker, delta.parent, delta.keys)
  else if (delta._tag === "Removed") PrefixTable.remove(index, delta.worker, delta.keys)
}

/** M blocks/s, stored and removed, of the steady part of a stream, after `work` did the rest; or stored, of that rest. */
const rate = (stream: Stream, work: (from: number, to: number) => void, isFilling = false): number => {
  const { fillingBlocks, payloads, steadyBlocks, steadyFrom } = stream
  const filling = cpuMs(() => work(0, steadyFrom))
  if (!isFilling) collect()
  const steady = cpuMs(() => work(steadyFrom, payloads.length))
  return isFilling ? fillingBlocks / filling / 1_000 : (2 * steadyBlocks) / steady / 1_000
}

const decoding = (stream: Stream, read: (payload: Uint8Array) => unknown): number =>
  rate(stream, (from, to) => {
    for (let i = from; i < to; i++) if (read(stream.payloads[i]!) !== null) sink++
  })

const translating = (stream: Stream, batches: ReadonlyArray<EngineBatch>): number => {
  const all = translators()
  const emit = (delta: KvDelta) => {
    if (delta._tag === "Stored") sink += delta.keys.length
  }
  return rate(stream, (from, to) => {
    for (let i = from; i < to; i++) all[i % publishers]!.apply(batches[i]!.events, emit)
  })
}

/** The changes of each payload, as the translators make them. */
const changesOf = (batches: ReadonlyArray<EngineBatch>): ReadonlyArray<ReadonlyArray<KvDelta>> => {
  const all = translators()
  return batches.map(({ events }, i) => {
    const changes: Array<KvDelta> = []
    all[i % publishers]!.apply(events, (delta) => changes.push(delta))
    return changes
  })
}

const writing = (stream: Stream, blocks: number, changes: ReadonlyArray<ReadonlyArray<KvDelta>>): number => {
  const index = table(blocks)
  return rate(stream, (from, to) => {
    for (let i = from; i < to; i++) for (const delta of changes[i]!) write(index, delta)
  })
}

interface Ingested {
  readonly rate: number
  readonly index: PrefixIndex.Interface
}

/** As in a router: a `Publisher` for each, whose changes the index applies in turns, here one after each 64 KiB read. */
const ingesting = (stream: Stream, blocks: number, isFilling: boolean, read = decode): Ingested => {
  let turn: (() => void) | null = null
  const index = PrefixIndex.make(
    { workersMax: publishers, blocksMax: blocks + 4_096 },
    (next) => {
      turn = next
    },
    (error) => {
      throw error
    }
  )
  const work = (): void => {
    for (let next = turn; next !== null; next = turn) {
      turn = null
      next()
    }
  }
  const all = Array.from({ length: publishers }, (_, slot) => {
    const source = { endpoint: "tcp://bench:1", replayEndpoint: null, topic: "", rank: 0 }
    const publisher = new Publisher(
      { name: "bench", slot, model, source, blockSize, blockCount: null, decode: read },
      { ...defaults, hasher },
      { publish: index.tell, replay: () => {}, abandon: () => {}, say: () => {} },
      0
    )
    publisher.feed({ _tag: "Connected" }, 0)
    return publisher
  })
  let bytes = 0
  const ingest = (from: number, to: number) => {
    for (let i = from; i < to; i++) {
      const publisher = i % publishers
      const payload = stream.payloads[i]!
      all[publisher]!.feed({ _tag: "Live", seq: (i - publisher) / publishers, payload }, 0)
      bytes += payload.length
      if (bytes < bytesPerTurn) continue
      bytes = 0
      work()
    }
    work()
  }
  return { rate: rate(stream, ingest, isFilling), index }
}

/** Caches whose every block is in the table, and no other: keys as a request with the same tokens has them. */
const agreeing = ({ caches }: Stream, index: PrefixIndex.Interface): number => {
  const root = hasher.root({ model, lora: null, salt: null, blockSize })
  return caches.filter((cache, publisher) => {
    const held = new Set<string>()
    const dump = index.dump(publisher)
    for (let i = 0; i < dump.length; i += 2) held.add(`${dump[i]} ${dump[i + 1]}`)
    let count = 0
    for (const { cached, tokens } of cache) {
      count += cached
      const keys = hasher.chain(Uint32Array.from(tokens).subarray(0, cached * blockSize), blockSize, root)
      for (let i = 0; i < keys.length; i += 2) if (!held.has(`${keys[i]} ${keys[i + 1]}`)) return false
    }
    return count === held.size
  }).length
}

export const run = ({ blocks: wanted, repeats }: Options): Result => {
  const cases: Array<Case> = []
  let agree = true
  let compared = 0
  const measure = (name: string, once: () => number, gate?: Case["gate"]): void => {
    const values = Array.from({ length: repeats }, once)
    const figure = { name, value: median(values), best: Math.max(...values), unit: "M blocks/s" }
    cases.push(gate === undefined ? figure : { ...figure, gate })
  }
  // Warm-up: the compiler sees every path first.
  const small = generate(20_000, 8, 2)
  decoding(small, decode)
  decoding(small, decodeGeneric)
  ingesting(small, 20_000, false)
  ingesting(small, 20_000, false, decodeGeneric)
  for (const size of sizes) {
    const blocks = Math.min(wanted, size === 1 ? blocksMax / 4 : blocksMax)
    const stream = generate(blocks, size)
    const of = `${size} ${size === 1 ? "block" : "blocks"}`
    measure(`${of}: decode`, () => decoding(stream, decode))
    measure(`${of}: decode generically`, () => decoding(stream, decodeGeneric))
    measure(`${of}: msgpack library`, () => decoding(stream, (payload) => library.decode(payload)))
    const batches = stream.payloads.map(decode)
    measure(`${of}: translate`, () => translating(stream, batches))
    const changes = changesOf(batches)
    measure(`${of}: table`, () => writing(stream, blocks, changes))
    let index: PrefixIndex.Interface | null = null
    const whole =
      (isFilling: boolean, read = decode) =>
      () => {
        const done = ingesting(stream, blocks, isFilling, read)
        index = done.index
        return done.rate
      }
    measure(`${of}: generic whole path`, whole(false, decodeGeneric))
    measure(`${of}: whole path, fill`, whole(true))
    measure(`${of}: whole path`, whole(false), size === 32 ? { atLeast: 3 } : undefined)
    agree &&= agreeing(stream, index!) === publishers
    compared += publishers
  }
  return { cases, agree, compared: sink === 0 ? 0 : compared }
}
