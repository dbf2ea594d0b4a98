/**
 * The router as a replay has it: a strategy's ledger with the production index, trust and cache model around it, fed by
 * virtual engines.
 *
 * `events`: the index follows what engines store and evict. `model`: a `CacheModel` per worker stands in, which sees what
 * the router sent and what the answers report.
 */
import * as Admission from "../../actors/Admission.ts"
import type { Booking } from "../../actors/Ledger.ts"
import * as PrefixIndex from "../../actors/PrefixIndex.ts"
import * as Trust from "../../actors/Trust.ts"
import { baseCredit } from "../../actors/TrustTable.ts"
import { DEVICE, GUESS, layersMax } from "../../src/domain/Tier.ts"
import type { RankLoad } from "../../src/domain/Worker.ts"
import { CacheModel, type Claim } from "../../src/hot/CacheModel.ts"
import * as Overlap from "../../src/hot/Overlap.ts"
import * as Replicas from "./Replicas.ts"
import type { Ask } from "./rivals/Rival.ts"
import type { Setup, Strategy } from "./Strategy.ts"
import type { Request } from "./Trace.ts"

/** What the router is allowed to know of caches. */
export interface Knowledge {
  readonly view: "events" | "model"
  /** Events come so late. */
  readonly lateMs: number
  /** Blocks a worker is said to have, per true one; null when it does not say. */
  readonly told: number | null
  /** Answers say how many prompt tokens came from the cache. */
  readonly reports: boolean
  /** Share of a modelled overlap to believe at most; null as production has it. */
  readonly credit: number | null
}

export const everything: Knowledge = { view: "events", lateMs: 0, told: 1, reports: true, credit: null }

/** One request at one worker. */
export interface Routed {
  readonly slot: number
  /** Prompt tokens the worker was thought to hold. */
  readonly predictedTokens: number
  readonly firstByte: (nowMs: number) => void
  readonly settle: (nowMs: number, cachedTokens: number) => void
}

/** A router: ids as in the trace. */
export interface Router {
  /** Calls `send` as soon as the request is to go to a worker: at once, or when its turn has come. */
  readonly route: (request: Request, nowMs: number, send: (routed: Routed, nowMs: number) => void) => void
  /** Whether it wants to know what engines store and remove. */
  readonly hears: boolean
  /** A worker computed a chain behind a block, or null. */
  readonly stored: (slot: number, parent: number | null, ids: ReadonlyArray<number>) => void
  readonly removed: (slot: number, ids: ReadonlyArray<number>) => void
  readonly hint: (slot: number, load: RankLoad, nowMs: number) => void
  /** Believed, by worker, where a model stands in. */
  readonly capacityBlocks: () => ReadonlyArray<number>
}

export interface Options extends Omit<Setup, "capacityTokens"> {
  /** Of each worker's cache, and of its device: what an engine says its size is. */
  readonly blocks: number
  readonly deviceBlocks: number
  readonly knowledge: Knowledge
  /** Calls back so many ms after `nowMs`. */
  readonly after: (nowMs: number, ms: number, run: (nowMs: number) => void) => void
}

/** As many as a router lets wait by default. */
const waitingMax = 4_096

/** What a cache that does not tell is taken to hold at first, in tokens. */
const untoldTokens = 2_097_152

