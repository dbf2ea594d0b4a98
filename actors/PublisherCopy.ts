/**
 * PublisherCopy: all that a publisher needs to go on from its last batch, as bytes, and taken over by another one.
 *
 * A head (where it stands, what waits, what was learned of the engine) and pieces: the hashes it knows. Which replay is
 * out, how often it was asked and what was counted are its own: a publisher that takes over is idle, and has itself
 * shown, as after any connection, that nothing is missing. Nothing here throws on bytes from outside: what is no copy, of
 * another format, model or hash seed, is refused, and then nothing of it is kept.
 */
import { deserialize, serialize } from "node:v8"
import type { BlockStored, KvDelta } from "../src/domain/KvEvent.ts"
import { window } from "../src/hot/BatchPrints.ts"
import type { Hasher } from "../src/hot/BlockHash.ts"
import * as EventSequence from "../src/hot/EventSequence.ts"
import { offloadsMax } from "../src/hot/KeyOffloads.ts"
import type * as KeyTranslate from "../src/hot/KeyTranslate.ts"
import type { EventReader, Saved as SavedReader } from "./EventReader.ts"

/** Of the head and the pieces. Another is refused. */
const format = 1

export interface Copy {
  readonly head: Uint8Array
  /** To be taken before the publisher is fed again; each is a slice of the work. */
  readonly pieces: Iterable<Int32Array>
}

interface Head {
  readonly format: number
  readonly model: string
  /** A key of the hasher: another seed would not find what this one stored. */
  readonly probe: Int32Array
  readonly sequence: EventSequence.Saved
  readonly reader: SavedReader
  readonly translator: KeyTranslate.Saved
}

export interface Options {
  readonly model: string
  readonly hasher: Hasher
  readonly hashesMax: number
}

export class PublisherCopy {
  private readonly sequence: EventSequence.State
  private readonly reader: EventReader
  private readonly options: Options
  /** What is being taken over; its sequence begins with the last piece. */
  private head: Head | null = null

  constructor(sequence: EventSequence.State, reader: EventReader, options: Options) {
    this.sequence = sequence
    this.reader = reader
    this.options = options
  }

  /** Pieces of at most so many hashes. Null where there is nothing to go on from. */
  save(hashesMax: number): Copy | null {
    const { model } = this.options
    const { life, reader } = this
    const sequence = EventSequence.saved(this.sequence)
    if (sequence === null) return null
    const head: Head = {
      format,
      model,
      probe: this.probe,
      sequence,
      reader: reader.saved(life),
      translator: reader.translator.saved()
    }
    return { head: serialize(head), pieces: reader.translator.pieces(hashesMax) }
  }

  /** Begins to take over. False when refused, which leaves it as it was: this needs a publisher that has heard nothing. */
  begin(bytes: Uint8Array): boolean {
    const { hashesMax, model } = this.options
    const { reader, sequence } = this
    if (sequence.phase !== "idle" || sequence.started || this.head !== null) return false
    const head = headOf(bytes)
    if (head === null || head.model !== model || head.probe.join() !== this.probe.join()) return false
    if (head.translator.hashes.reduce((sum, size) => sum + size, 0) > hashesMax) return false
    this.head = head
    reader.restore(head.reader, this.life)
    if (reader.translator.restore(head.translator)) return true
    this.abandon()
    return false
  }

  get isUnderWay(): boolean {
    return this.head !== null
  }

  piece(words: Int32Array): boolean {
    if (this.head === null) return false
    if (this.reader.translator.restorePiece(words)) return true
    this.abandon()
    return false
  }

  /** Tells the index what the publisher had told it. */
  publish(delta: KvDelta): boolean {
    return this.head !== null && this.reader.emit(delta)
  }

  /** True when all is there: then it goes on from it. */
  end(): boolean {
    const { head, reader, sequence } = this
    if (head === null) return false
    const sizes = reader.translator.saved().hashes
    if (reader.isRefused || sizes.join() !== head.translator.hashes.join()) {
      this.abandon()
      return false
    }
    EventSequence.restore(sequence, head.sequence)
    this.head = null
    return true
  }

