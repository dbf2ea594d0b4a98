/**
 * What replicas tell each other of the requests they have open, as bytes.
 *
 *   message   version u8 · kind u8 · incarnation f64 · sequence f64 · then
 *   delta     changes of one turn, numbered from 1 without holes by the replica that tells them
 *   state     all that is open after the delta of that number, as `booked` changes; one of several messages
 *   beat      open u32 · digest u32 as they are after the delta of that number
 *
 *   booked    1 u8 · flags u8 · id u32 · worker f64 · prompt tokens u32 · of them cached u32 · [priority f64]
 *             · keys u16 · 8 bytes each
 *   first     2 u8 · id u32
 *   settled   3 u8 · flags u8 · id u32
 *
 * All little endian. Flags of `booked`: 1 streams, 2 has a priority, 4 its first token was seen (then without keys); of
 * `settled`: 1 computed. A worker is the hash of its name (`nameHash`), so that no message needs another to be read. An
 * incarnation is one life of a replica: the greater is the later.
 */
import { createHash } from "node:crypto"

export const version = 1
export const DELTA = 1
export const STATE = 2
export const BEAT = 3

export type Kind = typeof DELTA | typeof STATE | typeof BEAT

/** A request as it travels. */
export interface Booked {
  readonly id: number
  /** `nameHash` of the worker. */
  readonly worker: number
  readonly promptTokens: number
  /** What the overlap with that worker saves, as in a ledger's ask. */
  readonly cachedTokens: number
  readonly streams: boolean
  readonly priority: number | null
  /** Its first token was seen. */
  readonly active: boolean
  /** Two lanes a key, none of one that is active. */
  readonly keys: Int32Array
}

export interface Header {
  readonly kind: Kind
  readonly incarnation: number
  readonly sequence: number
}

/** What a message is read into. */
export interface Hears {
  readonly booked: (request: Booked) => void
  readonly firstByte: (id: number) => void
  readonly settled: (id: number, computed: boolean) => void
}

export const headerBytes = 18
const bookedBytes = 24
/** Keys of one request that are told at most: 64 KiB, a prompt of 131 072 tokens in blocks of 16. */
export const keysMax = 8_192

const none = new Int32Array(0)
const limit32 = 2 ** 32 - 1
const whole32 = (value: number): number => Math.min(limit32, Math.max(0, Math.round(value)))

/** 53 bits of SHA-256: of a thousand workers any two are alike by a chance of 1 in 10^10. */
export const nameHash = (name: string): number => {
  const digest = createHash("sha256").update(name).digest()
  return (digest.readUInt32LE(0) & 0x1fffff) * 2 ** 32 + digest.readUInt32LE(4)
}

/** What one open request adds to a digest, which is their sum modulo 2^32: MurmurHash3's finaliser. */
export const digestOf = (id: number, active: boolean): number => {
  let x = Math.imul(id, 2) + (active ? 1 : 0) + Math.imul(id >>> 31, 0x9e3779b1)
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}

/** Messages are written into one buffer that grows; `take` copies one out. */
export class Writer {
  size = headerBytes
  #bytes = new Uint8Array(4_096)
  #view = new DataView(this.#bytes.buffer)

  booked(request: Booked): void {
    const { active, id, keys, priority, promptTokens, streams, cachedTokens, worker } = request
    const count = active ? 0 : Math.min(keysMax, keys.length >> 1)
    let at = this.#room(bookedBytes + 8 + 8 * count)
    const view = this.#view
    view.setUint8(at, 1)
    view.setUint8(at + 1, (streams ? 1 : 0) + (priority === null ? 0 : 2) + (active ? 4 : 0))
    view.setUint32(at + 2, id, true)
    view.setFloat64(at + 6, worker, true)
    view.setUint32(at + 14, whole32(promptTokens), true)
    view.setUint32(at + 18, whole32(cachedTokens), true)
    at += 22
    if (priority !== null) {
      view.setFloat64(at, priority, true)
      at += 8
    }
    view.setUint16(at, count, true)
    at += 2
    this.#bytes.set(new Uint8Array(keys.buffer, keys.byteOffset, 8 * count), at)
    this.size = at + 8 * count
  }

