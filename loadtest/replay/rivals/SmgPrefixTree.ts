/**
 * The prompts a router sent, as a tree, and to whom.
 *
 * A node is a block with all before it; workers own nodes. Each worker's nodes are in order of last use, a path with its
 * leaf first, so that what goes from the old end is always a leaf of that worker.
 *
 *     node ─▶ owner ─▶ owner ─▶ …            the first to have owned it comes first
 *               ╎ older, newer               one list per worker: what it was sent last is at the new end
 */
import * as BlockKey from "./BlockKey.ts"

const none = -1

export class SmgPrefixTree {
  /** Nodes owned, by worker. */
  readonly size: Int32Array
  /** First owner of a node. */
  readonly #nodes = new Map<number, number>()
  readonly #oldest: Int32Array
  readonly #newest: Int32Array
  /** By owner: its node's key, its worker, and its neighbours in both lists. Doubled when full. */
  #keys = new Float64Array(1024)
  #slots = new Uint16Array(1024)
  #next = new Int32Array(1024)
  #older = new Int32Array(1024)
  #newer = new Int32Array(1024)
  #used = 0
  #free = none

  constructor(workers: number) {
    this.size = new Int32Array(workers)
    this.#oldest = new Int32Array(workers).fill(none)
    this.#newest = new Int32Array(workers).fill(none)
  }

  /** Leading blocks that were sent to anybody. */
  match(keys: Int32Array, blocks: number): number {
    let depth = 0
    while (depth < blocks && this.#nodes.has(BlockKey.at(keys, depth))) depth++
    return depth
  }

  /** The worker that has owned a block for longest; −1 when nobody does. */
  firstOwner(keys: Int32Array, block: number): number {
    const owner = this.#nodes.get(BlockKey.at(keys, block))
    return owner === undefined ? none : this.#slots[owner]!
  }

  /** A worker was sent this prompt. */
  insert(slot: number, keys: Int32Array, blocks: number): void {
    for (let block = blocks - 1; block >= 0; block--) {
      const key = BlockKey.at(keys, block)
      let owner = this.#nodes.get(key) ?? none
      let last = none
      for (; owner !== none && this.#slots[owner] !== slot; owner = this.#next[owner]!) last = owner
      if (owner !== none) {
        this.#unlink(owner)
      } else {
        owner = this.#take()
        this.#keys[owner] = key
        this.#slots[owner] = slot
        this.#next[owner] = none
        if (last === none) this.#nodes.set(key, owner)
        else this.#next[last] = owner
        this.size[slot]!++
      }
      this.#link(owner)
    }
  }

  /** Takes from a worker what it was sent longest ago, until it owns at most `max` nodes. */
  evict(slot: number, max: number): void {
    while (this.size[slot]! > max) {
      const owner = this.#oldest[slot]!
      this.#unlink(owner)
      const key = this.#keys[owner]!
      const next = this.#next[owner]!
      let before = this.#nodes.get(key)!
      if (before === owner) {
        if (next === none) this.#nodes.delete(key)
        else this.#nodes.set(key, next)
      } else {
        while (this.#next[before] !== owner) before = this.#next[before]!
        this.#next[before] = next
      }
      this.#next[owner] = this.#free
      this.#free = owner
      this.size[slot]!--
    }
  }

  #link(owner: number): void {
    const slot = this.#slots[owner]!
    const newest = this.#newest[slot]!
    this.#older[owner] = newest
    this.#newer[owner] = none
    if (newest === none) this.#oldest[slot] = owner
    else this.#newer[newest] = owner
    this.#newest[slot] = owner
  }

  #unlink(owner: number): void {
    const slot = this.#slots[owner]!
    const older = this.#older[owner]!
    const newer = this.#newer[owner]!
    if (older === none) this.#oldest[slot] = newer
    else this.#newer[older] = newer
    if (newer === none) this.#newest[slot] = older
    else this.#older[newer] = older
  }

  #take(): number {
    const owner = this.#free
    if (owner !== none) {
      this.#free = this.#next[owner]!
      return owner
    }
    if (this.#used === this.#keys.length) this.#double()
    return this.#used++
  }

  #double(): void {
    const room = 2 * this.#used
    const doubled = (column: Int32Array) => {
      const larger = new Int32Array(room)
      larger.set(column)
      return larger
    }
    const keys = new Float64Array(room)
    keys.set(this.#keys)
    const slots = new Uint16Array(room)
    slots.set(this.#slots)
    this.#keys = keys
    this.#slots = slots
    this.#next = doubled(this.#next)
    this.#older = doubled(this.#older)
    this.#newer = doubled(this.#newer)
  }
}
