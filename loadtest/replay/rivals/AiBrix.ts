/**
 * AIBrix, `prefix-cache` with its own table of what it sent.
 *
 * When requests differ by more than the imbalance, only the workers with the least are asked for the prefix. Of those that
 * own some of it, the largest share first, then the least requests, the first goes that is within the gate: mean plus some
 * standard deviations of the requests of all. Else the least requests. Equals are drawn.
 */
import * as Random from "../../Random.ts"
import * as Pick from "./Pick.ts"
import type { Make, Setting } from "./Rival.ts"
import { SentOwners } from "./SentOwners.ts"

interface Dials {
  /** Requests. */
  readonly imbalance: number
  readonly deviations: number
}

/** What its code says; its documentation says 16 and 2. */
const defaults: Dials = { imbalance: 8, deviations: 1 }

/** Its table's default length. Its default block is 4 bytes; here it is set to the engines', in its favour. */
const tableBlocks = 200_000
const expiryMs = 20 * 60_000

const make =
  ({ deviations, imbalance }: Dials): Make =>
  ({ seed, sent, workers }) => {
    const random = Random.make(seed)
    const table = new SentOwners(workers, tableBlocks, expiryMs)
    const candidates = new Uint8Array(workers)
    const depths = new Uint32Array(workers)
    const { outstanding } = sent
    return {
      place: ({ blocks, eligible, keys }, nowMs) => {
        let count = 0
        let sum = 0
        let squares = 0
        let least = Number.POSITIVE_INFINITY
        let most = 0
        for (let slot = 0; slot < workers; slot++) {
          if (eligible[slot] === 0) continue
          const load = outstanding[slot]!
          count++
          sum += load
          squares += load * load
          if (load < least) least = load
          if (load > most) most = load
        }
        const mean = sum / count
        const gate = mean + deviations * Math.sqrt(Math.max(0, squares / count - mean * mean))
        const top = most - least > imbalance ? least : most
        for (let slot = 0; slot < workers; slot++) {
          candidates[slot] = eligible[slot] === 1 && outstanding[slot]! <= top ? 1 : 0
        }
        table.depths(keys, blocks, candidates, nowMs, depths)
        let best = -1
        let bestShare = 0
        let ties = 0
        for (let slot = 0; slot < workers; slot++) {
          if (depths[slot] === 0 || outstanding[slot]! > gate) continue
          const share = Math.floor((depths[slot]! * 100) / blocks)
          const order = best < 0 ? 1 : share - bestShare || outstanding[best]! - outstanding[slot]!
          if (order < 0) continue
          ties = order > 0 ? 1 : ties + 1
          if (ties > 1 && random() * ties >= 1) continue
          best = slot
          bestShare = share
        }
        return best < 0 ? Pick.lowestAtRandom(outstanding, eligible, random) : best
      },
      booked: ({ blocks, keys }, slot, nowMs) => table.add(slot, keys, blocks, nowMs)
    }
  }

const setting = (name: string, dials: Dials): Setting => ({
  name,
  about: `AIBrix prefix-cache on its own table, imbalance ${dials.imbalance}, gate ${dials.deviations} sd`,
  isDefault: dials === defaults,
  scrapeMs: null,
  make: make(dials)
})

export const settings: ReadonlyArray<Setting> = [
  setting("aibrix", defaults),
  setting("aibrix-16-2", { imbalance: 16, deviations: 2 })
]