  firstByte(id: number): void {
    const at = this.#room(5)
    this.#view.setUint8(at, 2)
    this.#view.setUint32(at + 1, id, true)
    this.size = at + 5
  }

  settled(id: number, computed: boolean): void {
    const at = this.#room(6)
    this.#view.setUint8(at, 3)
    this.#view.setUint8(at + 1, computed ? 1 : 0)
    this.#view.setUint32(at + 2, id, true)
    this.size = at + 6
  }

  /** The message of all that was written since the last. */
  take(kind: typeof DELTA | typeof STATE, incarnation: number, sequence: number): Uint8Array {
    head(this.#view, kind, incarnation, sequence)
    const message = this.#bytes.slice(0, this.size)
    this.size = headerBytes
    return message
  }

  /** Forgets what was written since the last message. */
  clear(): void {
    this.size = headerBytes
  }

  #room(bytes: number): number {
    const { size } = this
    if (size + bytes > this.#bytes.length) {
      const larger = new Uint8Array(2 * (size + bytes))
      larger.set(this.#bytes.subarray(0, size))
      this.#bytes = larger
      this.#view = new DataView(larger.buffer)
    }
    return size
  }
}

const head = (view: DataView, kind: Kind, incarnation: number, sequence: number): void => {
  view.setUint8(0, version)
  view.setUint8(1, kind)
  view.setFloat64(2, incarnation, true)
  view.setFloat64(10, sequence, true)
}

export const beat = (incarnation: number, sequence: number, open: number, digest: number): Uint8Array => {
  const message = new Uint8Array(headerBytes + 8)
  const view = new DataView(message.buffer)
  head(view, BEAT, incarnation, sequence)
  view.setUint32(headerBytes, open, true)
  view.setUint32(headerBytes + 4, digest, true)
  return message
}

const viewOf = (message: Uint8Array): DataView => new DataView(message.buffer, message.byteOffset, message.byteLength)

/** Null when it is none of ours, or of a version that is not known. */
export const headerOf = (message: Uint8Array): Header | null => {
  if (message.length < headerBytes || message[0] !== version) return null
  const kind = message[1]
  if (kind !== DELTA && kind !== STATE && !(kind === BEAT && message.length >= headerBytes + 8)) return null
  const view = viewOf(message)
  const incarnation = view.getFloat64(2, true)
  const sequence = view.getFloat64(10, true)
  return incarnation > 0 && Number.isSafeInteger(sequence) && sequence >= 0 ? { kind, incarnation, sequence } : null
}

/** What a beat says is open. */
export const openOf = (message: Uint8Array): { readonly open: number; readonly digest: number } => {
  const view = viewOf(message)
  return { open: view.getUint32(headerBytes, true), digest: view.getUint32(headerBytes + 4, true) }
}

/** Reads the changes of a delta or a state. False when they break off or make no sense: those before have been told. */
export const read = (message: Uint8Array, hears: Hears): boolean => {
  const view = viewOf(message)
  const end = message.length
  let at = headerBytes
  while (at < end) {
    const change = message[at]
    if (change === 2 && at + 5 <= end) {
      hears.firstByte(view.getUint32(at + 1, true))
      at += 5
    } else if (change === 3 && at + 6 <= end) {
      hears.settled(view.getUint32(at + 2, true), (message[at + 1]! & 1) === 1)
      at += 6
    } else if (change === 1 && at + bookedBytes <= end) {
      const flags = message[at + 1]!
      const id = view.getUint32(at + 2, true)
      const worker = view.getFloat64(at + 6, true)
      const promptTokens = view.getUint32(at + 14, true)
      const cachedTokens = view.getUint32(at + 18, true)
      at += 22
      let priority: number | null = null
      if ((flags & 2) !== 0) {
        if (at + 10 > end) return false
        priority = view.getFloat64(at, true)
        at += 8
      }
      const bytes = 8 * view.getUint16(at, true)
      at += 2
      if (at + bytes > end || Number.isNaN(priority)) return false
      const keys = bytes === 0 ? none : new Int32Array(message.slice(at, at + bytes).buffer)
      at += bytes
      const active = (flags & 4) !== 0
      hears.booked({ id, worker, promptTokens, cachedTokens, streams: (flags & 1) !== 0, priority, active, keys })
    } else return false
  }
  return true
}
