/**
 * What a worker probably holds, where its own events do not tell: from what it was sent and what it reports.
 *
 *   in use ── young ◀── held ──┼── ghosts ──▶ old       held: capacity, those in use included · ghosts: as many again
 *
 * A prompt that was computed is in use until its answer ends; then its blocks are the youngest, its end older than its
 * beginning, as engines free it, and the answer's blocks before them. The capacity is what the worker told, until answers
 * report how many blocks came from its cache: where those were in this order says how much the cache keeps
 * (`CacheEvidence`). So a capacity told wrongly, not at all, or shared with other clients is learned.
 *
 * Pure, without a clock. `computed` and `settled` are O(blocks of the prompt), together some 0.1 µs a block. Bounded:
 * twice the capacity in blocks, which is at most `blocksMax`, and what runs. Bytes: `CacheOrder`.
 */
import type { KeyLanes } from "../domain/Block.ts"
import * as Evidence from "./CacheEvidence.ts"
import { CacheOrder } from "./CacheOrder.ts"

/** Blocks a cache is taken to have room for while it neither tells nor reports: two million tokens in blocks of 16. */
export const untoldDefault = 131_072
/** Times as much once it reports: too large a guess costs little and is soon corrected, too small a one costs much. */
const untoldLarger = 8
/** A capacity, told or learned, is at most this. */
const blocksMax = 1 << 20
const blocksMin = 16

export interface Options {
  /** What the worker says it has room for, in blocks; null when it does not. */
  readonly toldBlocks: number | null
  /** What to begin with when it does not; 131 072 when left out. */
  readonly untoldBlocks?: number
  /** These are held from now on, and were not: a chain behind `parent`, which is held; null at the start of one. */
  readonly stored: (parent: KeyLanes | null, keys: KeyLanes) => void
  /** These are held no more, in no order. */
  readonly removed: (keys: KeyLanes) => void
}

/** One prompt in use, and how it was found. Settle it once. */
export interface Claim {
  /** Its blocks; of these, the leading ones that were believed held, and that were remembered at all. */
  readonly count: number
  readonly held: number
  readonly known: number
  /** Entry of its last block, in the model's present life. */
  readonly leaf: number
  readonly life: number
  /** Pairs: from this block on, positions were in this bucket of `CacheEvidence`. Few: an earlier prompt's are alike. */
  readonly ages: Int32Array
}

export interface Report {
  /** Full leading blocks the worker says it took from its cache; null when it does not say. */
  readonly reportedBlocks: number | null
  /** They are counted in other blocks than the keys', so that there were about so many. */
  readonly estimated?: boolean
  /** Blocks the answer took; null when unknown. */
  readonly outputBlocks: number | null
}

/** Share of a prompt by which an estimate may be wrong: text is denser in one place than in another. */
const estimateErrorMax = 1 / 8

export class CacheModel {
  readonly #options: Options
  #toldBlocks: number | null
  #order = new CacheOrder()
  #evidence: Evidence.CacheEvidence
  #capacity: number
  /** The oldest listed entry that is held, or -1. */
  #edge = -1
  /** Blocks of running requests: not listed, and not to be evicted. */
  #pinned = 0
  /** Blocks held, pinned ones included. */
  #held = 0
  /** Claims of an earlier life are void. */
  #life = 0
  #reports = 0
  #foundBlocks = 0
  #missingBlocks = 0
  /** Entries of the prompt at hand, from its head. */
  #path = new Int32Array(256)
  readonly #ages = new Int32Array(2 * Evidence.buckets)

  constructor(options: Options) {
    this.#options = options
    this.#toldBlocks = options.toldBlocks
    this.#evidence = this.#noEvidence()
    this.#capacity = this.#startBlocks
  }

  get stats() {
    return {
      /** Held, room for answers included. */
      blocks: this.#held,
      ghosts: this.#pinned + this.#order.blocks - this.#held,
      capacityBlocks: this.#capacity,
      toldBlocks: this.#toldBlocks,
      /** Reports learned from; blocks they found in the cache and missed there, of those remembered. */
      reports: this.#reports,
      foundBlocks: this.#foundBlocks,
      missingBlocks: this.#missingBlocks
    }
  }

