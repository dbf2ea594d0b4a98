/**
 * What somebody remembers of one cache: stretches of chains in no order, put into the order in which the cache used them.
 *
 * A stretch is as young as the youngest that hangs on it, since whoever used that used all before it. So, from young to
 * old and of equals from the beginning of a chain to its end, no stretch comes before the one it hangs on. The end of a
 * stretch that another branches off in its middle passes for as young as its beginning.
 *
 * Pure. 8 bytes a block and some 60 a stretch; all steps are linear, and `order` stops between slices of work.
 */
import type { KeyLanes } from "../domain/Block.ts"

const NONE = -1
/** Blocks before a stretch that count: what lies deeper in its chain is not remembered. A prompt of 16 million tokens. */
const depthMax = 1 << 20
/** Seconds that are told apart: what is older than the youngest by more is the oldest. Twelve days. */
const agesMax = 1 << 20

export class Recollection {
  /** Seconds since 1970 when the first and the last of it were written. */
  oldest = Number.POSITIVE_INFINITY
  youngest = 0
  blocks = 0
  #keys = new Int32Array(256)
  /** For each stretch: its first block, how many, how many come before it in its chain, when it was written. */
  readonly #from: Array<number> = []
  readonly #count: Array<number> = []
  readonly #depth: Array<number> = []
  readonly #touched: Array<number> = []
  /** Two lanes each; 0 0 at the start of a chain. */
  readonly #parents: Array<number> = []

  get stretches(): number {
    return this.#from.length
  }

  /** Keys `from` to `to` of some, which follow each other in a chain; `depth` blocks come before them, the last is `parent`. */
  add(parent: KeyLanes | null, keys: KeyLanes, from: number, to: number, depth: number, touched: number): void {
    if (depth >= depthMax || to <= from) return
    const at = this.blocks
    this.blocks += to - from
    if (this.#keys.length < 2 * this.blocks) {
      const larger = new Int32Array(4 * this.blocks)
      larger.set(this.#keys)
      this.#keys = larger
    }
    this.#keys.set(keys.subarray(2 * from, 2 * to), 2 * at)
    this.#from.push(at)
    this.#count.push(to - from)
    this.#depth.push(depth)
    this.#touched.push(touched)
    this.#parents.push(parent === null ? 0 : parent[0]!, parent === null ? 0 : parent[1]!)
    if (touched < this.oldest) this.oldest = touched
    if (touched > this.youngest) this.youngest = touched
  }

  /** What a stretch hangs on; null at the start of a chain. */
  parentOf(stretch: number): KeyLanes | null {
    const lo = this.#parents[2 * stretch]!
    const hi = this.#parents[2 * stretch + 1]!
    return lo === 0 && hi === 0 ? null : Int32Array.of(lo, hi)
  }

  /** A view: to be read only. */
  keysOf(stretch: number): KeyLanes {
    const from = this.#from[stretch]!
    return this.#keys.subarray(2 * from, 2 * (from + this.#count[stretch]!))
  }

  /** Stretches in order. Yields after each `slice` steps, of some 10 ns; what it returns is the order. */
  *order(slice: number): Generator<void, Int32Array> {
    const stretches = this.stretches
    const byDepth = yield* ranked(slice, undefined, stretches, (i) => this.#depth[i]!)
    const hangsOn = yield* this.#links(slice)
    const ages = Float64Array.from(this.#touched)
    for (let i = stretches - 1; i >= 0; i--) {
      const stretch = byDepth[i]!
      const before = hangsOn[stretch]!
      if (before !== NONE && ages[before]! < ages[stretch]!) ages[before] = ages[stretch]!
      if (i % slice === 0) yield
    }
    const { youngest } = this
    return yield* ranked(slice, byDepth, stretches, (i) => Math.min(agesMax - 1, youngest - ages[i]!))
  }

  /** For each stretch the one that its parent lies in, or `NONE`: a table of all parents, in which every key is looked up. */
  *#links(slice: number): Generator<void, Int32Array> {
    const parents = this.#parents
    const stretches = this.stretches
    let size = 16
    while (size < 2 * stretches) size *= 2
    /** One more than the first stretch that hangs on this key, and for each the next of the same; 0 for none. */
    const slots = new Int32Array(size)
    const next = new Int32Array(stretches)
    const placeOf = (lo: number, hi: number): number => {
      let place = (lo ^ Math.imul(hi, 0x9e3779b1)) & (size - 1)
      for (; slots[place] !== 0; place = (place + 1) & (size - 1)) {
        const other = 2 * (slots[place]! - 1)
        if (parents[other] === lo && parents[other + 1] === hi) break
      }
      return place
    }
    for (let i = 0; i < stretches; i++) {
      const lo = parents[2 * i]!
      const hi = parents[2 * i + 1]!
      if (lo !== 0 || hi !== 0) {
        const place = placeOf(lo, hi)
        next[i] = slots[place]!
        slots[place] = i + 1
      }
      if (i % slice === 0) yield
    }
    const links = new Int32Array(stretches).fill(NONE)
    for (let stretch = 0, steps = 0; stretch < stretches; stretch++) {
      const from = this.#from[stretch]!
      const to = from + this.#count[stretch]!
      for (let i = from; i < to; i++) {
        let on = slots[placeOf(this.#keys[2 * i]!, this.#keys[2 * i + 1]!)]!
        for (; on !== 0; on = next[on - 1]!) {
          // What is not deeper does not hang on it, whatever its keys say.
          if (this.#depth[on - 1]! > this.#depth[stretch]!) links[on - 1] = stretch
        }
        if (++steps % slice === 0) yield
      }
    }
    return links
  }
}

/** Indices by rank, the lowest first, equals in the order they had. Ranks are whole numbers below a million or so. */
function* ranked(
  slice: number,
  given: Int32Array | undefined,
  count: number,
  rankOf: (index: number) => number
): Generator<void, Int32Array> {
  let most = 0
  for (let i = 0; i < count; i++) {
    most = Math.max(most, rankOf(i))
    if (i % slice === 0) yield
  }
  const ends = new Int32Array(most + 2)
  for (let i = 0; i < count; i++) {
    ends[rankOf(i) + 1]!++
    if (i % slice === 0) yield
  }
  for (let rank = 1; rank < ends.length; rank++) ends[rank]! += ends[rank - 1]!
  const sorted = new Int32Array(count)
  for (let i = 0; i < count; i++) {
    const index = given === undefined ? i : given[i]!
    sorted[ends[rankOf(index)]!++] = index
    if (i % slice === 0) yield
  }
  return sorted
}
