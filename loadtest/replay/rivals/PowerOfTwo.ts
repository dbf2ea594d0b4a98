/**
 * Two workers drawn, the less loaded of them taken: `power_of_two` of the SGLang gateway and vllm-project/router, Ray
 * Serve's default. Counted are requests in flight; the other setting counts prefill tokens to do.
 */
import * as Random from "../../Random.ts"
import type { Make, Sent, Setting } from "./Rival.ts"

const make =
  (load: (sent: Sent) => ArrayLike<number>): Make =>
  ({ seed, sent, workers }) => {
    const random = Random.make(seed)
    const loads = load(sent)
    const candidates = new Uint32Array(workers)
    return {
      place: ({ eligible }) => {
        let count = 0
        for (let slot = 0; slot < workers; slot++) if (eligible[slot] === 1) candidates[count++] = slot
        const at = Math.floor(random() * count)
        const first = candidates[at]!
        if (count === 1) return first
        // Any but the first, each as likely.
        const second = candidates[(at + 1 + Math.floor(random() * (count - 1))) % count]!
        return loads[second]! < loads[first]! ? second : first
      }
    }
  }

export const settings: ReadonlyArray<Setting> = [
  {
    name: "power-of-two",
    about: "the better of two drawn, by requests in flight",
    isDefault: true,
    scrapeMs: null,
    make: make((sent) => sent.outstanding)
  },
  {
    name: "power-of-two-work",
    about: "the better of two drawn, by uncached prefill tokens",
    isDefault: false,
    scrapeMs: null,
    make: make((sent) => sent.queuedUncachedTokens)
  }
]
