/**
 * SyncQueue: places in pieces of which the metadata store has yet to be told, oldest first.
 *
 * It says where something has changed, not what: what is held is read from the index when it is written. So telling twice does
 * no harm, any order comes out the same, and a change of a place that waits already costs nothing more.
 * Coalesces by line (a layer of a slot) and by stretch of a run in a piece. Its bounds are kept by who asks `isFull`, and
 * drops lines whole. Pure; told the time.
 */
import type { PiecePath } from "../src/hot/PiecePaths.ts"

/** Places of one path through one piece, of one line. */
export interface Pending {
  readonly line: number
  readonly piece: number
  readonly key: number
  /** The key before the piece, then the path's, two lanes each. */
  lanes: Int32Array
  told: number
  /** Grows with each that is new. */
  readonly seq: number
  readonly sinceMs: number
}

/** What one takes beside its keys: an object, the head of a buffer, places in a map and a set. Measured, 60 000 of them: 390 B. */
const overheadBytes = 400

export class SyncQueue {
  readonly sharesMax: number
  readonly bytesMax: number
  bytes = 0
  /** Seq of the last that was added. */
  lastSeq = 0
  private readonly all = new Set<Pending>()
  /** By line: where to coalesce, and how many wait. */
  private readonly stretches: Array<Map<number, Pending> | undefined> = []
  private readonly counts: Array<number> = []

  constructor({ bytesMax, sharesMax }: { readonly sharesMax: number; readonly bytesMax: number }) {
    this.sharesMax = sharesMax
    this.bytesMax = bytesMax
  }

  get shares(): number {
    return this.all.size
  }

  get isFull(): boolean {
    return this.all.size > this.sharesMax || this.bytes > this.bytesMax
  }

  /** The one that waits longest. */
  get oldest(): Pending | undefined {
    return this.all.values().next().value
  }

  of(line: number): number {
    return this.counts[line] ?? 0
  }

  mark(line: number, path: PiecePath, nowMs: number): void {
    let stretches = this.stretches[line]
    if (stretches === undefined) {
      stretches = new Map()
      this.stretches[line] = stretches
    }
    let key = keyOf(path.lanes, path.from)
    let known = stretches.get(key)
    if (known !== undefined && !agree(known, path)) {
      // The run has shrunk since, and grown as another chain.
      key = keyOf(path.lanes, path.count - 1)
      known = stretches.get(key)
    }
    const words = 2 * (path.count + 1)
    if (known !== undefined && agree(known, path)) {
      known.told |= path.told
      if (words <= known.lanes.length) return
      this.bytes += 4 * (words - known.lanes.length)
      known.lanes = path.lanes.slice(0, words)
      return
    }
    const { piece, told } = path
    const pending = { line, piece, key, lanes: path.lanes.slice(0, words), told, seq: ++this.lastSeq, sinceMs: nowMs }
    stretches.set(key, pending)
    this.all.add(pending)
    this.counts[line] = this.of(line) + 1
    this.bytes += overheadBytes + 4 * words
  }

  /** The oldest, at most so many; they wait no more. */
  take(max: number): Array<Pending> {
    const taken: Array<Pending> = []
    for (const pending of this.all) {
      if (taken.length === max) break
      taken.push(pending)
    }
    for (const pending of taken) this.remove(pending)
    return taken
  }

  /** Forgets all of some lines. O(all), unless nothing of them waits. */
  drop(first: number, end: number): void {
    let left = 0
    for (let line = first; line < end; line++) left += this.of(line)
    if (left === 0) return
    for (const pending of this.all) if (pending.line >= first && pending.line < end) this.remove(pending)
  }

  private remove(pending: Pending): void {
    const { key, lanes, line } = pending
    const stretches = this.stretches[line]!
    this.all.delete(pending)
    this.bytes -= overheadBytes + 4 * lanes.length
    this.counts[line]!--
    if (stretches.get(key) === pending) stretches.delete(key)
    if (stretches.size === 0) this.stretches[line] = undefined
  }
}

/** 53 bits of the key at a place of a path. */
const keyOf = (lanes: Int32Array, place: number): number =>
  (lanes[2 * place + 2]! >>> 0) + (lanes[2 * place + 3]! & 0x1f_ffff) * 0x1_0000_0000

/** True when one of both paths is the beginning of the other: keys are chained, so the last that both have decides. */
const agree = ({ lanes, piece }: Pending, path: PiecePath): boolean => {
  const at = Math.min(lanes.length, 2 * (path.count + 1)) - 2
  return piece === path.piece && lanes[at] === path.lanes[at] && lanes[at + 1] === path.lanes[at + 1]
}
