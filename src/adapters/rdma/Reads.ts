/**
 * Reads: lookups by one-sided reads of a memory node's table: no work for its processor, if the fabric's hardware reads by itself.
 *
 * The walk is `PieceWalk`. For each node it wants: the two buckets its key may be in, then the record that a slot names, whose
 * checksum tells a whole one from one that was written meanwhile. The superblock, read along, tells when directory or names
 * are others by now. Fails where that does not come to an end soon; the caller asks the node then.
 */
import type { KeyLanes } from "../../domain/Block.ts"
import * as NodeIndex from "../../hot/NodeIndex.ts"
import * as Layout from "../../hot/NodeLayout.ts"
import { classGranules, granuleBytes, pageBytes } from "../../hot/NodePages.ts"
import * as PieceNode from "../../hot/PieceNode.ts"
import * as PieceWalk from "../../hot/PieceWalk.ts"
import type { Reach } from "../../ports/StateStore.ts"
import { Failed } from "./Failure.ts"
import type { Link, Session } from "./Link.ts"
import type { Known, NodeTables } from "./NodeTables.ts"

/** Times a part is read again because it was torn, or the table changed under it. */
const triesMax = 3
/** Reads at once; an endpoint has room for 256. */
const readsMax = 192
const bucketBytes = 4 * NodeIndex.bucketWords

interface Directory {
  readonly session: Session
  readonly version: number
  readonly bits: number
  readonly segments: Int32Array
}

export interface ReadCounters {
  reads: number
  torn: number
  stale: number
}

export class Reads {
  readonly counters: ReadCounters = { reads: 0, torn: 0, stale: 0 }
  private readonly link: Link
  private readonly tables: NodeTables
  private directory: Directory | null = null

  constructor(link: Link, tables: NodeTables) {
    this.link = link
    this.tables = tables
  }

  async lookup(keys: KeyLanes, count: number, stride: number, ms: number): Promise<Array<Reach>> {
    const until = performance.now() + ms
    for (let tries = 0; tries < triesMax; tries++) {
      const session = this.sessionNow()
      const directory = await this.directoryOf(session, until)
      // On its way with the first round. What splits after it was read makes a miss, which is little, and soon over.
      const before = this.superblock(session, until)
      // A round that fails first leaves nobody to hear of it.
      before.catch(() => {})
      const walk = PieceWalk.make(keys, count, stride)
      for (let lanes = PieceWalk.wanted(walk); lanes.length > 0; lanes = PieceWalk.wanted(walk)) {
        PieceWalk.take(walk, await this.nodes(session, directory, lanes, until))
      }
      const superblock = await before
      if (superblock[Layout.INDEX_VERSION] === directory.version) {
        const known = await this.names(superblock[Layout.NAMES_VERSION]!, until)
        return PieceWalk.reach(walk, (tenure) => known.byTenure.get(tenure))
      }
      this.counters.stale++
      this.directory = null
    }
    throw new Failed("late", "its table changed while it was read")
  }

  private sessionNow(): Session {
    const { session } = this.link
    if (session === null) throw new Failed("away", this.link.why)
    return session
  }

  private async names(version: number, until: number): Promise<Known> {
    return this.tables.ofTenures(version) ?? this.tables.fresh(Math.max(1, until - performance.now()))
  }

  private async read(
    { endpoint, peer, welcome }: Session,
    offset: number,
    bytes: number,
    until: number
  ): Promise<Uint8Array> {
    const ms = until - performance.now()
    if (ms <= 0) throw new Failed("late", "no time is left")
    this.counters.reads++
    const region = { key: BigInt(welcome.region.key), base: BigInt(welcome.region.base) }
    try {
      return await endpoint.read(peer, region, offset, bytes, ms)
    } catch (error) {
      const { code } = error as { readonly code?: string }
      const reason = code === "ERR_RDMA_DEADLINE" || code === "ERR_RDMA_BUSY" ? "late" : "away"
      throw new Failed(reason, error instanceof Error ? error.message : String(error))
    }
  }

