/**
 * SnapshotSession: what one replica gives another of some publishers, message by message, each made when it is asked for.
 *
 * First each publisher as it stands at one moment, then what the index holds of them, which has everything that was told
 * before those moments, and may have more: the log after the position of each makes up for that. Of publishers whose tiers
 * were cleared or begun meanwhile it does not, and they are declared void at the end.
 */
import { Effect, Schema } from "effect"
import * as SnapshotFrames from "../src/hot/SnapshotFrames.ts"
import type { Collector } from "./Collector.ts"
import type { Followed } from "./Followed.ts"
import type { Picture, PrefixIndex } from "./PrefixIndex.ts"
import * as Words from "./SnapshotWords.ts"

/** Hashes encoded and taken over in one go: a millisecond, and some more where memory is touched for the first time. */
const hashesPerPiece = 4_096
/** Larger messages gain nothing, and keep others waiting. */
const bytesMaxMax = 256 * 1024

export interface Deps {
  readonly collector: Collector["Service"]
  readonly index: PrefixIndex["Service"]
  readonly positionOf: (name: string) => number
  readonly bytesMax: () => number
}

const encodeSay = Schema.encodeUnknownSync(Words.Say)
const say = (said: Words.Say): Uint8Array =>
  SnapshotFrames.encode(SnapshotFrames.SAY, 0, Words.bytesOf(encodeSay(said)))

/** The event loop's next turn. */
export const turn = Effect.callback<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

export class SnapshotSession {
  /** Messages given so far. */
  given = 0
  private readonly deps: Deps
  private readonly publishers: ReadonlyArray<Followed>
  private readonly versions: Array<number> = []
  private readonly gone = new Set<number>()
  /** Messages made and not given yet: of one publisher at most. */
  private ready: Array<Uint8Array> = []
  private saved = 0
  private picture: Picture | null = null
  private isOver = false

  constructor(deps: Deps, publishers: ReadonlyArray<Followed>) {
    this.deps = deps
    this.publishers = publishers
  }

  /** The last message was given. */
  get isGiven(): boolean {
    return this.isOver && this.ready.length === 0
  }

  /** The next message; null after the last. */
  next(): Effect.Effect<Uint8Array | null> {
    return Effect.suspend(() => {
      const frame = this.ready.shift()
      if (frame !== undefined) {
        this.given++
        return Effect.succeed(frame)
      }
      if (this.isOver) return Effect.succeed(null)
      return Effect.andThen(this.make(), this.next())
    })
  }

  private make(): Effect.Effect<void> {
    const { publishers, saved } = this
    if (saved < publishers.length) {
      this.saved++
      return this.save(saved)
    }
    if (this.picture === null)
      return Effect.andThen(
        this.deps.index.caughtUp,
        Effect.sync(() => this.begin())
      )
    return Effect.andThen(
      turn,
      Effect.sync(() => this.chunk(this.picture!))
    )
  }

  private get bytesMax(): number {
    return Math.min(this.deps.bytesMax(), bytesMaxMax)
  }

  private readonly save = Effect.fnUntraced(function* (this: SnapshotSession, publisher: number) {
    const { collector, index, positionOf } = this.deps
    const { name, slot } = this.publishers[publisher]!
    const { bytesMax } = this
    const hashesMax = Math.min(hashesPerPiece, Math.floor((bytesMax - 64) / 20))
    let position = 0
    const saved = yield* collector.save(slot, hashesMax, () => {
      position = positionOf(name)
      this.versions[publisher] = index.version(slot)
    })
    if (saved === null) {
      this.gone.add(publisher)
      this.ready.push(say({ _tag: "gone", publisher }))
      return
    }
    const { head, pieces } = saved
    this.ready.push(say({ _tag: "publisher", publisher, position }))
    const room = bytesMax - SnapshotFrames.headBytes
    for (let at = 0; at < head.length; at += room) {
      const kind = at + room < head.length ? SnapshotFrames.HEAD : SnapshotFrames.HEAD_END
      this.ready.push(SnapshotFrames.encode(kind, publisher, head.subarray(at, at + room)))
    }
    for (const piece of pieces) {
      if (piece.length <= 1) continue
      this.ready.push(SnapshotFrames.encode(SnapshotFrames.PIECE, publisher, SnapshotFrames.bytesOf(piece)))
      yield* turn
    }
  })

  private begin(): void {
    const slots = this.publishers.map(({ slot }, publisher) => (this.gone.has(publisher) ? -1 : slot))
    this.picture = this.deps.index.picture(slots)
    this.ready.push(say({ _tag: "layers", layers: this.picture.layers }))
  }

  private chunk(picture: Picture): void {
    const words = picture.next((this.bytesMax - SnapshotFrames.headBytes) >> 2)
    if (words !== null) {
      this.ready.push(SnapshotFrames.encode(SnapshotFrames.RUNS, 0, SnapshotFrames.bytesOf(words)))
      return
    }
    const { index } = this.deps
    const voided = this.publishers.flatMap(({ slot }, publisher) =>
      !this.gone.has(publisher) && index.version(slot) !== this.versions[publisher] ? [publisher] : []
    )
    this.ready.push(say({ _tag: "end", voided }))
    this.isOver = true
  }
}
