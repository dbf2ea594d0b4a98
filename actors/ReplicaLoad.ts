/**
 * The requests that one other replica has open, as it tells of them, charged to this one's ledger.
 *
 * Deltas are applied in the order of their numbers, each once. After a hole, a message that cannot be read, or a beat that
 * does not agree, what comes is held until the state is here (`restore`); a hole closes by itself when what is missing
 * comes late. A new incarnation begins with nothing. A worker that is not known here is kept in mind and charged when it
 * joins. Pure but for the ledger it charges: time is the caller's.
 */
import * as LoadWire from "../src/hot/LoadWire.ts"
import type { Charged, Ledger } from "./Ledger.ts"

/** Open requests of one replica: what one process can have, and more than any has. */
export const openMax = 65_536
/** Messages held while the state is on its way: a second of them. */
const heldMax = 256
const heldBytesMax = 4 << 20
/** Keys of requests whose workers are not known: what is beyond is charged without. */
const strandedBytesMax = 4 << 20

export interface Deps {
  readonly charge: Ledger["Service"]["charge"]
  /** Slot of a worker by the hash of its name; undefined while it is not known here. */
  readonly slotOf: (worker: number) => number | undefined
}

interface Entry {
  request: LoadWire.Booked
  active: boolean
  /** Null while its worker is not known. */
  charged: Charged | null
}

const none = new Int32Array(0)

export class ReplicaLoad {
  incarnation = 0
  /** Of the last delta applied. */
  sequence = 0
  digest = 0
  /** The state is needed: what is known is not all, or in doubt. */
  broken = false
  heardMs = Number.NEGATIVE_INFINITY
  readonly counts = { applied: 0, duplicates: 0, gaps: 0, disagreed: 0, unreadable: 0, restored: 0, refused: 0 }
  readonly #deps: Deps
  readonly #entries = new Map<number, Entry>()
  /** Since when there was doubt, with no hole to close. */
  #doubt = false
  #held: Array<{ readonly sequence: number; readonly message: Uint8Array }> = []
  #heldBytes = 0
  #strandedBytes = 0

  constructor(deps: Deps) {
    this.#deps = deps
  }

  get open(): number {
    return this.#entries.size
  }

  /** A delta or a beat. Anything else is counted and passed over. */
  hear(message: Uint8Array, nowMs: number): void {
    const header = LoadWire.headerOf(message)
    if (header === null || header.kind === LoadWire.STATE) return void this.counts.unreadable++
    const { incarnation, kind, sequence } = header
    if (incarnation < this.incarnation) return void this.counts.duplicates++
    if (incarnation > this.incarnation) this.#begin(incarnation, nowMs)
    this.heardMs = nowMs
    if (kind === LoadWire.BEAT) return this.#check(message, sequence)
    if (sequence <= this.sequence) return void this.counts.duplicates++
    if (this.#doubt || sequence !== this.sequence + 1) {
      if (!this.broken) this.counts.gaps++
      this.broken = true
      return this.#hold(sequence, message)
    }
    this.#apply(sequence, message, nowMs)
    this.#drain(nowMs)
  }

