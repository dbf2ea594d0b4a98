/**
 * SGLang model gateway (SMG), `prefix_hash`: the first tokens of a prompt are hashed onto a ring of workers. A worker that
 * is over the bound gives its request to the least loaded one; when all are, it keeps it. (Later releases bear ten requests
 * over the mean as well: with prompts that all begin alike that does worse.)
 */
import * as Random from "../../Random.ts"
import * as HashRing from "./HashRing.ts"
import type { Make, Setting } from "./Rival.ts"
import * as SmgBalance from "./SmgBalance.ts"

/** Tokens hashed, in whole blocks. */
const prefixTokensDefault = 256
/** A worker takes no more than this many times the mean of requests. */
const loadFactor = 1.25
const pointsEach = 160

const make =
  (prefixTokens: number): Make =>
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
        const bound = (loadFactor * total) / count
        const last = Math.min(prefixBlocks, blocks) - 1
        const slot = HashRing.find(ring, Random.mix(0, keys.subarray(2 * last, 2 * last + 2)), eligible)
        return sent.outstanding[slot]! > bound && sent.outstanding[least]! <= bound ? least : slot
      },
      booked: (_, slot) => void processed[slot]!++
    }
  }

const setting = (name: string, prefixTokens: number): Setting => ({
  name,
  about: `SGLang model gateway, prefix_hash of ${prefixTokens} tokens, load factor ${loadFactor}`,
  isDefault: prefixTokens === prefixTokensDefault,
  scrapeMs: null,
  make: make(prefixTokens)
})

export const settings: ReadonlyArray<Setting> = [
  setting("smg-prefix-hash", prefixTokensDefault),
  setting("smg-prefix-hash-1024", 1024)
]
