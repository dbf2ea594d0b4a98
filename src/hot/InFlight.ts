/**
 * Prefixes on their way: what a worker was sent and will soon hold. It raises overlaps, so that siblings that arrive
 * before the first of them is computed go where it went.
 *
 * An entry is a copy of the request's keys, chained from its first key. Keys are chained hashes: equal at block i means
 * equal before i. Entries lie in the order of a trie's leaves, so that those which begin alike are neighbours, and beside
 * each stands how many blocks it has in common with the one before and its first key after these:
 *
 *   entry     A B C D    A B C E    A B F    G H
 *   common        0          3        2       0
 *   branch        A          E        F       G
 *
 * A prompt is compared in one pass over these columns: what it has in common with an entry follows from what it had with
 * the one before, but where both branch off at the same block; there `branch` tells, and the keys are read only where it
 * agrees. Exact. O(entries) of a nanosecond or two. Bounded in entries and bytes; when full the oldest entry goes.
 *
 * An entry lives until `remove` (the request failed), or for a grace after `release` (its first token was seen, and the
 * engine's own events are on their way).
 */
export class InFlight {
  readonly entriesMax: number
  readonly bytesMax: number
  readonly graceMs: number
  /** Bytes of keys held. */
  bytes = 0
  size = 0
  /** Columns of the entries, in order. */
  readonly #ids: Float64Array
  readonly #slots: Int32Array
  readonly #common: Int32Array
  /** Low lane of the first key after the common ones; meaningless where the entry ends there. */
  readonly #branch: Int32Array
  readonly #keys: Array<Int32Array> = []
  /** Released entries in order of release, to be dropped when their grace is over. */
  readonly #releasedIds: Array<number> = []
  readonly #releasedMs: Array<number> = []
  #releasedFrom = 0
  #nextId = 1

  constructor(entriesMax = 4096, bytesMax = 32 << 20, graceMs = 2000) {
    this.entriesMax = entriesMax
    this.bytesMax = bytesMax
    this.graceMs = graceMs
    this.#ids = new Float64Array(entriesMax)
    this.#slots = new Int32Array(entriesMax)
    this.#common = new Int32Array(entriesMax)
    this.#branch = new Int32Array(entriesMax)
  }

  /** Notes that a worker was sent these `count` keys. The entry's id; 0 when there was nothing to note. */
  add(slot: number, keys: Int32Array, count: number): number {
    const bytes = count * 8
    if (count === 0 || bytes > this.bytesMax) return 0
    while (this.size >= this.entriesMax || this.bytes + bytes > this.bytesMax) this.#removeAt(this.#oldest())
    // After the last of those it has most in common with: what follows has less in common with them too.
    let most = 0
    let at = 0
    let common = 0
    for (let i = 0; i < this.size; i++) {
      common = this.#commonWith(i, common, keys, count)
      if (common >= most) {
        most = common
        at = i + 1
      }
    }
    this.#move(at, at + 1)
    const own = keys.slice(0, 2 * count)
    this.#keys.splice(at, 0, own)
    const id = this.#nextId++
    this.#ids[at] = id
    this.#slots[at] = slot
    this.#common[at] = most
    this.#branch[at] = most < count ? own[2 * most]! : 0
    this.size++
    this.bytes += bytes
    return id
  }

  /** Forgets an entry now. Unknown ids are ignored. */
  remove(id: number): void {
    const at = this.#ids.subarray(0, this.size).indexOf(id)
    if (at >= 0) this.#removeAt(at)
  }

  /** The first token was seen: the entry stays for the grace. */
  release(id: number, nowMs: number): void {
    if (id === 0) return
    this.#releasedIds.push(id)
    this.#releasedMs.push(nowMs)
  }

  /** Drops what was released longer ago than the grace. */
  sweep(nowMs: number): void {
    let from = this.#releasedFrom
    while (from < this.#releasedIds.length && nowMs - this.#releasedMs[from]! >= this.graceMs) {
      this.remove(this.#releasedIds[from++]!)
    }
    if (from > 1024 || from === this.#releasedIds.length) {
      this.#releasedIds.splice(0, from)
      this.#releasedMs.splice(0, from)
      from = 0
    }
    this.#releasedFrom = from
  }

  /** The worker left: nothing is on its way to it. */
  leave(slot: number): void {
    for (let i = this.size - 1; i >= 0; i--) if (this.#slots[i] === slot) this.#removeAt(i)
  }

  /**
   * Raises `tokens[slot]` to the leading blocks of this request that are on their way there, in tokens, at most `most`.
   * Allocates nothing.
   */
  raise(keys: Int32Array, count: number, blockSize: number, most: number, tokens: Uint32Array): void {
    const { size } = this
    const slots = this.#slots
    const commons = this.#common
    const branch = this.#branch
    let common = 0
    let coming = 0
    let next = count > 0 ? keys[0]! : 0
    for (let i = 0; i < size; i++) {
      const between = commons[i]!
      if (between < common || (between === common && branch[i] === next)) {
        common = this.#commonWith(i, common, keys, count)
        coming = Math.min(most, common * blockSize) | 0
        next = common < count ? keys[2 * common]! : 0
      }
      const slot = slots[i]!
      if (coming > (tokens[slot]! | 0)) tokens[slot] = coming
    }
  }

  /** Leading blocks that these keys have in common with entry `i`, given how many with the one before it. */
  #commonWith(i: number, before: number, keys: Int32Array, count: number): number {
    const common = this.#common[i]!
    if (common !== before) return common < before ? common : before
    const theirs = this.#keys[i]!
    // Equal below low; different at high, or past an end.
    let low = before
    let high = Math.min(count, theirs.length >> 1)
    if (low >= high || theirs[2 * low] !== keys[2 * low] || theirs[2 * low + 1] !== keys[2 * low + 1]) return low
    low++
    while (low < high) {
      const middle = (low + high) >>> 1
      if (theirs[2 * middle] === keys[2 * middle] && theirs[2 * middle + 1] === keys[2 * middle + 1]) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Ids only grow. */
  #oldest(): number {
    let at = 0
    for (let i = 1; i < this.size; i++) if (this.#ids[i]! < this.#ids[at]!) at = i
    return at
  }

  #removeAt(at: number): void {
    this.bytes -= this.#keys[at]!.length * 4
    // The next one is now compared with the one before: it branches off where either did first.
    const next = at + 1
    if (next < this.size && this.#common[at]! < this.#common[next]!) {
      this.#common[next] = this.#common[at]!
      this.#branch[next] = this.#branch[at]!
    }
    this.#move(next, at)
    this.#keys.splice(at, 1)
    this.size--
  }

  /** Moves the columns from entry `from` on to entry `to`. */
  #move(from: number, to: number): void {
    const { size } = this
    if (from === size) return
    this.#ids.copyWithin(to, from, size)
    this.#slots.copyWithin(to, from, size)
    this.#common.copyWithin(to, from, size)
    this.#branch.copyWithin(to, from, size)
  }
}
