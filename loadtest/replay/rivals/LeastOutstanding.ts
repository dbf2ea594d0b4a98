/** The worker with the fewest requests in flight, ties in turn: `least_conn` of nginx, `leastconn` of HAProxy. */
import * as Pick from "./Pick.ts"
import type { Setting } from "./Rival.ts"

export const settings: ReadonlyArray<Setting> = [
  {
    name: "least-outstanding",
    about: "fewest requests in flight, ties in turn",
    isDefault: true,
    scrapeMs: null,
    make: ({ sent }) => {
      let next = 0
      return {
        place: ({ eligible }) => {
          const slot = Pick.lowestFrom(sent.outstanding, eligible, next)
          next = slot + 1
          return slot
        }
      }
    }
  }
]
