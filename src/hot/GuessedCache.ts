/**
 * What a worker probably holds, where its own events do not tell: the blocks of prompts it was given, as many as its
 * cache has room for, least recently used first out, the ends of prompts before their beginnings.
 *
 * Two map operations per block (some 0.2 µs); about 60 bytes each.
 */
export class GuessedCache {
  readonly blocksMax: number
  /** Low lane and 21 bits of the high one → the high lane; insertion order is age. Keys that share 53 bits are one. */
  readonly #blocks = new Map<number, number>()

  constructor(blocksMax: number) {
    this.blocksMax = blocksMax
  }

  get size(): number {
    return this.#blocks.size
  }

  /** The worker computed this chain of keys. Answers with the keys that had to go, two lanes each. */
  add(keys: Int32Array): Int32Array {
    const blocks = this.#blocks
    // From its end, so that its beginning is the youngest: an engine frees the ends of prompts first.
    for (let i = keys.length - 2; i >= 0; i -= 2) {
      const hi = keys[i + 1]!
      const name = (keys[i]! >>> 0) + (hi & 0x1f_ffff) * 2 ** 32
      blocks.delete(name)
      blocks.set(name, hi)
    }
    const gone = new Int32Array(Math.max(0, blocks.size - this.blocksMax) * 2)
    let at = 0
    for (const [name, hi] of blocks) {
      if (at === gone.length) break
      blocks.delete(name)
      gone[at++] = (name % 2 ** 32) | 0
      gone[at++] = hi
    }
    return gone
  }
}