export const make = (strategy: Strategy, options: Options): Router => {
  const { blocks, blockSize, deviceBlocks, knowledge, workers } = options
  const ledger = strategy.ledger({ ...options, capacityTokens: blocks * blockSize })
  const index = PrefixIndex.make(
    { workersMax: workers, bytesMax: 512 << 20 },
    (turn) => turn(),
    (defect) => {
      throw defect
    }
  )
  let clockMs = 0
  const trust = Trust.make(
    () => clockMs,
    () => {}
  )
  const scale = knowledge.credit === null ? 1 : knowledge.credit / baseCredit.approximate
  trust.onChange((slot, { credit, state }) => ledger.setCredit(slot, state === "approximate" ? credit * scale : credit))
  const told = knowledge.told === null ? null : Math.round(blocks * knowledge.told)
  const models: Array<CacheModel> = []
  for (let slot = 0; slot < workers; slot++) {
    ledger.join(slot, knowledge.told === null ? null : Math.round(deviceBlocks * knowledge.told) * blockSize)
    ledger.setEligible(slot, true)
    trust.join(slot, `${slot}`)
    if (knowledge.view === "events") trust.health(slot, "whole", "")
    else models.push(modelOf(index, slot, told, Math.floor(untoldTokens / blockSize)))
  }
  const depths = new Uint32Array(layersMax * workers)
  const heldTokens = new Uint32Array(workers)
  const cachedTokens = new Uint32Array(workers)

  const askOf = ({ blocks, promptTokens, session }: Request, keys: Int32Array): Ask => {
    const layered = index.depths(keys, blocks.length, depths)
    // The last token is always computed.
    const most = Math.floor((promptTokens - 1) / blockSize)
    heldTokens.fill(0)
    cachedTokens.fill(0)
    for (let slot = 0; slot < workers; slot++) {
      Overlap.add(depths, workers, slot, layered, most, blockSize, heldTokens, cachedTokens)
    }
    return { cachedTokens, heldTokens, promptTokens, keys, blockSize, priority: null, eligible: null, session }
  }

  /** Each replica holds back its own. */
  const replicas = Replicas.each(ledger)
  const gates = replicas.map((each) =>
    Admission.make({
      ledger: each,
      workersMax: workers,
      waitingMax: strategy.kind === "ours" ? waitingMax : 0,
      after: (ms, run) =>
        options.after(clockMs, ms, (nowMs) => {
          clockMs = nowMs
          run(nowMs)
        })
    })
  )
  let next = 0

  const route: Router["route"] = (request, nowMs, send) => {
    const { outputTokens, promptTokens } = request
    const keys = keysOf(request.blocks)
    const mine = replicas[next]!
    const gate = gates[next]!
    next = (next + 1) % replicas.length
    clockMs = nowMs
    const guest = gate.guest(nowMs, null, () => tryAt(clockMs))
    const tryAt = (atMs: number): void => {
      const ask = askOf(request, keys)
      if (gate.holds(guest, ask, atMs)) return
      const slot = mine.place(ask, atMs)
      send(routedTo(mine.book(slot, ask, true, atMs)), atMs)
    }
    const routedTo = (booking: Booking): Routed => {
      const { slot } = booking
      let claim: Claim | null = null
      return {
        slot,
        predictedTokens: booking.heldTokens,
        firstByte: (atMs) => {
          booking.firstByte(atMs)
          claim = models[slot]?.computed(keys) ?? null
        },
        settle: (atMs, delivered) => {
          clockMs = atMs
          const reported = knowledge.reports ? delivered : null
          booking.settle(atMs, { outputTokens, cachedTokens: reported, outcome: "complete" })
          if (reported !== null) trust.delivered(slot, booking.heldTokens, reported, promptTokens)
          if (claim === null) return
          models[slot]!.settled(claim, {
            reportedBlocks: reported === null ? null : Math.floor(reported / blockSize),
            outputBlocks: Math.ceil(outputTokens / blockSize)
          })
        }
      }
    }
    tryAt(nowMs)
  }
  return {
    route,
    // A bound looks at the engines themselves.
    hears: knowledge.view === "events" && strategy.kind !== "bound",
    stored: (slot, parent, ids) =>
      index.tell({
        _tag: "Stored",
        worker: slot,
        layer: DEVICE,
        parent: parent === null ? null : keysOf([parent]),
        keys: keysOf(ids)
      }),
    removed: (slot, ids) => index.tell({ _tag: "Removed", worker: slot, layer: DEVICE, keys: keysOf(ids) }),
    hint: ledger.hint,
    capacityBlocks: () => models.map((model) => model.stats.capacityBlocks)
  }
}

const modelOf = (index: PrefixIndex.Interface, slot: number, toldBlocks: number | null, untoldBlocks: number) =>
  new CacheModel({
    toldBlocks,
    untoldBlocks,
    stored: (parent, keys) => index.tell({ _tag: "Stored", worker: slot, layer: GUESS, parent, keys }),
    removed: (keys) => index.tell({ _tag: "Removed", worker: slot, layer: GUESS, keys })
  })

/** Keys as hashing would make them of ids: finalisers of MurmurHash3, one per lane. */
export const keysOf = (ids: ArrayLike<number>): Int32Array => {
  const keys = new Int32Array(ids.length * 2)
  for (let i = 0; i < ids.length; i++) {
    const low = ids[i]! | 0
    const high = Math.floor(ids[i]! / 2 ** 32) | 0
    keys[2 * i] = mixed(low ^ Math.imul(high, 0x27d4eb2f))
    keys[2 * i + 1] = mixed(Math.imul(low, 0x165667b1) ^ (high + 0x61c88647))
  }
  return keys
}

const mixed = (word: number): number => {
  let x = word
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return x ^ (x >>> 16)
}
