/**
 * Serving: what a memory node does with the messages of its peers. Knows no transport but a way to send.
 *
 * Small lookups are answered as they come. All else is work in slices of a millisecond at most, one piece of work of each peer in
 * turn, so that nobody waits long for anyone. A reply that a peer has no room for is dropped: it will ask again.
 */

import { granuleWords } from "../../hot/NodePages.ts"
import { NodeReach } from "../../hot/NodeReach.ts"
import type { NodeTable } from "../../hot/NodeTable.ts"
import * as Asking from "./Asking.ts"
import * as Wire from "./Wire.ts"

/** Entries of nodes that a lookup looks at before others have their turn: a third of a millisecond. */
const entriesPerTurn = 16_384
const sliceMs = 1
/** Of one peer, beyond the batches that it may have on their way. */
const workMax = 128
/** Bytes of nodes in one bulk reply. */
const bulkBytesMax = 32_768
const recordsPerTurn = 4_096

export interface Peer {
  readonly session: number
  /** False: no room. */
  readonly send: (bytes: Uint8Array) => boolean
  /** Number of the write that is to come next, of the one to be applied next, and those that came before their turn. */
  nextWrite: number
  applied: number
  readonly early: Map<number, Int32Array>
  readonly work: Array<() => boolean>
}

export const makePeer = (session: number, send: Peer["send"]): Peer => ({
  session,
  send,
  nextWrite: 1,
  applied: 1,
  early: new Map(),
  work: []
})

export interface Counters {
  lookups: number
  writes: number
  shares: number
  reads: number
  malformed: number
  /** Replies for which a peer had no room, requests beyond what one may have waiting. */
  dropped: number
}

export class Serving {
  readonly counters: Counters = { lookups: 0, writes: 0, shares: 0, reads: 0, malformed: 0, dropped: 0 }
  readonly peers = new Map<number, Peer>()
  private readonly table: NodeTable
  private readonly nowS: () => number
  private readonly reply = new Int32Array(Wire.messageBytesMax / 4)
  private turn: NodeJS.Immediate | null = null

  constructor(table: NodeTable, nowS: () => number) {
    this.table = table
    this.nowS = nowS
  }

  add(peer: Peer): void {
    this.peers.set(peer.session, peer)
  }

  remove(session: number): void {
    this.peers.delete(session)
  }

  /** A message from anyone; what makes no sense is counted, and answered where that is possible. */
  readonly take = (bytes: Uint8Array): void => {
    const words = Wire.wordsOf(bytes)
    const peer = words === null ? undefined : this.peers.get(words[1]!)
    if (words === null || peer === undefined) {
      this.counters.malformed++
      return
    }
    const kind = words[0]!
    if (kind === Wire.LOOKUP) this.lookup(peer, words)
    else if (kind === Wire.WRITE) this.write(peer, words)
    else if (kind === Wire.ASK) this.later(peer, this.ask(peer, words.slice()))
    else if (kind === Wire.BULK) this.later(peer, this.bulk(peer, words[2]!, words[3]! >>> 0))
    else this.refuse(peer, words)
  }

  private lookup(peer: Peer, words: Int32Array): void {
    const asked = Wire.lookupOf(words)
    if (asked === null) return this.refuse(peer, words)
    this.counters.lookups++
    const id = words[2]!
    const reach = new NodeReach(this.table, asked.keys, asked.count, asked.stride)
    const finish = (): void => {
      const length = Wire.putReach(this.reply, this.table.names.slotVersion, reach.slots, reach.depths)
      this.answer(peer, Wire.LOOKUP, id, length)
    }
    if (reach.step(entriesPerTurn)) return finish()
    reach.keep()
    this.later(peer, () => {
      if (!reach.step(entriesPerTurn)) return false
      finish()
      return true
    })
  }

  /**
   * In the order of their numbers, whatever order they come in; what was applied is acknowledged again. Numbers go round in 32
   * bits, so they are compared by how far they are apart.
   */
  private write(peer: Peer, words: Int32Array): void {
    const sequence = words[3]!
    if (4 * words.length > Wire.writeBytesMax) return this.refuse(peer, words)
    if (((sequence - peer.applied) | 0) < 0) return this.answer(peer, Wire.WRITE, words[2]!, Wire.headWords)
    // It has its place already, and is acknowledged when it was applied: until then its peer might go, and it with it.
    if (((sequence - peer.nextWrite) | 0) < 0) return
    if (((sequence - peer.applied) | 0) >= workMax) return this.drop()
    peer.early.set(sequence, words.slice())
    for (let next = peer.early.get(peer.nextWrite); next !== undefined; next = peer.early.get(peer.nextWrite)) {
      peer.early.delete(peer.nextWrite)
      peer.nextWrite = (peer.nextWrite + 1) | 0
      this.queue(peer, this.apply(peer, next))
    }
  }

