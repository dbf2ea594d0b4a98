/**
 * What a calm fleet has come to: the size of every table, and what of it is more than it should be.
 *
 * Taken when no request has been under way for a while, so that what was on its way has arrived: then every size follows
 * from the workers that are there and what their engines hold.
 */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import type { Interface as PrefixIndex } from "../../actors/PrefixIndex.ts"
import { DEVICE, GUESS, HOST } from "../../src/domain/Tier.ts"
import { type ChurnFleet, leftOn, tightBytesMax, workersMax } from "./ChurnFleet.ts"
import type { ChurnRank } from "./ChurnRank.ts"
import { nameOf } from "./ModelEngine.ts"

/** Salts and adapters a translator remembers: `rootsMax` of `KeyNamespace`. */
const rootsMax = 1_024
/** A picture that is not whole may also hold what its engine has lost since. */
const staleShare = 3

export interface Census {
  readonly slots: number
  /** Slots whose picture was compared with the truth, block by block. */
  readonly compared: number
  /** Blocks that the engines hold, within reach of any tier. */
  readonly held: number
  readonly roomyBlocks: number
  readonly tightBlocks: number
  readonly memberships: number
  readonly spans: number
  readonly holders: number
  readonly tightBytes: number
  readonly evicted: number
  /** Over all publishers: hashes, roots, events and offloaded blocks that wait. */
  readonly hashes: number
  readonly roots: number
  readonly parked: number
  readonly offloads: number
  readonly guessed: number
  /** Live objects and buffers after a collection, MB. */
  readonly heapMb: number
  /** Everything that should not be so. */
  readonly wrongs: ReadonlyArray<string>
}

const collect: () => void = (() => {
  setFlagsFromString("--expose-gc")
  const gc = runInNewContext("gc") as (how: object) => void
  // As before giving up for want of memory: an ordinary collection leaves up to a third of garbage.
  return () => gc({ type: "major", execution: "sync", flavor: "last-resort" })
})()