  /** The worker says, later than at first or anew, how many blocks it has room for. Evidence begins again. */
  told(blocks: number): void {
    if (blocks === this.#toldBlocks) return
    this.#toldBlocks = blocks
    this.#evidence = this.#noEvidence()
    this.#capacity = this.#startBlocks
    this.#trim()
  }

  /** The cache is empty: the worker restarted. `removed` is not called. What was learned of its size stays. */
  clear(): void {
    this.#order = new CacheOrder()
    this.#edge = -1
    this.#held = 0
    this.#pinned = 0
    this.#life++
  }

  /** At most so many blocks are about to be recalled: room is made for them at once. Answers with what `recall` is told. */
  reserve(blocks: number): number {
    this.#order.reserve(Math.max(0, Math.min(blocks, this.#capacity - this.#held)))
    return this.#life
  }

  /**
   * It held these too, and used them before all it is known to hold: a chain behind `parent`, which it holds; null at the
   * start of one. So what was used last is recalled first, and of each chain its beginning. Behind a block that is not
   * known, nothing is. False: there is no room for what was used longer ago, or it was cleared since `reserve`.
   */
  recall(life: number, parent: KeyLanes | null, keys: KeyLanes): boolean {
    const order = this.#order
    if (life !== this.#life) return false
    // Ghosts were used after these, and there was no room for them.
    if (this.#held >= this.#capacity || this.#pinned + order.blocks > this.#held) return false
    let last = parent === null ? -1 : order.find(parent[0]!, parent[1]!)
    if (parent !== null && last < 0) return true
    const count = keys.length >> 1
    let from = 0
    for (; from < count; from++) {
      const entry = order.find(keys[2 * from]!, keys[2 * from + 1]!)
      if (entry < 0 || order.parent[entry] !== last) break
      last = entry
    }
    const before = from === 0 ? parent : keys.slice(2 * from - 2, 2 * from)
    let to = from
    for (; to < count && this.#held < this.#capacity; to++) {
      last = order.add(keys[2 * to]!, keys[2 * to + 1]!, last)
      // Known in another place: these keys are not chained.
      if (last < 0) break
      order.prepend(last)
      order.mark[last] = 1
      this.#edge = last
      this.#held++
    }
    if (to > from) this.#options.stored(before, keys.subarray(2 * from, 2 * to))
    return true
  }

  /** A prompt was computed there and its answer begins: it holds the first blocks of `keys`, one chain, until it is settled. */
  computed(keys: KeyLanes, wanted: number = keys.length >> 1): Claim {
    const order = this.#order
    const path = this.#pathOf(wanted)
    let ages = 0
    let held = 0
    let known = 0
    order.rewind()
    for (let last = -1; known < wanted; known++) {
      const entry = order.find(keys[2 * known]!, keys[2 * known + 1]!)
      if (entry < 0 || order.parent[entry] !== (known === 0 ? -1 : path[known - 1])) break
      path[known] = entry
      if (order.mark[entry] === 1) held = known + 1
      const bucket = order.refs[entry]! > 0 ? 0 : Evidence.bucketOf(this.#pinned + order.position(entry))
      if (bucket > last) {
        this.#ages[ages++] = known
        this.#ages[ages++] = bucket
        last = bucket
      }
    }
    for (let i = 0; i < known; i++) this.#pin(path[i]!)
    let count = known
    for (; count < wanted; count++) {
      const entry = order.add(keys[2 * count]!, keys[2 * count + 1]!, count === 0 ? -1 : path[count - 1]!)
      // Known in another place: these keys are not chained. What is behind it is left out.
      if (entry < 0) break
      order.mark[entry] = 1
      order.refs[entry] = 1
      path[count] = entry
    }
    // One more: the block that the end of the prompt and the beginning of the answer share.
    this.#pinned += count - known + 1
    this.#held += count - known + 1
    if (this.#pinned > this.#capacity) {
      this.#evidence.atLeast(this.#pinned)
      this.#capacity = Math.min(blocksMax, this.#pinned)
    }
    if (held < count) {
      this.#options.stored(held === 0 ? null : keys.slice(2 * held - 2, 2 * held), keys.slice(2 * held, 2 * count))
    }
    this.#trim()
    return {
      count,
      held,
      known,
      leaf: count === 0 ? -1 : path[count - 1]!,
      life: this.#life,
      ages: this.#ages.slice(0, ages)
    }
  }

  /** Its answer is over, however it ended: its blocks and the answer's are the youngest now. The report is learned from. */
  settled(claim: Claim, { estimated = false, outputBlocks, reportedBlocks }: Report): void {
    if (claim.life !== this.#life) return
    const order = this.#order
    // Whatever an engine says of its answer, it lay in its cache.
    const answerBlocks = Math.min(blocksMax, Math.max(1, outputBlocks ?? 1))
    this.#pinned--
    this.#held += answerBlocks - 1
    this.#release(order.addRoom(answerBlocks))
    for (let i = 0, entry = claim.leaf; i < claim.count; i++, entry = order.parent[entry]!) {
      if (--order.refs[entry]! > 0) continue
      this.#pinned--
      this.#release(entry)
    }
    if (reportedBlocks !== null) this.#learn(claim, reportedBlocks, estimated ? claim.known * estimateErrorMax : 1)
    this.#trim()
    this.#readmit()
  }

  #pathOf(count: number): Int32Array {
    if (this.#path.length < count) this.#path = new Int32Array(count * 2)
    return this.#path
  }

  /** One more request holds this block. */
  #pin(entry: number): void {
    const order = this.#order
    if (order.refs[entry]!++ > 0) return
    if (entry === this.#edge) this.#edge = order.newer[entry]!
    order.unlink(entry)
    this.#pinned++
    if (order.mark[entry] === 1) return
    order.mark[entry] = 1
    this.#held++
  }

  /** Nobody holds it any more: of those that may be evicted it is the youngest. */
  #release(entry: number): void {
    const order = this.#order
    order.append(entry)
    order.mark[entry] = 1
    if (this.#edge < 0) this.#edge = entry
  }

  #learn({ ages, known }: Claim, reportedBlocks: number, unsureBlocks: number): void {
    if (known === 0) return
    const found = Math.min(known, reportedBlocks)
    // The last token is always computed, and some engines give up one block more: that much missing says nothing.
    const missing = known - found <= Math.max(1, unsureBlocks) ? 0 : known - found
    const evidence = this.#evidence
    for (let i = 0; i < ages.length; i += 2) {
      const from = ages[i]!
      const to = i + 2 < ages.length ? ages[i + 2]! : known
      const bucket = ages[i + 1]!
      if (from < found) evidence.found(bucket, Math.min(to, found) - from)
      if (to > found && missing > 0) evidence.missing(bucket, to - Math.max(from, found))
    }
    evidence.learn()
    this.#capacity = Math.max(blocksMin, Math.min(blocksMax, evidence.capacityBlocks))
    this.#reports++
    this.#foundBlocks += found
    this.#missingBlocks += missing
  }

  #noEvidence(): Evidence.CacheEvidence {
    const likely = this.#toldBlocks === null ? untoldLarger * this.#startBlocks : this.#startBlocks
    return new Evidence.CacheEvidence(this.#startBlocks, Math.min(blocksMax, likely))
  }

  get #startBlocks(): number {
    const blocks = this.#toldBlocks ?? this.#options.untoldBlocks ?? untoldDefault
    return Math.max(blocksMin, Math.min(blocksMax, blocks))
  }

  /** Takes ghosts back as far as there is room. In list order a chain's blocks follow each other, head first. */
  #readmit(): void {
    const order = this.#order
    let entry = this.#edge < 0 ? order.newest : order.older[this.#edge]!
    while (entry >= 0 && this.#held + order.blocksOf(entry) <= this.#capacity) {
      const parent = order.parent[entry]!
      let count = 0
      let last = -1
      while (
        entry >= 0 &&
        !order.isRoom(entry) &&
        (count === 0 || order.parent[entry] === last) &&
        this.#held < this.#capacity
      ) {
        if (this.#path.length === count) this.#path = doubled(this.#path)
        this.#path[count++] = entry
        order.mark[entry] = 1
        this.#held++
        this.#edge = last = entry
        entry = order.older[entry]!
      }
      if (count === 0) {
        order.mark[entry] = 1
        this.#held += order.blocksOf(entry)
        this.#edge = entry
        entry = order.older[entry]!
      } else this.#options.stored(parent < 0 ? null : this.#keysOf(parent), this.#keysOfPath(0, count))
    }
  }

  #keysOf(entry: number): Int32Array {
    return Int32Array.of(this.#order.lo[entry]!, this.#order.hi[entry]!)
  }

  #keysOfPath(from: number, to: number): Int32Array {
    const { hi, lo } = this.#order
    const keys = new Int32Array(2 * (to - from))
    for (let i = from; i < to; i++) {
      keys[2 * (i - from)] = lo[this.#path[i]!]!
      keys[2 * (i - from) + 1] = hi[this.#path[i]!]!
    }
    return keys
  }

  /** Lets go what the capacity has no room for, and forgets ghosts beyond as many again. */
  #trim(): void {
    const order = this.#order
    let gone = 0
    for (
      let over = this.#held - this.#capacity, entry = this.#edge;
      over > 0 && entry >= 0;
      entry = order.newer[entry]!
    ) {
      over -= order.blocksOf(entry)
      gone++
    }
    if (gone > 0) {
      const keys = new Int32Array(2 * gone)
      let at = 0
      for (; gone > 0; gone--) {
        const entry = this.#edge
        order.mark[entry] = 0
        this.#held -= order.blocksOf(entry)
        this.#edge = order.newer[entry]!
        if (order.isRoom(entry)) continue
        keys[at++] = order.lo[entry]!
        keys[at++] = order.hi[entry]!
      }
      if (at > 0) this.#options.removed(keys.subarray(0, at))
    }
    const most = Math.max(2 * this.#capacity, this.#startBlocks)
    while (order.oldest >= 0 && this.#pinned + order.blocks > most) order.dropOldest()
  }
}

const doubled = (array: Int32Array): Int32Array<ArrayBuffer> => {
  const larger = new Int32Array(array.length * 2)
  larger.set(array)
  return larger
}