  /** The state, whole, in its messages. One that is older than what is known is of no use. */
  restore(messages: ReadonlyArray<Uint8Array>, nowMs: number): void {
    const headers = messages.map(LoadWire.headerOf)
    const first = headers[0]
    const isOne = headers.every(
      (each) =>
        each?.kind === LoadWire.STATE && each.incarnation === first?.incarnation && each.sequence === first.sequence
    )
    if (first === undefined || first === null || !isOne) return void this.counts.unreadable++
    if (first.incarnation < this.incarnation) return
    const begins = first.incarnation > this.incarnation
    if (begins) this.#begin(first.incarnation, nowMs)
    if (!(this.broken || begins) || first.sequence < this.sequence) return
    const told = new Map<number, LoadWire.Booked>()
    let whole = true
    for (const message of messages) {
      whole =
        LoadWire.read(message, { booked: (each) => told.set(each.id, each), firstByte() {}, settled() {} }) && whole
    }
    if (!whole) return void this.counts.unreadable++
    this.heardMs = nowMs
    // How they ended is not known; most end well.
    for (const id of [...this.#entries.keys()]) if (!told.has(id)) this.#settled(id, true, nowMs)
    for (const request of told.values()) {
      const known = this.#entries.get(request.id)
      if (known === undefined) this.#booked(request, nowMs)
      else if (request.active) this.#firstByte(request.id, nowMs)
    }
    this.sequence = first.sequence
    this.broken = this.#doubt = false
    this.counts.restored++
    this.#drain(nowMs)
  }

  /** It is not heard any more: all of it is forgotten, its incarnation too. When it is, its state is needed. */
  expire(nowMs: number): void {
    this.#begin(0, nowMs)
  }

  /** A worker is known here, from now on: what was sent to it is charged. */
  join(worker: number, slot: number, nowMs: number): void {
    for (const entry of this.#entries.values()) {
      if (entry.request.worker !== worker) continue
      const { active, request } = entry
      entry.charged = this.#deps.charge(slot, { ...request, active }, nowMs)
      this.#unstrand(entry)
    }
  }

  /** A worker is not known here any more; the ledger has forgotten what it was given. */
  leave(worker: number): void {
    for (const entry of this.#entries.values()) if (entry.request.worker === worker) entry.charged = null
  }

  #begin(incarnation: number, nowMs: number): void {
    for (const id of [...this.#entries.keys()]) this.#settled(id, false, nowMs)
    this.#release()
    this.incarnation = incarnation
    this.sequence = this.digest = 0
    this.broken = this.#doubt = false
  }

  /** A beat: what it knows beyond what was heard was lost, and at the same number both must have the same open. */
  #check(message: Uint8Array, sequence: number): void {
    if (this.broken || sequence < this.sequence) return
    if (sequence > this.sequence) {
      this.counts.gaps++
      this.broken = true
      return
    }
    const { digest, open } = LoadWire.openOf(message)
    if (digest === this.digest && open === this.open) return
    if (open > openMax) return
    this.counts.disagreed++
    this.broken = this.#doubt = true
  }

  #hold(sequence: number, message: Uint8Array): void {
    if (this.#held.length >= heldMax || this.#heldBytes + message.length > heldBytesMax) this.#release()
    if (this.#held.some((held) => held.sequence === sequence)) return
    this.#held.push({ sequence, message })
    this.#heldBytes += message.length
  }

  #release(): void {
    this.#held = []
    this.#heldBytes = 0
  }

  /** What was held and is next; none left over, all is well. */
  #drain(nowMs: number): void {
    if (this.#held.length > 0) {
      const held = this.#held.sort((a, b) => a.sequence - b.sequence)
      this.#release()
      for (const { message, sequence } of held) {
        if (sequence === this.sequence + 1 && !this.#doubt) this.#apply(sequence, message, nowMs)
        else if (sequence > this.sequence) this.#hold(sequence, message)
      }
    }
    this.broken = this.#doubt || this.#held.length > 0
  }

  #apply(sequence: number, message: Uint8Array, nowMs: number): void {
    const whole = LoadWire.read(message, {
      booked: (request) => this.#booked(request, nowMs),
      firstByte: (id) => this.#firstByte(id, nowMs),
      settled: (id, computed) => this.#settled(id, computed, nowMs)
    })
    this.sequence = sequence
    this.counts.applied++
    if (whole) return
    this.counts.unreadable++
    this.broken = this.#doubt = true
  }

  #booked(request: LoadWire.Booked, nowMs: number): void {
    const { active, id, keys, worker } = request
    if (this.#entries.has(id)) return
    if (this.#entries.size >= openMax) return void this.counts.refused++
    this.digest = (this.digest + LoadWire.digestOf(id, active)) >>> 0
    const slot = this.#deps.slotOf(worker)
    const charged = slot === undefined ? null : this.#deps.charge(slot, request, nowMs)
    const keeps = charged === null && this.#strandedBytes + keys.byteLength <= strandedBytesMax
    if (keeps) this.#strandedBytes += keys.byteLength
    this.#entries.set(id, { request: keeps ? request : { ...request, keys: none }, active, charged })
  }

  #firstByte(id: number, nowMs: number): void {
    const entry = this.#entries.get(id)
    if (entry === undefined || entry.active) return
    entry.active = true
    this.digest = (this.digest - LoadWire.digestOf(id, false) + LoadWire.digestOf(id, true)) >>> 0
    entry.charged?.firstByte(nowMs)
    this.#unstrand(entry)
  }

  #settled(id: number, computed: boolean, nowMs: number): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    this.#entries.delete(id)
    this.digest = (this.digest - LoadWire.digestOf(id, entry.active)) >>> 0
    entry.charged?.settle(nowMs, computed)
    this.#unstrand(entry)
  }

  #unstrand(entry: Entry): void {
    this.#strandedBytes -= entry.request.keys.byteLength
    entry.request = { ...entry.request, keys: none }
  }
}
