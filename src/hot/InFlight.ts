/**
 * Prefixes on their way: what a worker was sent and will soon hold. It raises overlaps, so that siblings that arrive
 * before the first of them is computed go where it went.
 *
 * An entry is a copy of the request's keys, chained from its first key. Keys are chained hashes: equal at block i means
 * equal before i. So an entry whose key differs at the depth a worker already has cannot raise it (one probe), and the
 * common length is found by bisection. Exact. Bounded in entries and bytes; when full the oldest entry goes.
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
  /** Entries by id: insertion order is age. */
  readonly #entries = new Map<number, Entry>()
  /** First key's low lane → newest entry that starts with it. */
  readonly #heads = new Map<number, Entry>()
  /** Released entries in order of release, to be dropped when their grace is over. */
  readonly #releasedIds: Array<number> = []
  readonly #releasedMs: Array<number> = []
  #releasedFrom = 0
  #nextId = 1

  constructor(entriesMax = 4096, bytesMax = 32 << 20, graceMs = 2000) {
    this.entriesMax = entriesMax
    this.bytesMax = bytesMax
    this.graceMs = graceMs
  }

  get size(): number {
    return this.#entries.size
  }

  /** Notes that a worker was sent these `count` keys. The entry's id; 0 when there was nothing to note. */
  add(slot: number, keys: Int32Array, count: number): number {
    const bytes = count * 8
    if (count === 0 || bytes > this.bytesMax) return 0
    while (this.#entries.size >= this.entriesMax || this.bytes + bytes > this.bytesMax) {
      for (const oldest of this.#entries.keys()) {
        this.remove(oldest)
        break
      }
    }
    const lo = keys[0]!
    const head = this.#heads.get(lo) ?? null
    const entry: Entry = { slot, count, keys: keys.slice(0, 2 * count), older: head, newer: null }
    if (head !== null) head.newer = entry
    this.#heads.set(lo, entry)
    const id = this.#nextId++
    this.#entries.set(id, entry)
    this.bytes += bytes
    return id
  }

  /** Forgets an entry now. Unknown ids are ignored. */
  remove(id: number): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    this.#entries.delete(id)
    this.bytes -= entry.count * 8
    const { newer, older } = entry
    if (older !== null) older.newer = newer
    if (newer !== null) newer.older = older
    else if (older !== null) this.#heads.set(entry.keys[0]!, older)
    else this.#heads.delete(entry.keys[0]!)
  }

  /** The first token was seen: the entry stays for the grace. */
  release(id: number, nowMs: number): void {
    if (!this.#entries.has(id)) return
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
    for (const [id, entry] of this.#entries) {
      if (entry.slot === slot) this.remove(id)
    }
  }

  /** Raises `depthBlocks[slot]` to the leading blocks of this request that are on their way there. Allocates nothing. */
  raise(keys: Int32Array, count: number, depthBlocks: Uint32Array): void {
    if (count === 0) return
    let entry = this.#heads.get(keys[0]!) ?? null
    for (; entry !== null; entry = entry.older) {
      const depth = depthBlocks[entry.slot]!
      const both = count < entry.count ? count : entry.count
      const theirs = entry.keys
      if (both <= depth || theirs[2 * depth] !== keys[2 * depth] || theirs[2 * depth + 1] !== keys[2 * depth + 1]) {
        continue
      }
      // Equal at low − 1, different at high (or past the end).
      let low = depth + 1
      let high = both
      while (low < high) {
        const middle = (low + high) >>> 1
        if (theirs[2 * middle] === keys[2 * middle] && theirs[2 * middle + 1] === keys[2 * middle + 1]) low = middle + 1
        else high = middle
      }
      depthBlocks[entry.slot] = low
    }
  }
}

interface Entry {
  readonly slot: number
  readonly count: number
  readonly keys: Int32Array
  /** Entries with the same first key, by age. */
  older: Entry | null
  newer: Entry | null
}
