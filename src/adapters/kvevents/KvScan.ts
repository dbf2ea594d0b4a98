/**
 * KV events in their hot form, read from the bytes in one pass: no object per token or hash, no text made twice.
 *
 * The hot form is a batch as array whose events are stores, removals and clears of plain fields: integer or byte
 * hashes, integer tokens or pairs of them, short ASCII texts, extra keys of none. Whatever else it meets it leaves: an
 * event to `eventOf`, a batch to `decodeGeneric`; both ways give equal results. Nothing outside the payload is read,
 * and no length on the wire is believed beyond the bytes that are left.
 */
import type { EngineBatch, EngineEvent } from "../../domain/KvEvent.ts"
import type { Tier } from "../../domain/Tier.ts"
import { KvCursor } from "./KvCursor.ts"
import { eventOf, rankMax, removedFields, storedFields } from "./KvGeneric.ts"
import { tierOf } from "./Media.ts"
import { depthMax, valueEnd } from "./Msgpack.ts"
import { Names } from "./Names.ts"

/** Fields, numbered. The first twelve numbers are positions in a stored array as well. */
const [type, hashes, parent, tokens, blockSize, loraId, medium, loraName, extraKeys, group, kind, window] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
] as const
const [locality, ownership, session, salt] = [12, 13, 14, 15] as const

const ascii = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "latin1"))
const fieldNames = ["type", ...storedFields, "locality", "ownership", "session_id", "cache_salt"].map(ascii)
const tags = ["BlockStored", "BlockRemoved", "AllBlocksCleared"].map(ascii)
const [stored, removed, cleared] = [0, 1, 2] as const
const removedPositions = [type, ...removedFields.map((name) => storedFields.indexOf(name) + 1)]
/** Bits of the fields an event of each tag may have. */
const allowed = [
  0xffff,
  [...removedPositions, locality, ownership].reduce((bits, field) => bits | (1 << field), 0),
  1 << type
]
const tagMissing = -1

/** Not to be shared between threads. */
class KvScan {
  private readonly cursor = new KvCursor(fieldNames.length)
  private seen = 0
  private tag = tagMissing
  private hashesAt = 0
  private hashCount = 0
  private parentAt = -1
  private tokensAt = 0
  private tokenCount = 0
  private blockSize = 0
  private tier: Tier | null = "device"
  private mediumText = ""
  private mediumTier: Tier | null = null
  /** Plain values of the event, by field. */
  private readonly ints: Array<number | null> = fieldNames.map(() => null)
  private readonly texts: Array<string | null> = fieldNames.map(() => null)

  /** A batch, or null when it is not in the hot form: it may be none at all. */
  batch(payload: Uint8Array): EngineBatch | null {
    const { cursor } = this
    // One class of view, whatever came: the loops stay compiled for it.
    const bytes = new Uint8Array(payload.buffer, payload.byteOffset, payload.length)
    cursor.open(bytes)
    const batch = this.read(bytes)
    cursor.close()
    return batch
  }

  private read(bytes: Uint8Array): EngineBatch | null {
    const { cursor } = this
    const parts = cursor.array()
    if (parts !== 2 && parts !== 3) return null
    const ts = cursor.float()
    if (ts === undefined) return null
    const count = cursor.array()
    if (count < 0) return null
    const events: Array<EngineEvent> = []
    let names: Names | null = null
    for (let i = 0; i < count; i++) {
      const from = cursor.pos
      let event = this.event()
      if (event === null) {
        const to = valueEnd(bytes, from, bytes.length, depthMax - 2)
        if (to < 0) return null
        names ??= new Names()
        event = eventOf(bytes.subarray(from, to), names)
        cursor.pos = to
      }
      events.push(event)
    }
    const rank = parts === 3 ? cursor.int() : null
    if (rank === undefined || cursor.pos !== bytes.length) return null
    return {
      ts: Number.isFinite(ts) ? ts : 0,
      events,
      rank: rank !== null && rank >= 0 && rank <= rankMax ? rank : null,
      unknown: names === null ? none : names.list
    }
  }

