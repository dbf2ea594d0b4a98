/**
 * vLLM production-stack, `kvaware`: the longest prefix, if all but some 2 000 tokens of the prompt are held there; else the
 * session's worker on a ring, or, without a session, the worker that was sent the least in the last minute.
 *
 * It asks an LMCache controller and takes the first worker that answers; here it is the one that holds the most.
 */
import * as HashRing from "./HashRing.ts"
import type { Make, Setting } from "./Rival.ts"

const thresholdTokens = 2_000
const windowMs = 60_000
const pointsEach = 160

const make =
  (hasSessions: boolean): Make =>
  ({ workers }) => {
    const ring = HashRing.make(workers, pointsEach)
    /** Requests sent in the window: when and where, oldest first; and how many, by worker. */
    const sentMs: Array<number> = []
    const sentTo: Array<number> = []
    let from = 0
    const recent = new Int32Array(workers)
    const forget = (nowMs: number) => {
      while (from < sentMs.length && sentMs[from]! < nowMs - windowMs) recent[sentTo[from++]!]!--
      if (from < 4096 || 2 * from < sentMs.length) return
      sentMs.splice(0, from)
      sentTo.splice(0, from)
      from = 0
    }
    return {
      place: ({ eligible, heldTokens, promptTokens, session }, nowMs) => {
        forget(nowMs)
        let longest = -1
        let rarest = -1
        for (let slot = 0; slot < workers; slot++) {
          if (eligible[slot] === 0) continue
          if (longest < 0 || heldTokens[slot]! > heldTokens[longest]!) longest = slot
          if (rarest < 0 || recent[slot]! < recent[rarest]!) rarest = slot
        }
        const held = heldTokens[longest]!
        if (held > 0 && held >= promptTokens - thresholdTokens) return longest
        return hasSessions && session !== null ? HashRing.find(ring, session, eligible) : rarest
      },
      booked: (_, slot, nowMs) => {
        sentMs.push(nowMs)
        sentTo.push(slot)
        recent[slot]!++
      }
    }
  }

const setting = (name: string, rest: string, hasSessions: boolean): Setting => ({
  name,
  about: `vLLM production-stack, kvaware, threshold ${thresholdTokens} tokens, else ${rest}`,
  isDefault: !hasSessions,
  scrapeMs: null,
  make: make(hasSessions)
})

export const settings: ReadonlyArray<Setting> = [
  setting("kvaware", "lowest QPS", false),
  setting("kvaware-sessions", "session hash", true)
]
