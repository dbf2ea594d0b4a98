/**
 * NodeNames: who is entered in a node table, under which tenures, kept in its memory so that a restart finds it.
 *
 * Of each name a KiB: checksum, seconds of its last entry, tenures | bytes of the name << 16, tenures, the name. A name whose
 * bytes are torn is forgotten, and what was written under its tenures with it.
 */
import { crc32c } from "./Crc32c.ts"
import { tenureMax } from "./PieceNode.ts"

export const namesMax = 4_096
const slotWords = 256
const tenuresAt = 3
const nameAt = 64
const nameBytesMax = 4 * (slotWords - nameAt)
/** Of one name. An engine that restarts oftener before it settles loses its oldest. */
const tenuresMax = nameAt - tenuresAt
const encoder = new TextEncoder()
const decoder = new TextDecoder()

export interface Entered {
  readonly name: string
  readonly slot: number
  readonly tenures: Array<number>
  enteredS: number
}

export class NodeNames {
  /** Every change is another version. */
  version = 0
  /** Another one when a slot was given to a name. */
  slotVersion = 0
  tenureNext: number
  private readonly words: Int32Array
  private readonly byName = new Map<string, Entered>()
  private readonly byTenure = new Map<number, number>()
  private readonly slots: Array<Entered | null> = new Array(namesMax).fill(null)

  /** `words`: 4 096 slots, of an earlier life or zero. */
  constructor(words: Int32Array, tenureNext: number) {
    this.words = words
    this.tenureNext = tenureNext
    for (let slot = 0; slot < namesMax; slot++) {
      const entered = this.load(slot)
      if (entered === null || this.byName.has(entered.name)) words.fill(0, slot * slotWords, (slot + 1) * slotWords)
      else this.add(entered)
    }
  }

  /** Who has a slot; null when nobody has. */
  at(slot: number): Entered | null {
    return this.slots[slot] ?? null
  }

  get size(): number {
    return this.byName.size
  }

  all(): Iterable<Entered> {
    return this.byName.values()
  }

  /** Slot of the name of a tenure; undefined when it does not count. */
  slotOf(tenure: number): number | undefined {
    return this.byTenure.get(tenure)
  }

  /** A new tenure of a name, `atLeast` that number; null when there is no room for the name or no number. */
  enter(name: string, atLeast: number, nowS: number): number | null {
    const tenure = Math.max(this.tenureNext, atLeast)
    const bytes = encoder.encode(name)
    if (tenure > tenureMax || bytes.length === 0 || bytes.length > nameBytesMax) return null
    let entered = this.byName.get(name)
    if (entered === undefined) {
      const slot = this.slots.indexOf(null)
      if (slot < 0) return null
      entered = { name, slot, tenures: [], enteredS: nowS }
      this.slotVersion++
      this.add(entered)
    }
    this.tenureNext = tenure + 1
    entered.tenures.push(tenure)
    this.byTenure.set(tenure, entered.slot)
    if (entered.tenures.length > tenuresMax) this.byTenure.delete(entered.tenures.shift()!)
    entered.enteredS = nowS
    this.store(entered, bytes)
    return tenure
  }

  settle(name: string, tenure: number): boolean {
    const entered = this.byName.get(name)
    if (entered?.tenures.at(-1) !== tenure) return false
    for (const earlier of entered.tenures.splice(0, entered.tenures.length - 1)) this.byTenure.delete(earlier)
    this.store(entered, encoder.encode(name))
    return true
  }

  leave(name: string, tenure: number): void {
    const entered = this.byName.get(name)
    if (entered !== undefined && entered.tenures.at(-1)! <= tenure) this.forget(entered)
  }

  /** Names that nobody has entered since then have nobody who writes for them. Returns how many went. */
  expire(beforeS: number): number {
    const old = Array.from(this.byName.values()).filter(({ enteredS }) => enteredS < beforeS)
    for (const entered of old) this.forget(entered)
    return old.length
  }

  private add(entered: Entered): void {
    this.byName.set(entered.name, entered)
    this.slots[entered.slot] = entered
    for (const tenure of entered.tenures) {
      this.byTenure.set(tenure, entered.slot)
      this.tenureNext = Math.max(this.tenureNext, tenure + 1)
    }
  }

  private forget(entered: Entered): void {
    this.byName.delete(entered.name)
    this.slots[entered.slot] = null
    for (const tenure of entered.tenures) this.byTenure.delete(tenure)
    this.words.fill(0, entered.slot * slotWords, (entered.slot + 1) * slotWords)
    this.version++
  }

  private store({ enteredS, slot, tenures }: Entered, name: Uint8Array): void {
    const at = slot * slotWords
    const { words } = this
    words.fill(0, at, at + slotWords)
    words[at + 1] = enteredS
    words[at + 2] = tenures.length | (name.length << 16)
    words.set(tenures, at + tenuresAt)
    new Uint8Array(words.buffer, words.byteOffset + 4 * (at + nameAt), nameBytesMax).set(name)
    words[at] = crc32c(words, at + 1, at + slotWords)
    this.version++
  }

  private load(slot: number): Entered | null {
    const { words } = this
    const at = slot * slotWords
    const count = words[at + 2]! & 0xffff
    const bytes = words[at + 2]! >>> 16
    if (count === 0 || count > tenuresMax || bytes > nameBytesMax) return null
    if (words[at] !== crc32c(words, at + 1, at + slotWords)) return null
    const name = decoder.decode(new Uint8Array(words.buffer, words.byteOffset + 4 * (at + nameAt), bytes))
    const tenures = Array.from(words.subarray(at + tenuresAt, at + tenuresAt + count))
    return { name, slot, tenures, enteredS: words[at + 1]! }
  }
}
