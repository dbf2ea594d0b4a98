/**
 * SGLang model gateway (SMG), `cache_aware` in front of gRPC workers with KV events: unless requests are imbalanced, the
 * largest overlap; then the least requests; then the smallest tree. Without any overlap, the least loaded worker.
 */
import type { Make, Setting } from "./Rival.ts"
import * as SmgBalance from "./SmgBalance.ts"

const make =
  (limits: SmgBalance.Limits): Make =>
  ({ blockSize, capacityTokens, sent, workers }) => {
    const processed = new Float64Array(workers)
    // A worker's tree is what its cache holds: all it has computed, as long as there is room.
    const treeTokens = new Float64Array(workers)
    return {
      place: (asked) => {
        const { eligible, heldTokens } = asked
        let best = -1
        let most = 0
        if (!SmgBalance.isImbalanced(asked, sent, limits)) {
          for (let slot = 0; slot < workers; slot++) {
            if (eligible[slot] === 0) continue
            const overlap = Math.floor(heldTokens[slot]! / blockSize)
            if (overlap === 0 || overlap < most) continue
            const less = overlap > most ? -1 : sent.outstanding[slot]! - sent.outstanding[best]!
            if (less < 0 || (less === 0 && treeTokens[slot]! < treeTokens[best]!)) {
              best = slot
              most = overlap
            }
          }
        }
        return best < 0 ? SmgBalance.leastLoaded(asked, sent, processed) : best
      },
      booked: ({ heldTokens, promptTokens }, slot) => {
        processed[slot]!++
        treeTokens[slot] = Math.min(capacityTokens, treeTokens[slot]! + promptTokens - heldTokens[slot]!)
      }
    }
  }

const setting = (name: string, dials: string, limits: SmgBalance.Limits): Setting => ({
  name,
  about: `SGLang model gateway, cache_aware with KV events, ${dials}`,
  isDefault: limits === SmgBalance.defaults,
  scrapeMs: null,
  make: make(limits)
})

export const settings: ReadonlyArray<Setting> = [
  setting("smg-events", "imbalance 64 and 1.5", SmgBalance.defaults),
  setting("smg-events-8", "imbalance 8 and 1.2", { abs: 8, rel: 1.2 })
]
