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
  /** 1 − uncached prefill tokens in flight / 4 194 304. */
  readonly tokenLoad?: number
}

/** llm-d's token-load scorer is 0 from here. */
const tokenLoadMax = 4_194_304

/** `held` writes each worker's share of the prompt's blocks, by slot. */
export const make = (
  { seed, sent, workers }: Setup,
  weights: Weights,
  held: (asked: Asked, shares: Float64Array) => void
): Rival => {
  const { kvUse, prefix, queue, tokenLoad = 0 } = weights
  const random = Random.make(seed)
  const waiting = new Float64Array(workers)
  const usage = new Float64Array(workers)
  const shares = new Float64Array(workers)
  const costs = new Float64Array(workers)

  return {
    place: (asked) => {
      const { eligible } = asked
      held(asked, shares)
      let longest = -Infinity
      let shortest = Infinity
      for (let slot = 0; slot < workers; slot++) {
        if (eligible[slot] === 0) continue
        if (waiting[slot]! > longest) longest = waiting[slot]!
        if (waiting[slot]! < shortest) shortest = waiting[slot]!
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
      return Pick.lowestAtRandom(costs, eligible, random)
    },
    reported: (slot, load) => {
      if (load.waiting !== null) waiting[slot] = load.waiting
      if (load.kvUsage !== null) usage[slot] = load.kvUsage
    }
  }
}
