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
 * agrees. Exact. O(entries) of a nanosecond or two. Bounded in entries and bytes; when full the oldest go.
 *
 * An entry lives until `remove` (the request failed), or for a grace after `release` (its first token was seen, and the
 * engine's own events are on their way). From then on it raises nothing, and `sweep` takes it out with others in one pass:
 * now and then as entries are added, so that no placement waits for it.
 */
export class InFlight {
  readonly entriesMax: number
  readonly bytesMax: number
  readonly graceMs: number
  /** Bytes of keys held, and entries: those that are over count until they are swept. */
  bytes = 0
  size = 0
  /** Columns of the entries, in order. */
  readonly #ids: Float64Array
  readonly #slots: Int32Array
  readonly #common: Int32Array
  /** Low lane of the first key after the common ones; meaningless where the entry ends there. */
  readonly #branch: Int32Array
  /** When it was released; Infinity: not yet, -Infinity: it is forgotten. */
  readonly #releasedMs: Float64Array
  readonly #keys: Array<Int32Array> = []
  #sweptMs = -Infinity
  #nextId = 1

  constructor(entriesMax = 4096, bytesMax = 32 << 20, graceMs = 2000) {
    this.entriesMax = entriesMax
    this.bytesMax = bytesMax
    this.graceMs = graceMs
    this.#ids = new Float64Array(entriesMax)
    this.#slots = new Int32Array(entriesMax)
    this.#common = new Int32Array(entriesMax)
    this.#branch = new Int32Array(entriesMax)
    this.#releasedMs = new Float64Array(entriesMax)
  }

  /** Notes that a worker was sent these `count` keys. The entry's id; 0 when there was nothing to note. */
  add(slot: number, keys: Int32Array, count: number, nowMs: number): number {
    const bytes = count * 8
    if (count === 0 || bytes > this.bytesMax) return 0
    const isFull = () => this.size >= this.entriesMax || this.bytes + bytes > this.bytesMax
    if (nowMs - this.#sweptMs >= this.graceMs * sweepShare || isFull()) this.sweep(nowMs)
    while (isFull()) {
      this.#forgetOldest()
      this.sweep(nowMs)
    }
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
    for (const column of [this.#ids, this.#slots, this.#common, this.#branch, this.#releasedMs]) {
      column.copyWithin(at + 1, at, this.size)
    }
    const own = keys.slice(0, 2 * count)
    this.#keys.splice(at, 0, own)
    const id = this.#nextId++
    this.#ids[at] = id
    this.#slots[at] = slot
    this.#common[at] = most
    this.#branch[at] = most < count ? own[2 * most]! : 0
    this.#releasedMs[at] = Infinity
    this.size++
    this.bytes += bytes
    return id
  }

  /** Forgets an entry now. Unknown ids are ignored. */
  remove(id: number): void {
    this.release(id, -Infinity)
  }

  /** The first token was seen: the entry stays for the grace. Unknown ids are ignored. */
  release(id: number, nowMs: number): void {
    const at = this.#ids.subarray(0, this.size).indexOf(id)
    // What is forgotten stays so.
    if (at >= 0 && nowMs < this.#releasedMs[at]!) this.#releasedMs[at] = nowMs
  }

  /** The worker left: nothing is on its way to it. */
  leave(slot: number): void {
    for (let i = 0; i < this.size; i++) if (this.#slots[i] === slot) this.#releasedMs[i] = -Infinity
  }

  /** Takes out what is forgotten, or was released longer ago than the grace. O(entries). */
  sweep(nowMs: number): void {
    const { graceMs, size } = this
    const ids = this.#ids
    const slots = this.#slots
    const commons = this.#common
    const branches = this.#branch
    const releasedMs = this.#releasedMs
    const keys = this.#keys
    let to = 0
    let common = blocksMax
    let branch = 0
    for (let i = 0; i < size; i++) {
      // What it has in common with the last one that stays: it branches off where any between them did first.
      if (commons[i]! <= common) {
        common = commons[i]!
        branch = branches[i]!
      }
      if (!(nowMs - releasedMs[i]! < graceMs)) {
        this.bytes -= keys[i]!.length * 4
        continue
      }
      ids[to] = ids[i]!
      slots[to] = slots[i]!
      commons[to] = common
      branches[to] = branch
      releasedMs[to] = releasedMs[i]!
      keys[to++] = keys[i]!
      common = blocksMax
    }
    this.size = keys.length = to
    this.#sweptMs = nowMs
  }

  /**
   * Raises `tokens[slot]` to the leading blocks of this request that are on their way there, in tokens, at most `most`.
   * Changes nothing else, allocates nothing.
   */
  raise(keys: Int32Array, count: number, blockSize: number, most: number, nowMs: number, tokens: Uint32Array): void {
    const { graceMs, size } = this
    const slots = this.#slots
    const commons = this.#common
    const branch = this.#branch
    const releasedMs = this.#releasedMs
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
      if (coming > (tokens[slot]! | 0) && nowMs - releasedMs[i]! < graceMs) tokens[slot] = coming
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

  /** The sixteenth that came first, and at least one: a sweep for each would be most of the work of a full table. */
  #forgetOldest(): void {
    const ids = this.#ids.subarray(0, this.size)
    // Ids only grow.
    const last = ids.slice().sort()[this.size >> 4]!
    for (let i = 0; i < this.size; i++) if (ids[i]! <= last) this.#releasedMs[i] = -Infinity
  }
}

/** Share of the grace after which entries are swept again: as many of them may be over. */
const sweepShare = 1 / 16

/** More than any entry has: a prompt's keys are far fewer. */
const blocksMax = 0x7fffffff