  private async superblock(session: Session, until: number): Promise<Int32Array> {
    for (let tries = 0; tries < triesMax; tries++) {
      const words = wordsOf(await this.read(session, 0, 4 * Layout.superWords, until))
      if (Layout.isSuper(words) && Layout.generationOf(words) === session.welcome.generation) return words
      this.counters.torn++
    }
    throw new Failed("away", "its superblock is torn, or of another life")
  }

  private async directoryOf(session: Session, until: number): Promise<Directory> {
    if (this.directory?.session === session) return this.directory
    for (let tries = 0; tries < triesMax; tries++) {
      const before = await this.superblock(session, until)
      const bits = before[Layout.DIRECTORY_BITS]!
      const segments = wordsOf(await this.read(session, 4 * Layout.directoryWord, 4 << bits, until))
      const version = (await this.superblock(session, until))[Layout.INDEX_VERSION]!
      if (version === before[Layout.INDEX_VERSION] && Layout.isDirectory(before, segments)) {
        this.directory = { session, version, bits, segments }
        return this.directory
      }
      this.counters.stale++
    }
    throw new Failed("late", "its directory changed while it was read")
  }

  /** The nodes of `lanes`, four each: head and own first key; null where there is none. */
  private async nodes(
    session: Session,
    directory: Directory,
    lanes: Int32Array,
    until: number
  ): Promise<Array<Uint8Array | null>> {
    const found: Array<Uint8Array | null> = []
    const most = readsMax / 2
    for (let at = 0; at < lanes.length; at += 4 * most) {
      const some: Array<Promise<Uint8Array | null>> = []
      for (let i = at; i < Math.min(lanes.length, at + 4 * most); i += 4) {
        some.push(this.node(session, directory, lanes.subarray(i, i + 4), until))
      }
      found.push(...(await Promise.all(some)))
    }
    return found
  }

  private async node(
    session: Session,
    directory: Directory,
    lanes: Int32Array,
    until: number
  ): Promise<Uint8Array | null> {
    const [headLo, headHi, lo, hi] = [lanes[0]!, lanes[1]!, lanes[2]!, lanes[3]!]
    const tag = NodeIndex.tagOf(lo, hi)
    const one = NodeIndex.bucketOf(lo, hi)
    const segment = directory.segments[NodeIndex.segmentOf(tag, directory.bits)]! * pageBytes
    const offsets = [one, NodeIndex.otherBucket(one, tag)].map((bucket) => segment + bucket * bucketBytes)
    for (let tries = 0; tries < triesMax; tries++) {
      const buckets = await Promise.all(offsets.map((offset) => this.read(session, offset, bucketBytes, until)))
      let isTorn = false
      for (const slots of buckets.map(wordsOf)) {
        for (let slot = 0; slot < NodeIndex.bucketWords; slot += 2) {
          if (slots[slot] === 0 || NodeIndex.slotTag(slots[slot + 1]!) !== tag) continue
          const bytes = classGranules[NodeIndex.slotSize(slots[slot + 1]!)]! * granuleBytes
          const record = wordsOf(await this.read(session, (slots[slot]! >>> 0) * granuleBytes, bytes, until))
          const node = Layout.nodeIn(record, 0, record.length)
          const head = node === null ? 0 : Layout.headAt(record, 0)
          if (node === null) isTorn = true
          else if (node[6] === lo && node[7] === hi && record[head] === headLo && record[head + 1] === headHi) {
            return PieceNode.bytesOf(node)
          }
        }
      }
      if (!isTorn) return null
      this.counters.torn++
    }
    throw new Failed("late", "a record was torn each time it was read")
  }
}

const wordsOf = (bytes: Uint8Array): Int32Array => {
  const aligned = (bytes.byteOffset & 3) === 0 ? bytes : bytes.slice()
  return new Int32Array(aligned.buffer, aligned.byteOffset, aligned.length >> 2)
}
