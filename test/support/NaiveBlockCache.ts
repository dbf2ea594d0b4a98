/** The ten-line twin of the simulated engine's block cache: lists and searches instead of links and maps. */
export class NaiveBlockCache {
  /** Blocks nobody holds, the next to be reused first. */
  readonly free: Array<number>
  readonly refs: Array<number>
  /** What each block holds. */
  readonly keys: Array<string | null>
  /** Blocks in the order they were committed. */
  readonly age: Array<number> = []
  readonly evicted: Array<string> = []

  constructor(blocks: number) {
    this.free = Array.from({ length: blocks }, (_, block) => block)
    this.refs = this.free.map(() => 0)
    this.keys = this.free.map(() => null)
  }

  holders(key: string): Array<number> {
    return this.age.filter((block) => this.keys[block] === key)
  }

  touch(block: number): void {
    if (this.refs[block]!++ === 0) this.free.splice(this.free.indexOf(block), 1)
  }

  allocate(): number {
    const block = this.free.shift()
    if (block === undefined) return -1
    this.refs[block] = 1
    const key = this.keys[block]!
    if (key !== null) {
      this.evicted.push(key)
      this.keys[block] = null
      this.age.splice(this.age.indexOf(block), 1)
    }
    return block
  }

  commit(block: number, key: string): void {
    this.keys[block] = key
    this.age.push(block)
  }

  release(blocks: ReadonlyArray<number>): void {
    for (const block of [...blocks].reverse()) if (--this.refs[block]! === 0) this.free.push(block)
  }
}
