/** Whole numbers by id; 0 where none was set. Ids are most often counted up from 0, and an array is ten times a Map's speed. */
export class IdTable {
  #small = new Int32Array(1024)
  readonly #others = new Map<number, number>()

  get(id: number): number {
    return (isSmall(id) ? this.#small[id] : this.#others.get(id)) ?? 0
  }

  set(id: number, value: number): void {
    if (!isSmall(id)) {
      this.#others.set(id, value)
      return
    }
    if (id >= this.#small.length) {
      const grown = new Int32Array(Math.max(2 * this.#small.length, id + 1))
      grown.set(this.#small)
      this.#small = grown
    }
    this.#small[id] = value
  }
}

/** Ids that have a place in the array: 128 MB of them at most. */
const smallMax = 2 ** 25

const isSmall = (id: number): boolean => id >= 0 && id < smallMax && Number.isInteger(id)