  private apply(peer: Peer, words: Int32Array): () => boolean {
    let at = Wire.headWords
    return () => {
      const until = performance.now() + sliceMs
      while (at < words.length) {
        const told = Wire.shareAt(words, at)
        if (told === null) {
          peer.applied = (peer.applied + 1) | 0
          this.refuse(peer, words)
          return true
        }
        this.table.write(told.share, this.nowS())
        this.counters.shares++
        at = told.next
        if ((this.counters.shares & 15) === 0 && at < words.length && performance.now() > until) return false
      }
      return this.applied(peer, words)
    }
  }

  private applied(peer: Peer, words: Int32Array): boolean {
    this.counters.writes++
    peer.applied = (peer.applied + 1) | 0
    this.answer(peer, Wire.WRITE, words[2]!, Wire.headWords)
    return true
  }

  private ask(peer: Peer, words: Int32Array): () => boolean {
    return () => {
      const value = Asking.answer(this.table, Wire.jsonOf(words), this.nowS())
      if (value === null) this.refuse(peer, words)
      else this.sent(peer.send(Wire.json(Wire.ASK | Wire.REPLY, peer.session, words[2]!, Wire.OK, value)))
      return true
    }
  }

  /** Some nodes from a place on, as many as go into a message; looks at so many records at most. */
  private bulk(peer: Peer, id: number, from: number): () => boolean {
    return () => {
      const { reply, table } = this
      this.counters.reads++
      let at = Wire.headWords + 1
      let granule = table.pages.recordFrom(from)
      for (let looked = 0; granule >= 0 && looked < recordsPerTurn; looked++) {
        const node = table.node(granule * granuleWords)
        if (at > Wire.headWords + 1 && 4 * (at + 1 + node.length) > bulkBytesMax) break
        reply[at] = node.length
        reply.set(node, at + 1)
        at += 1 + node.length
        granule = table.pages.recordFrom(granule + table.pages.granulesAt(granule))
      }
      reply[Wire.headWords] = granule
      this.answer(peer, Wire.BULK, id, at)
      return true
    }
  }

  private refuse(peer: Peer, words: Int32Array): void {
    this.counters.malformed++
    Wire.head(this.reply, (words[0]! & 127) | Wire.REPLY, peer.session, words[2]!, Wire.MALFORMED)
    this.sent(peer.send(Wire.bytesOf(this.reply, Wire.headWords)))
  }

  private answer(peer: Peer, kind: number, id: number, length: number): void {
    Wire.head(this.reply, kind | Wire.REPLY, peer.session, id, Wire.OK)
    this.sent(peer.send(Wire.bytesOf(this.reply, length)))
  }

  private sent(isSent: boolean): void {
    if (!isSent) this.counters.dropped++
  }

  private drop(): void {
    this.counters.dropped++
  }

  private later(peer: Peer, work: () => boolean): void {
    if (peer.work.length >= 2 * workMax) return this.drop()
    this.queue(peer, work)
  }

  /** Whatever waits already: a write that has its number has its place. `write` bounds how many. */
  private queue(peer: Peer, work: () => boolean): void {
    peer.work.push(work)
    this.turn ??= setImmediate(this.round)
  }

  /** A slice for each peer that has work, then whatever else the process has to do. */
  private readonly round = (): void => {
    this.turn = null
    const until = performance.now() + 2 * sliceMs
    let isLeft = false
    for (const [session, peer] of this.peers) {
      if (peer.work.length === 0) continue
      if (performance.now() < until) {
        if (peer.work[0]!()) peer.work.shift()
        // Whoever had a turn is last in the next one.
        this.peers.delete(session)
        this.peers.set(session, peer)
      }
      if (peer.work.length > 0) isLeft = true
      if (performance.now() >= until) {
        isLeft = true
        break
      }
    }
    if (isLeft) this.turn = setImmediate(this.round)
  }
}
