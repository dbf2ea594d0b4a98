/** One worker after the other, whatever was asked: what a plain load balancer does. */
import * as Pick from "./Pick.ts"
import type { Setting } from "./Rival.ts"

export const settings: ReadonlyArray<Setting> = [
  {
    name: "round-robin",
    about: "one worker after the other",
    isDefault: true,
    scrapeMs: null,
    make: ({ workers }) => {
      const alike = new Uint8Array(workers)
      let next = 0
      return {
        place: ({ eligible }) => {
          const slot = Pick.lowestFrom(alike, eligible, next)
          next = slot + 1
          return slot
        }
      }
    }
  }
]
