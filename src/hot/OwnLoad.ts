/**
 * The requests that this replica has open, as it tells the others: every change once, in numbered deltas, and all of them
 * together when asked.
 *
 * A delta is told or lost, never kept: whoever missed one sees the hole and asks for the state. Bounded by what is open;
 * of states, keys beyond `stateKeysBytesMax` are left out.
 */
import * as LoadWire from "./LoadWire.ts"

export interface Request {
  /** `LoadWire.nameHash` of the worker. */
  readonly worker: number
  readonly promptTokens: number
  /** What the overlap with that worker saves, as in a ledger's ask. */
  readonly cachedTokens: number
  readonly streams: boolean
  readonly priority: number | null
  /** Copied. */
  readonly keys: Int32Array
}

interface Open extends LoadWire.Booked {
  active: boolean
  keys: Int32Array
}

const none = new Int32Array(0)
/** Keys of one state: what some hundred long prompts that wait for their first token have. */
const stateKeysBytesMax = 8 << 20

export class OwnLoad {
  readonly incarnation: number
  /** Number of the last delta. */
  sequence = 0
  digest = 0
  readonly #open = new Map<number, Open>()
  readonly #writer = new LoadWire.Writer()
  #lastId = 0

  constructor(incarnation: number) {
    this.incarnation = incarnation
  }

  get open(): number {
    return this.#open.size
  }

  /** Bytes of the delta that has not been taken yet; 0 when there is nothing to tell. */
  get pending(): number {
    return this.#writer.size - LoadWire.headerBytes
  }

  /** Its id. */
  book(request: Request): number {
    const id = (this.#lastId + 1) >>> 0
    this.#lastId = id
    const keys = request.keys.slice(0, 2 * LoadWire.keysMax)
    const open: Open = { ...request, id, active: false, keys }
    this.#open.set(id, open)
    this.digest = (this.digest + LoadWire.digestOf(id, false)) >>> 0
    this.#writer.booked(open)
    return id
  }

  firstByte(id: number): void {
    const open = this.#open.get(id)
    if (open === undefined || open.active) return
    open.active = true
    open.keys = none
    this.digest = (this.digest - LoadWire.digestOf(id, false) + LoadWire.digestOf(id, true)) >>> 0
    this.#writer.firstByte(id)
  }

  /** `computed`: its prompt is in the worker's cache, though no first token was seen. */
  settle(id: number, computed: boolean): void {
    const open = this.#open.get(id)
    if (open === undefined) return
    this.#open.delete(id)
    this.digest = (this.digest - LoadWire.digestOf(id, open.active)) >>> 0
    this.#writer.settled(id, computed)
  }

  /** The next delta; null when nothing has changed. */
  take(): Uint8Array | null {
    return this.pending === 0 ? null : this.#writer.take(LoadWire.DELTA, this.incarnation, ++this.sequence)
  }

  /** What changed is not told: nobody would hear it. As if told and lost. */
  skip(): void {
    if (this.pending === 0) return
    this.sequence++
    this.#writer.clear()
  }

  beat(): Uint8Array {
    return LoadWire.beat(this.incarnation, this.sequence, this.#open.size, this.digest)
  }

  /** All that is open after the last delta, in messages of at most about so many bytes. One at least. `take` first. */
  state(bytesMax: number): ReadonlyArray<Uint8Array> {
    const writer = new LoadWire.Writer()
    const messages: Array<Uint8Array> = []
    const end = () => messages.push(writer.take(LoadWire.STATE, this.incarnation, this.sequence))
    let keysBytes = 0
    for (const open of this.#open.values()) {
      const bytes = open.keys.byteLength
      if (writer.size + bytes > bytesMax && writer.size > LoadWire.headerBytes) end()
      const fits = keysBytes + bytes <= stateKeysBytesMax && bytes < bytesMax
      writer.booked(fits ? open : { ...open, keys: none })
      if (fits) keysBytes += bytes
    }
    end()
    return messages
  }
}