  /** What was taken over so far is forgotten, also by the index. */
  abandon(): void {
    if (this.head === null) return
    this.head = null
    this.reader.purge()
  }

  private get life(): number {
    return this.sequence.restarts
  }

  private get probe(): Int32Array {
    const { hasher, model } = this.options
    return Int32Array.from(hasher.root({ model, lora: null, salt: null, blockSize: 16 }))
  }
}

const headOf = (bytes: Uint8Array): Head | null => {
  try {
    const head: unknown = deserialize(bytes)
    return isHead(head) ? head : null
  } catch {
    return null
  }
}

type Fields = Readonly<Record<string, unknown>>

const isFields = (x: unknown): x is Fields => typeof x === "object" && x !== null
const isCount = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0
const isText = (x: unknown): x is string => typeof x === "string"
const isFlag = (x: unknown): x is boolean => typeof x === "boolean"
const orNull =
  <A>(is: (x: unknown) => x is A) =>
  (x: unknown): x is A | null =>
    x === null || is(x)
const listOf =
  <A>(is: (x: unknown) => x is A) =>
  (x: unknown): x is Array<A> =>
    Array.isArray(x) && x.every(is)
const isNumber = (x: unknown): x is number => Number.isInteger(x)
const isHashes = (x: unknown): x is Int32Array => x instanceof Int32Array && x.length % 2 === 0

const isHead = (x: unknown): x is Head =>
  isFields(x) &&
  x["format"] === format &&
  isText(x["model"]) &&
  isHashes(x["probe"]) &&
  isSequence(x["sequence"]) &&
  isReader(x["reader"]) &&
  isTranslator(x["translator"])

const isSequence = (x: unknown): x is EventSequence.Saved =>
  isFields(x) &&
  isCount(x["next"]) &&
  isFlag(x["complete"]) &&
  isText(x["lostWhy"]) &&
  isFields(x["prints"]) &&
  x["prints"]["seqs"] instanceof Float64Array &&
  x["prints"]["seqs"].length === window &&
  x["prints"]["prints"] instanceof Int32Array &&
  x["prints"]["prints"].length === window

const isReader = (x: unknown): x is SavedReader =>
  isFields(x) && isFlag(x["emptied"]) && orNull(isText)(x["hashing"]) && isCount(x["orphanAge"])

const isTranslator = (x: unknown): x is KeyTranslate.Saved =>
  isFields(x) &&
  isCount(x["batch"]) &&
  orNull(isCount)(x["blockSize"]) &&
  (x["repeats"] === "copy" || x["repeats"] === "refresh") &&
  isCount(x["told"]) &&
  listOf(isNumber)(x["groups"]) &&
  new Set(x["groups"]).size === x["groups"].length &&
  listOf(isNumber)(x["others"]) &&
  listOf(isCount)(x["hashes"]) &&
  x["hashes"].length === x["groups"].length &&
  Array.isArray(x["parked"]) &&
  x["parked"].every((row) => isFields(row) && isCount(row["batch"]) && isStored(row["event"])) &&
  isFields(x["offloads"]) &&
  isHashes(x["offloads"]["order"]) &&
  x["offloads"]["order"].length <= 2 * offloadsMax &&
  x["offloads"]["table"] instanceof Int32Array

/** One that waits for its parent. */
const isStored = (x: unknown): x is BlockStored =>
  isFields(x) &&
  x["_tag"] === "BlockStored" &&
  isHashes(x["hashes"]) &&
  isHashes(x["parent"]) &&
  x["parent"].length === 2 &&
  x["tokenIds"] instanceof Uint32Array &&
  isCount(x["blockSize"]) &&
  isText(x["tier"]) &&
  orNull(isNumber)(x["loraId"]) &&
  orNull(isText)(x["loraName"]) &&
  orNull(isText)(x["salt"]) &&
  orNull(isNumber)(x["groupIdx"]) &&
  orNull(isText)(x["specKind"]) &&
  (x["extraKeys"] === null || listOf(orNull((keys): keys is Array<unknown> => Array.isArray(keys)))(x["extraKeys"]))