  /** The event at the cursor, or null when it is not in the hot form. */
  private event(): EngineEvent | null {
    const { cursor } = this
    this.reset()
    const entries = cursor.map()
    if (entries >= 0) {
      let last = -1
      for (let i = 0; i < entries; i++) {
        const field = cursor.name(fieldNames, last + 1)
        if (field < 0 || !this.field(field)) return null
        last = field
      }
    } else {
      const values = cursor.array()
      if (values < 1 || !this.field(type)) return null
      const positions = this.tag === removed ? removedPositions : null
      if (
        values > (this.tag === stored ? storedFields.length + 1 : this.tag === removed ? removedPositions.length : 1)
      ) {
        return null
      }
      for (let i = 1; i < values; i++) if (!this.field(positions === null ? i : positions[i]!)) return null
    }
    return this.build()
  }

  private reset(): void {
    this.cursor.used = 0
    this.seen = 0
    this.tag = tagMissing
    this.parentAt = -1
    this.tokensAt = 0
    this.tokenCount = 0
    this.blockSize = 0
    this.tier = "device"
    this.ints.fill(null)
    this.texts.fill(null)
  }

  /** Reads the value of a field. False: it is not in the hot form, or comes twice. */
  private field(field: number): boolean {
    const { cursor } = this
    const bit = 1 << field
    if ((this.seen & bit) !== 0) return false
    this.seen |= bit
    switch (field) {
      case type:
        this.tag = cursor.name(tags, stored)
        return this.tag >= 0
      case hashes:
        this.hashesAt = cursor.used
        this.hashCount = cursor.hashes()
        return this.hashCount >= 0
      case parent:
        if (cursor.nil()) return true
        this.parentAt = cursor.used
        return cursor.hash()
      case tokens:
        this.tokensAt = cursor.used
        this.tokenCount = cursor.tokens()
        return this.tokenCount >= 0
      case blockSize: {
        const size = cursor.int()
        if (size === undefined || size === null || size < 0) return false
        this.blockSize = size
        return true
      }
      case loraId:
      case group:
      case window:
        return this.int(field)
      case medium:
        return this.medium()
      case extraKeys:
        return cursor.nils()
      default:
        return this.text(field)
    }
  }

  private int(field: number): boolean {
    const value = this.cursor.int()
    if (value === undefined) return false
    this.ints[field] = value
    return true
  }

  private text(field: number): boolean {
    const value = this.cursor.text(field)
    if (value === undefined) return false
    this.texts[field] = value
    return true
  }

  /** False for a name we do not know: the generic way reports it. */
  private medium(): boolean {
    const name = this.cursor.text(medium)
    if (name === undefined) return false
    if (name === null) return true
    if (name !== this.mediumText) {
      this.mediumText = name
      this.mediumTier = tierOf(name)
    }
    this.tier = this.mediumTier
    return this.tier !== null
  }

  private build(): EngineEvent | null {
    const { ints, seen, tag, texts, tier } = this
    if (tag === tagMissing || (seen & ~allowed[tag]!) !== 0) return null
    if (tag === cleared) return { _tag: "AllBlocksCleared" }
    if ((seen & (1 << hashes)) === 0) return null
    const words = this.cursor.copy()
    const lanes = new Int32Array(words, this.hashesAt * 4, this.hashCount * 2)
    const groupIdx = ints[group]!
    if (tag === removed) {
      return {
        _tag: "BlockRemoved",
        hashes: lanes,
        tier,
        groupIdx,
        locality: texts[locality]!,
        ownership: texts[ownership]!
      }
    }
    return {
      _tag: "BlockStored",
      hashes: lanes,
      parent: this.parentAt < 0 ? null : new Int32Array(words, this.parentAt * 4, 2),
      tokenIds: new Uint32Array(words, this.tokensAt * 4, this.tokenCount),
      blockSize: this.blockSize,
      loraId: ints[loraId]!,
      tier,
      loraName: texts[loraName]!,
      extraKeys: null,
      groupIdx,
      specKind: texts[kind]!,
      slidingWindow: ints[window]!,
      locality: texts[locality]!,
      ownership: texts[ownership]!,
      sessionId: texts[session]!,
      salt: texts[salt]!
    }
  }
}

const none: ReadonlyArray<string> = Object.freeze([])

const scanner = new KvScan()

/** A batch in the hot form; null when it is not, and may be no batch at all. Never throws. */
export const scan = (payload: Uint8Array): EngineBatch | null => scanner.batch(payload)
