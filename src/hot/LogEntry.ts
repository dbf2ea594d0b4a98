/**
 * LogEntry: what replicas tell each other of one publisher of KV events, as bytes.
 *
 *   │ version u8 │ kind u8 │ epoch f64 │ seq f64 │ payload │      numbers big-endian
 *
 * `epoch` is that of the writer's lease. A batch is the engine's own bytes under its own number; the other kinds say
 * what became of the writer's subscription, and carry neither.
 */
import { printOf } from "./BatchPrints.ts"

/** A batch, as it was published. */
export const BATCH = 0
/** The writer hears the publisher, for the first time or again: what came before may have holes. */
export const CONNECTED = 1
/** The writer does not hear it. */
export const DISCONNECTED = 2
export type Kind = typeof BATCH | typeof CONNECTED | typeof DISCONNECTED

export interface LogEntry {
  readonly kind: Kind
  readonly epoch: number
  readonly seq: number
  readonly payload: Uint8Array
}

const version = 1
export const headBytes = 18
const none = new Uint8Array(0)

export const encode = (kind: Kind, epoch: number, seq = 0, payload: Uint8Array = none): Uint8Array => {
  const bytes = new Uint8Array(headBytes + payload.length)
  const view = new DataView(bytes.buffer)
  bytes[0] = version
  bytes[1] = kind
  view.setFloat64(2, epoch)
  view.setFloat64(10, seq)
  bytes.set(payload, headBytes)
  return bytes
}

/** Null for what no version up to this one writes. The payload is a view of `bytes`. */
export const decode = (bytes: Uint8Array): LogEntry | null => {
  if (bytes.length < headBytes || bytes[0] !== version || bytes[1]! > DISCONNECTED) return null
  const view = new DataView(bytes.buffer, bytes.byteOffset, headBytes)
  const epoch = view.getFloat64(2)
  const seq = view.getFloat64(10)
  if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(seq) || epoch < 0 || seq < 0) return null
  return { kind: bytes[1] as Kind, epoch, seq, payload: bytes.subarray(headBytes) }
}

/** Tells this batch from every other of its publisher that one owner writes, in all lives of the engine. */
export const idOf = (name: string, epoch: number, seq: number, payload: Uint8Array): string =>
  `${name}/${epoch}/${seq}/${printOf(payload) >>> 0}`
