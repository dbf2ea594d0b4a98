/**
 * The endpoint picker of the Gateway API Inference Extension and llm-d: scores of 0 to 1, each times its weight, the
 * highest sum wins, ties are drawn. Queue and KV use are what engines said last on `/metrics`.
 */
import * as Random from "../../Random.ts"
import * as Pick from "./Pick.ts"
import type { Asked, Rival, Setup } from "./Rival.ts"

export interface Weights {
  /** Share of the prompt's blocks a worker holds. */
  readonly prefix: number
  /** 1 − the share of KV blocks in use. */
  readonly kvUse: number
  /** 1 for the shortest queue among candidates, 0 for the longest. */
  readonly queue: number
  /** 1 − prefill tokens in flight / 4 194 304. */
  readonly tokenLoad?: number
  /** For a prompt nobody holds any of: 1 for the worker that longest got none such, 0 for the last that did. */
  readonly noHit?: number
}

/** llm-d's token-load scorer is 0 from here. */
const tokenLoadMax = 4_194_304

/** `held` writes each worker's share of the prompt's blocks, by slot. */
export const make = (
  { seed, sent, workers }: Setup,
  weights: Weights,
  held: (asked: Asked, shares: Float64Array) => void
): Rival => {
  const { kvUse, noHit = 0, prefix, queue, tokenLoad = 0 } = weights
  const random = Random.make(seed)
  const waiting = new Float64Array(workers)
  const usage = new Float64Array(workers)
  const shares = new Float64Array(workers)
  const costs = new Float64Array(workers)
  /** When a worker last got a prompt nobody held any of, as a count of those. */
  const hitless = new Float64Array(workers)
  let hitlessCount = 0
  let isHitless = false

  const addNoHit = (eligible: Uint8Array): void => {
    for (let slot = 0; slot < workers; slot++) {
      let later = 0
      let others = 0
      for (let other = 0; other < workers; other++) {
        if (eligible[other] === 0 || other === slot) continue
        others++
        if (hitless[other]! > hitless[slot]! || (hitless[other] === hitless[slot] && other > slot)) later++
      }
      costs[slot]! -= noHit * (others === 0 ? 1 : later / others)
    }
  }

  return {
    place: (asked) => {
      const { eligible } = asked
      held(asked, shares)
      let longest = -Infinity
      let shortest = Infinity
      let mostHeld = 0
      for (let slot = 0; slot < workers; slot++) {
        if (eligible[slot] === 0) continue
        if (waiting[slot]! > longest) longest = waiting[slot]!
        if (waiting[slot]! < shortest) shortest = waiting[slot]!
        if (shares[slot]! > mostHeld) mostHeld = shares[slot]!
      }
      const spread = longest - shortest
      for (let slot = 0; slot < workers; slot++) {
        costs[slot] = -(
          prefix * shares[slot]! +
          kvUse * (1 - usage[slot]!) +
          queue * (spread === 0 ? 1 : (longest - waiting[slot]!) / spread) +
          tokenLoad * Math.max(0, 1 - sent.queuedUncachedTokens[slot]! / tokenLoadMax)
        )
      }
      isHitless = mostHeld === 0
      if (noHit !== 0 && isHitless) addNoHit(eligible)
      return Pick.lowestAtRandom(costs, eligible, random)
    },
    // What was placed is booked in the same turn.
    booked: (_, slot) => {
      if (isHitless) hitless[slot] = ++hitlessCount
    },
    reported: (slot, load) => {
      if (load.waiting !== null) waiting[slot] = load.waiting
      if (load.kvUsage !== null) usage[slot] = load.kvUsage
    }
  }
}
