import { IdTable } from "./IdTable.ts"

/**
 * Ids that name a block and all before it, from ids that may name only the block.
 *
 * Traces differ: Mooncake's ids name whole prefixes; a hash of each block alone stands in the same place for the same text
 * behind another prefix, which no engine could take from its cache. New ids count up from 0 in order of appearance.
 */
export class ChainedIds {
  /** By id, 1 + the new id it got at its first place. */
  readonly #first = new IdTable()
  /** By new id, 1 + the new id before it; 0 at the beginning of a prompt. */
  readonly #before = new IdTable()
  /** By old id and the new id before it: further places of ids seen elsewhere. */
  readonly #others = new Map<string, number>()
  #count = 0

  /** Of a prompt's leading blocks. */
  prompt(ids: ReadonlyArray<number>, count: number): Float64Array {
    const chained = new Float64Array(Math.min(count, ids.length))
    let before = -1
    for (let i = 0; i < chained.length; i++) {
      before = this.#next(before, ids[i]!)
      chained[i] = before
    }
    return chained
  }

  #next(before: number, id: number): number {
    const first = this.#first.get(id) - 1
    if (first === -1) {
      this.#first.set(id, this.#count + 1)
      return this.#add(before)
    }
    if (this.#before.get(first) === before + 1) return first
    const place = `${before} ${id}`
    const other = this.#others.get(place)
    if (other !== undefined) return other
    this.#others.set(place, this.#count)
    return this.#add(before)
  }

  #add(before: number): number {
    this.#before.set(this.#count, before + 1)
    return this.#count++
  }
}