/** Bytes that are still referred to. */
export const bytesLive = (): number => {
  collect()
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

export const take = (fleet: ChurnFleet): Census => {
  const wrongs: Array<string> = []
  const { agenda, guesses, ledger, roomy, tight, trust } = fleet
  const check = (right: boolean, wrong: () => string): void => {
    if (!right) wrongs.push(wrong())
  }
  const ranks = fleet.ranks()
  let held = 0
  let compared = 0
  const sums = { hashes: 0, roots: 0, parked: 0, offloads: 0, guessed: 0 }
  for (const rank of ranks) {
    held += rank.truth(HOST).size
    if (compare(fleet, rank, wrongs)) compared++
    const sizes = sizesOf(rank, wrongs)
    sums.hashes += sizes.hashes
    sums.roots += sizes.roots
    sums.parked += sizes.parked
    sums.offloads += sizes.offloads
    sums.guessed += guesses.of(rank.slot)?.blocks ?? 0
  }

  const memberships = ranks.reduce((sum, rank) => sum + membershipsOf(fleet, rank), 0)
  for (let slot = 0; slot < workersMax; slot++) {
    if (fleet.bySlot[slot] !== undefined) continue
    check(trust.of(slot) === null, () => `trust remembers slot ${slot}, which nobody has`)
    check(guesses.of(slot) === null, () => `guesses remember slot ${slot}, which nobody has`)
    check(ledger.worker(slot, agenda.nowMs) === null, () => `the ledger remembers slot ${slot}, which nobody has`)
    for (const index of [tight, roomy]) {
      check(leftOn(index, slot) === 0, () => `${leftOn(index, slot)} blocks on slot ${slot}, which nobody has`)
    }
    check(fleet.toldAll[slot] === 0, () => `events of slot ${slot}, which nobody has, are thought to tell all`)
    check(fleet.inFlight[slot] === 0, () => `${fleet.inFlight[slot]} requests in flight on slot ${slot} for ever`)
    check(fleet.reusable(slot), () => `slot ${slot} is never given again`)
  }

  const wide = roomy.stats()
  const narrow = tight.stats()
  check(wide.queuedChanges + narrow.queuedChanges + wide.queuedKeys + narrow.queuedKeys === 0, () => "changes wait")
  check(wide.evictedBlocks + wide.layersRefused === 0, () => "the roomy index had no room")
  check(wide.memberships === memberships, () => `${wide.memberships} memberships, ${memberships} by slot`)
  check(wide.blocks <= memberships * 1.5 + 4_096, () => `${wide.blocks} blocks for ${memberships} memberships`)
  for (const stats of [wide, narrow]) {
    // A layer that is empty now may keep its holder: a device, a host tier and guesses at most.
    check(stats.holders <= 3 * ranks.length, () => `${stats.holders} holders for ${ranks.length} slots`)
    check(stats.resets === 0, () => "an index was lost to a defect")
    check(stats.blocks <= stats.blocksMax, () => `${stats.blocks} blocks of at most ${stats.blocksMax}`)
  }
  check(narrow.bytes <= tightBytesMax, () => `${narrow.bytes} bytes of at most ${tightBytesMax}`)

  const load = ledger.snapshot(agenda.nowMs)
  check(load.workers.length === ranks.length, () => `the ledger has ${load.workers.length} of ${ranks.length} slots`)
  check(load.inFlightEntries + load.inFlightBytes === 0, () => `${load.inFlightEntries} prefixes still on their way`)
  check(load.dropped === 0, () => `${load.dropped} requests were not booked`)
  for (const { active, activeTokens, queued, queuedMs, slot } of load.workers) {
    const left = active + activeTokens + queued + queuedMs
    check(left === 0, () => `slot ${slot} is charged with ${queued} queued, ${active} active, ${activeTokens} tokens`)
  }
  wrongs.push(...fleet.dirty.splice(0))
  check(fleet.counts.defects === 0, () => "an index threw")

  return {
    slots: ranks.length,
    compared,
    held,
    roomyBlocks: wide.blocks,
    tightBlocks: narrow.blocks,
    memberships,
    spans: wide.spans,
    holders: wide.holders,
    tightBytes: narrow.bytes,
    evicted: narrow.evictedBlocks,
    ...sums,
    heapMb: bytesLive() / 2 ** 20,
    wrongs
  }
}

/** What is left when everybody has left, and should not be. */
export const leftovers = (fleet: ChurnFleet): ReadonlyArray<string> => {
  const { wrongs } = take(fleet)
  const left = [...wrongs]
  for (const [name, index] of [
    ["tight", fleet.tight],
    ["roomy", fleet.roomy]
  ] as const) {
    const { blocks, holders, memberships, runs, spans } = index.stats()
    if (blocks + holders + memberships + runs + spans === 0) continue
    left.push(`${name}: ${blocks} blocks, ${memberships} memberships, ${spans} spans, ${runs} runs, ${holders} holders`)
  }
  return left
}

/** Whether a slot's picture could be compared: its events have all arrived, and nothing is being healed. */
const compare = (fleet: ChurnFleet, rank: ChurnRank, wrongs: Array<string>): boolean => {
  const { publisher, slot } = rank
  if (publisher === null || publisher.health !== "whole" || !rank.isCurrent) return false
  const { complete } = publisher
  for (const layer of [DEVICE, HOST] as const) {
    const truth = rank.truth(layer)
    const views = [viewOf(fleet.roomy, slot, layer), viewOf(fleet.tight, slot, layer)]
    for (const view of views) {
      const invented = [...view].filter((name) => !truth.has(name)).length
      if (invented > 0) wrongs.push(`slot ${slot}, layer ${layer}: ${invented} blocks that its engine does not hold`)
    }
    const missing = truth.size - views[0]!.size
    if (complete && missing > 0)
      wrongs.push(`slot ${slot}, layer ${layer}: ${missing} of ${truth.size} blocks are missing`)
  }
  const { size } = publisher.reader.translator
  const truth = rank.truth(HOST).size
  if (complete && size !== truth) wrongs.push(`slot ${slot}: ${size} hashes are known of ${truth} blocks`)
  return true
}

/** Blocks of each layer that is told apart. */
const membershipsOf = ({ roomy }: ChurnFleet, { publisher, slot }: ChurnRank): number => {
  const isTold = ((publisher?.reader.translator["layers"]["told"] ?? 0) & (1 << HOST)) !== 0
  return roomy.heldBy(slot, DEVICE) + (isTold ? roomy.heldBy(slot, HOST) : 0) + roomy.heldBy(slot, GUESS)
}

const viewOf = (index: PrefixIndex, slot: number, layer: typeof DEVICE | typeof HOST): Set<number> => {
  const keys = index.dump(slot, layer)
  const names = new Set<number>()
  for (let at = 0; at < keys.length; at += 2) names.add(nameOf(keys, at))
  return names
}

/** Sizes of a publisher's tables. */
const sizesOf = (rank: ChurnRank, wrongs: Array<string>) => {
  const { publisher, slot, traits } = rank
  if (publisher === null) return { hashes: 0, roots: 0, parked: 0, offloads: 0 }
  const { reader, sequence } = publisher
  const { translator } = reader
  const capacity = traits.blocks + traits.hostBlocks
  const sizes = {
    hashes: translator.size,
    roots: translator["chains"]["namespace"]["roots"].size,
    parked: translator.parkedCount,
    offloads: translator.heldCount
  }
  /** Ever used at once, in each table of hashes. */
  const entries = translator["groups"].tables.map((table) => table["top"])
  const bounds: ReadonlyArray<readonly [name: string, size: number, most: number]> = [
    ["hashes", sizes.hashes, staleShare * capacity],
    ["entries of hashes", Math.max(0, ...entries), staleShare * capacity],
    ["roots", sizes.roots, rootsMax],
    ["parked events", sizes.parked, rank.options.parkedMax],
    ["parked hashes", translator["parking"]["hashes"].size, sizes.parked * capacity],
    ["awaited parents", translator["parking"]["parents"].size, sizes.parked],
    ["offloaded blocks", sizes.offloads, staleShare * traits.hostBlocks],
    ["batches held back", sequence.held.size, publisher.health === "whole" ? 0 : rank.options.heldMax],
    ["unknown names", reader.unknown.size, 0]
  ]
  for (const [name, size, most] of bounds) {
    if (size > most) wrongs.push(`slot ${slot}: ${size} ${name}, of at most ${most}`)
  }
  return sizes
}
