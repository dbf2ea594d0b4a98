/**
 * EventReader: the payloads of one publisher, in order, as changes to the index; and what they tell of their engine.
 *
 * Pure but for `publish` and `say`. What was published always adds up: when it no longer does, `read` says so and nothing
 * more is sent until `purge`.
 */
import type { BlockStored, EngineBatch, EngineEvent, KvDelta } from "../src/domain/KvEvent.ts"
import * as KeyTranslate from "../src/hot/KeyTranslate.ts"
import type { Followed, Options } from "./Followed.ts"

/** What is given to a publisher's followers by their owner. */
export interface Out {
  /** Tells the index. False when it had no room; `Cleared` always has. */
  readonly publish: (delta: KvDelta) => boolean
  readonly say: (level: "info" | "warning", message: string) => void
}

/**
 * `short`: right, but not all there is. `lost`: to be forgotten, and learned anew from what comes. `afresh`: to be
 * forgotten; a replay from the start may heal it.
 */
export interface Verdict {
  readonly remedy: "short" | "lost" | "afresh"
  readonly why: string
}

/** What another reader needs to go on with the next batch, beside its translator's. */
export interface Saved {
  readonly emptied: boolean
  readonly hashing: string | null
  /** Batches since a store without its parent caused a fresh start. */
  readonly orphanAge: number
}

/** Batches between two fresh starts that a store without its parent may cause; what a replay does not cure, it never will. */
const orphanResyncEvery = 10_000
/** Names of unknown things remembered; a payload may carry any. */
const unknownNamesMax = 64

export class EventReader {
  readonly translator: KeyTranslate.Translator
  batches = 0
  decodeErrors = 0
  overflows = 0
  /** Number of the last batch, and when its engine published it, s since the epoch by its clock; -1 and 0 for none. */
  seq = -1
  publishedAt = 0
  /** Why the last batch could not be read; null when it could. */
  unreadable: string | null = null
  /** The cache was emptied since the last purge, so what is known is all there is. */
  emptied = false
  hashing: string | null = null
  readonly unknown = new Map<string, number>()
  private hashingLife = -1
  /** Something was published since the last purge. */
  private dirty = false
  /** The index had no room. */
  private refused = false
  private orphansDropped = 0
  private orphanBatch = -orphanResyncEvery
  private readonly followed: Followed
  private readonly options: Options
  private readonly out: Out

  constructor(followed: Followed, options: Options, out: Out) {
    const { blockCount, blockSize, model, slot } = followed
    this.followed = followed
    this.options = options
    this.out = out
    this.translator = KeyTranslate.make({ ...options, worker: slot, model, blockSize, blockCount })
  }

  /** One payload. `complete`: nothing before it is missing. `life` changes when the engine has restarted. */
  read(seq: number, payload: Uint8Array, complete: boolean, life: number): Verdict | null {
    const { out, translator } = this
    this.batches++
    this.seq = seq
    let batch: EngineBatch
    try {
      batch = this.followed.decode(payload)
    } catch (error) {
      // Its changes are unknown: no better than a lost batch, and a replay would bring the same bytes.
      this.decodeErrors++
      this.unreadable = (error instanceof Error ? error.message : String(error)).slice(0, 120)
      return { remedy: "lost", why: "a batch could not be read" }
    }
    this.unreadable = null
    this.publishedAt = batch.ts
    if (batch.unknown.length > 0) this.note(batch.unknown)
    if (this.hashingLife !== life) this.describe(batch, life)
    if (translator.apply(batch.events, this.emit)) this.emptied = true
    const { orphansDropped } = translator.counters
    const orphaned = orphansDropped > this.orphansDropped
    this.orphansDropped = orphansDropped
    if (this.refused) {
      this.overflows++
      return { remedy: "afresh", why: "more events than the index takes" }
    }
    if (translator.overcounted && translator.repeats === "copy") {
      translator.repeats = "refresh"
      out.say(
        "info",
        `KV events of ${this.followed.name} count more copies than its cache has blocks: it repeats what it reuses. Repeats are no copies from now on`
      )
      return { remedy: "afresh", why: "counted more blocks than its cache has" }
    }
    if (translator.overflow) return { remedy: "lost", why: `more than ${this.options.hashesMax} blocks` }
    // An engine never stores a child before its parent, so something went missing; unless the past was lost anyway.
    if (!orphaned || !(complete || this.emptied)) return null
    if (this.batches - this.orphanBatch < orphanResyncEvery) {
      this.emptied = false
      return { remedy: "short", why: "unknown parent" }
    }
    this.orphanBatch = this.batches
    return { remedy: "afresh", why: "unknown parent" }
  }

  /** Forgets, and says so. */
  purge(): void {
    this.emptied = false
    this.refused = false
    // Clearing a slot costs the index a sweep; one that holds nothing is left alone.
    this.translator.clear(this.dirty ? this.emit : () => {})
    this.dirty = false
  }

  /** Publishes a change, unless one was refused before. False when it was not taken. */
  readonly emit = (delta: KvDelta): boolean => {
    this.dirty = true
    if (!this.refused && !this.out.publish(delta)) this.refused = true
    return !this.refused
  }

  /** The index had no room for a change since the last purge. */
  get isRefused(): boolean {
    return this.refused
  }

  saved(life: number): Saved {
    const { batches, emptied, hashing, hashingLife, orphanBatch } = this
    return { emptied, hashing: hashingLife === life ? hashing : null, orphanAge: batches - orphanBatch }
  }

  /** For one that has read nothing. */
  restore({ emptied, hashing, orphanAge }: Saved, life: number): void {
    // Whatever becomes of it, the index is told of it from now on.
    this.dirty = true
    this.emptied = emptied
    this.orphanBatch = this.batches - orphanAge
    this.hashing = hashing
    if (hashing !== null) this.hashingLife = life
  }

  private note(names: ReadonlyArray<string>): void {
    for (const name of names) {
      const known = this.unknown.get(name)
      if (known === undefined && this.unknown.size >= unknownNamesMax) continue
      this.unknown.set(name, (known ?? 0) + 1)
      if (known !== undefined) continue
      this.out.say(
        "info",
        `KV events of ${this.followed.name} carry \`${name}\`, which this version does not know; ignored`
      )
    }
  }

  /** How its hashes are made, from the first block of this life that nothing but its tokens entered. */
  private describe(batch: EngineBatch, life: number): void {
    const { describe, name } = this.followed
    const root = batch.events.find(isPlainRoot)
    if (describe === undefined || root === undefined) return
    this.hashingLife = life
    this.hashing = describe({ ...root, extraKeys: null }) ?? "random or unknown hash seed"
    this.out.say("info", `Blocks of ${name} are hashed with: ${this.hashing}`)
  }
}

const isPlainRoot = (event: EngineEvent): event is BlockStored =>
  event._tag === "BlockStored" &&
  event.parent === null &&
  event.tokenIds.length > 0 &&
  event.loraName === null &&
  event.loraId === null &&
  event.salt === null &&
  (event.extraKeys?.[0] ?? null) === null
