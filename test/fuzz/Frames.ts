/** What must hold for any bytes at all given to the decoder of KV events. Throws an Error that says what did not. */
import { isDeepStrictEqual } from "node:util"
import { describe } from "../../src/adapters/kvevents/EngineHash.ts"
import { decode } from "../../src/adapters/kvevents/KvEvents.ts"
import { decodeGeneric } from "../../src/adapters/kvevents/KvGeneric.ts"
import { scan } from "../../src/adapters/kvevents/KvScan.ts"
import type { EngineBatch } from "../../src/domain/KvEvent.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"

const hasher = BlockHash.make()

const attempt = (read: (payload: Uint8Array) => EngineBatch, payload: Uint8Array): EngineBatch | null => {
  try {
    return read(payload)
  } catch (error) {
    if (error instanceof TypeError && error.message.startsWith("A KV-event batch must be")) return null
    throw error
  }
}

export interface Verdict {
  /** It was a batch. */
  readonly batch: boolean
  /** The scanner read it, at least as a whole. */
  readonly scanned: boolean
  /** Blocks stored in it. */
  readonly blocks: number
}

export const checkFrame = (bytes: Uint8Array): Verdict => {
  // In the midst of other bytes, as it lies in a socket's buffer: to read over an edge is to read something else.
  const around = Buffer.alloc(bytes.length + 64, 0x01)
  around.set(bytes, 32)
  const payload = around.subarray(32, 32 + bytes.length)
  const generic = attempt(decodeGeneric, bytes)
  const scanned = scan(payload)
  const decoded = attempt(decode, payload)
  around.fill(0xff)
  if (!isDeepStrictEqual(decoded, generic)) {
    throw new Error(`the scanner read ${show(decoded)}\nthe library read ${show(generic)}`)
  }
  let blocks = 0
  for (const event of generic?.events ?? []) {
    if (event._tag === "Unknown" && event.type.length > 64) throw new Error("a name from the wire is too long")
    if (event._tag === "BlockStored" || event._tag === "BlockRemoved") {
      const words = event.hashes.length + (event._tag === "BlockStored" ? event.tokenIds.length : 0)
      if (words > bytes.length * 2) throw new Error(`${words} words from ${bytes.length} bytes`)
      blocks += event.hashes.length >> 1
    }
    if (event._tag === "BlockStored") {
      // What comes after the decoder must bear whatever passed it.
      if (event.extraKeys !== null) hasher.extras(event.extraKeys)
      describe(event)
    }
  }
  const names = generic?.unknown ?? []
  if (names.length > 16 || names.some((name) => name.length > 80 || /[^\x20-\x7e]/.test(name))) {
    throw new Error(`unfit names: ${JSON.stringify(names)}`)
  }
  return { batch: generic !== null, scanned: scanned !== null, blocks }
}

const show = (batch: EngineBatch | null): string =>
  JSON.stringify(batch, (_, value) => (typeof value === "bigint" ? `${value}n` : value)) ?? "nothing"
