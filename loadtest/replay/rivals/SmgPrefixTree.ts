/**
 * The prompts a router sent, as a tree, and to whom.
 *
 * A node is a block with all before it; workers own nodes. Each worker's nodes are in order of last use, a path with its
 * leaf first, so that what goes from the old end is always a leaf of that worker.
 *
 *     node ─▶ owner ─▶ owner ─▶ …            the first to have owned it comes first
 *               ╎ older, newer               one list per worker: what it was sent last is at the new end
 */
import { BlockRows, lengthened } from "./BlockRows.ts"

const none = -1

export class SmgPrefixTree {
  /** Nodes owned, by worker. */
  readonly size: Int32Array
  readonly #nodes = new BlockRows()
  /** By node: its first owner. */
  #first = new Int32Array(0)
  readonly #oldest: Int32Array
  readonly #newest: Int32Array
  /** By owner: its node, its worker, and its neighbours in both lists. Doubled when full. */
  #node = new Int32Array(1024)
  #slot = new Int32Array(1024)
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
    while (depth < blocks && this.#nodes.find(keys, depth) >= 0) depth++
    return depth
  }

  /** The worker that has owned a block for longest; −1 when nobody does. */
  firstOwner(keys: Int32Array, block: number): number {
    const node = this.#nodes.find(keys, block)
    return node < 0 ? none : this.#slot[this.#first[node]!]!
  }

  /** A worker was sent this prompt. */
  insert(slot: number, keys: Int32Array, blocks: number): void {
    for (let block = blocks - 1; block >= 0; block--) {
      const known = this.#nodes.size
      const node = this.#nodes.add(keys, block)
      this.#first = lengthened(this.#first, this.#nodes.capacity)
      let owner = this.#nodes.size > known ? none : this.#first[node]!
      let last = none
      for (; owner !== none && this.#slot[owner] !== slot; owner = this.#next[owner]!) last = owner
      if (owner !== none) {
        this.#unlink(owner)
      } else {
        owner = this.#take()
        this.#node[owner] = node
        this.#slot[owner] = slot
        this.#next[owner] = none
        if (last === none) this.#first[node] = owner
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
      const node = this.#node[owner]!
      const next = this.#next[owner]!
      let before = this.#first[node]!
      if (before === owner) {
        this.#first[node] = next
        if (next === none) this.#nodes.remove(node)
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
    const slot = this.#slot[owner]!
    const newest = this.#newest[slot]!
    this.#older[owner] = newest
    this.#newer[owner] = none
    if (newest === none) this.#oldest[slot] = owner
    else this.#newer[newest] = owner
    this.#newest[slot] = owner
  }

  #unlink(owner: number): void {
    const slot = this.#slot[owner]!
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
    if (this.#used === this.#node.length) {
      const length = 2 * this.#used
      this.#node = lengthened(this.#node, length)
      this.#slot = lengthened(this.#slot, length)
      this.#next = lengthened(this.#next, length)
      this.#older = lengthened(this.#older, length)
      this.#newer = lengthened(this.#newer, length)
    }
    return this.#used++
  }
}
