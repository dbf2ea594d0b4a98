/**
 * Consistent hashing: a ring with 160 points a worker, as vllm-project/router and the SGLang gateway have it. A request
 * goes to the worker of the first point at or after its key: its session's (else its first block's), or its first
 * block's alone, as `prefix_hash` keys by how a prompt begins. A bound skips workers with more than 1.25 times the mean
 * of requests in flight (Mirrokni et al., "Consistent Hashing with Bounded Loads", 2017). Keys and points are the same
 * whatever the seed, as they would be in every replica; requests with neither session nor full block are drawn.
 */
import * as Random from "../../Random.ts"
import * as Conversation from "./Conversation.ts"
import * as HashRing from "./HashRing.ts"
import type { Asked, Make, Setting } from "./Rival.ts"

const pointsPerWorker = 160

interface Dials {
  readonly by: "session" | "first block"
  /** Most requests in flight, per their mean; Infinity for none. */
  readonly bound: number
}

const make =
  ({ bound, by }: Dials): Make =>
  ({ seed, sent, workers }) => {
    const random = Random.make(seed)
    const ring = HashRing.make(workers, pointsPerWorker)
    const open = new Uint8Array(workers)
    const hash = (asked: Asked): number => {
      const key = Conversation.of(by === "session" ? asked : { ...asked, session: null })
      return key === null ? random() * 2 ** 32 : Random.mix(0, [key | 0, Math.floor(key / 2 ** 32), 0])
    }
    return {
      place: (asked) => {
        const { eligible } = asked
        let fleet = 0
        let total = 1
        for (let slot = 0; slot < workers; slot++) {
          if (eligible[slot] === 0) continue
          fleet++
          total += sent.outstanding[slot]!
        }
        // With the request itself counted and rounded up, some worker is always below.
        const most = Math.ceil((bound * total) / fleet)
        for (let slot = 0; slot < workers; slot++) open[slot] = sent.outstanding[slot]! < most ? eligible[slot]! : 0
        return HashRing.find(ring, hash(asked), open)
      }
    }
  }

export const settings: ReadonlyArray<Setting> = [
  {
    name: "consistent-hash",
    about: "a ring of sessions",
    isDefault: true,
    scrapeMs: null,
    make: make({ by: "session", bound: Infinity })
  },
  {
    name: "consistent-hash-bounded",
    about: "a ring of sessions, at most 1.25 of the mean load",
    isDefault: false,
    scrapeMs: null,
    make: make({ by: "session", bound: 1.25 })
  },
  {
    name: "first-block-hash",
    about: "a ring of first blocks",
    isDefault: false,
    scrapeMs: null,
    make: make({ by: "first block", bound: Infinity })
  },
  {
    name: "first-block-hash-bounded",
    about: "a ring of first blocks, at most 1.25 of the mean load",
    isDefault: false,
    scrapeMs: null,
    make: make({ by: "first block", bound: 1.25 })
  }
]
