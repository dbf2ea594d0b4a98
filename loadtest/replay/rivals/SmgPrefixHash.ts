/**
 * SGLang model gateway (SMG), `prefix_hash`: the first tokens of a prompt are hashed onto a ring of workers. A worker that
 * is over the bound gives its request to the least loaded one; when all are, it keeps it.
 */
import * as Random from "../../Random.ts"
import * as HashRing from "./HashRing.ts"
import type { Make, Setting } from "./Rival.ts"
import * as SmgBalance from "./SmgBalance.ts"

interface Dials {
  /** Tokens hashed, in whole blocks. */
  readonly prefixTokens: number
  /** A worker takes no more than this many times the mean of requests … */
  readonly loadFactor: number
  /** … unless it is within this many of it: none at first, 10 in later releases. */
  readonly margin: number
}

const defaults: Dials = { prefixTokens: 256, loadFactor: 1.25, margin: 0 }
const pointsEach = 160

const make =
  ({ loadFactor, margin, prefixTokens }: Dials): Make =>
  ({ blockSize, sent, workers }) => {
    const ring = HashRing.make(workers, pointsEach)
    const processed = new Float64Array(workers)
    const prefixBlocks = Math.ceil(prefixTokens / blockSize)
    return {
      place: (asked) => {
        const { blocks, eligible, keys } = asked
        const least = SmgBalance.leastLoaded(asked, sent, processed)
        if (blocks === 0) return least
        let total = 1
        let count = 0
        for (let slot = 0; slot < workers; slot++) {
          if (eligible[slot] === 0) continue
          total += sent.outstanding[slot]!
          count++
        }
        const mean = total / count
        const bound = Math.max(loadFactor * mean, mean + margin)
        const last = Math.min(prefixBlocks, blocks) - 1
        const slot = HashRing.find(ring, Random.mix(0, keys.subarray(2 * last, 2 * last + 2)), eligible)
        return sent.outstanding[slot]! > bound && sent.outstanding[least]! <= bound ? least : slot
      },
      booked: (_, slot) => void processed[slot]!++
    }
  }

const setting = (name: string, dials: Dials): Setting => ({
  name,
  about:
    `SGLang model gateway, prefix_hash of ${dials.prefixTokens} tokens, load factor ${dials.loadFactor}` +
    (dials.margin === 0 ? "" : ` and ${dials.margin} requests`),
  isDefault: dials === defaults,
  scrapeMs: null,
  make: make(dials)
})

export const settings: ReadonlyArray<Setting> = [
  setting("smg-prefix-hash", defaults),
  setting("smg-prefix-hash-1024", { ...defaults, prefixTokens: 1024 }),
  setting("smg-prefix-hash-margin", { ...defaults, margin: 10 })
]
