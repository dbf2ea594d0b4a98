/**
 * The router as a replay has it: the production ledger, index, trust and cache model, fed by virtual engines.
 *
 * `events`: the index follows what engines store and evict. `model`: a `CacheModel` per worker stands in, which sees what
 * the router sent and what the answers report.
 */
import * as Ledger from "../../actors/Ledger.ts"
import * as PrefixIndex from "../../actors/PrefixIndex.ts"
import * as Trust from "../../actors/Trust.ts"
import { baseCredit } from "../../actors/TrustTable.ts"
import { DEVICE, GUESS, layersMax } from "../../src/domain/Tier.ts"
import { CacheModel, type Claim } from "../../src/hot/CacheModel.ts"
import * as Overlap from "../../src/hot/Overlap.ts"
import type { Mode, Router } from "./Replay.ts"
import type { Request } from "./Trace.ts"

/** What a cache that does not tell is taken to hold at first, in tokens. */
const untoldTokens = 2_097_152

export const make = (mode: Mode, workers: number, blockSize: number, blocks: number): Router => {
  const ledger = Ledger.make({ policy: mode.policy, workersMax: workers })
  const index = PrefixIndex.make(
    { workersMax: workers, bytesMax: 256 << 20 },
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
  const scale = mode.credit === null ? 1 : mode.credit / baseCredit.approximate
  trust.onChange((slot, { credit, state }) => ledger.setCredit(slot, state === "approximate" ? credit * scale : credit))
  const told = mode.told === null ? null : Math.round(blocks * mode.told)
  const models: Array<CacheModel> = []
  for (let slot = 0; slot < workers; slot++) {
    ledger.join(slot, told === null ? null : told * blockSize)
    ledger.setEligible(slot, true)
    trust.join(slot, `${slot}`)
    if (mode.view === "events") trust.health(slot, "whole", "")
    else models.push(modelOf(index, slot, told, Math.floor(untoldTokens / blockSize)))
  }
  const depths = new Uint32Array(layersMax * workers)

  const route = (request: Request, nowMs: number) => {
    clockMs = nowMs
    const { outputTokens, promptTokens } = request
    const keys = keysOf(request.blocks)
    const layered = index.depths(keys, request.blocks.length, depths)
    // The last token is always computed.
    const most = Math.floor((promptTokens - 1) / blockSize)
    const heldTokens = new Uint32Array(workers)
    const cachedTokens = new Uint32Array(workers)
    for (let slot = 0; slot < workers; slot++) {
      Overlap.add(depths, workers, slot, layered, most, blockSize, heldTokens, cachedTokens)
    }
    const ask: Ledger.Ask = { cachedTokens, heldTokens, promptTokens, keys, blockSize, eligible: null }
    const slot = ledger.place(ask, nowMs)
    const booking = ledger.book(slot, ask, true, nowMs)
    let claim: Claim | null = null
    return {
      slot,
      predictedTokens: booking.heldTokens,
      firstByte: (atMs: number) => {
        booking.firstByte(atMs)
        claim = models[slot]?.computed(keys) ?? null
      },
      settle: (atMs: number, delivered: number) => {
        clockMs = atMs
        const reported = mode.reports ? delivered : null
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
  const hears = mode.view === "events"
  return {
    route,
    stored: (slot, parent, ids) => {
      if (!hears) return
      const keys = keysOf(ids)
      index.tell({
        _tag: "Stored",
        worker: slot,
        layer: DEVICE,
        parent: parent === null ? null : keysOf([parent]),
        keys
      })
    },
    removed: (slot, ids) => {
      if (hears) index.tell({ _tag: "Removed", worker: slot, layer: DEVICE, keys: keysOf(ids) })
    },
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
const keysOf = (ids: ArrayLike<number>): Int32Array => {
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
