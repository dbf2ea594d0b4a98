/**
 * vLLM production-stack, `kvaware`: the longest prefix, if all but some 2 000 tokens of the prompt are held there; else the
 * session's worker on a ring, or, without a session, the worker that was sent the least in the last minute.
 *
 * It asks an LMCache controller and takes the first worker of the answer; here it is the one that holds the most. Requests
 * outstanding in place of those of the last minute are a tuning of ours: it knows them, and does not use them here.
 */
import * as HashRing from "./HashRing.ts"
import type { Make, Setting } from "./Rival.ts"

const thresholdTokens = 2_000
const windowMs = 60_000
const pointsEach = 160

type Else = "lowest QPS" | "session hash" | "least outstanding"

const make =
  (otherwise: Else): Make =>
  ({ sent, workers }) => {
    const ring = HashRing.make(workers, pointsEach)
    /** Requests sent in the window: when and where, oldest first; and how many, by worker. */
    const sentMs: Array<number> = []
    const sentTo: Array<number> = []
    let from = 0
    const recent = new Int32Array(workers)
    const load = otherwise === "least outstanding" ? sent.outstanding : recent
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
        let idlest = -1
        for (let slot = 0; slot < workers; slot++) {
          if (eligible[slot] === 0) continue
          if (longest < 0 || heldTokens[slot]! > heldTokens[longest]!) longest = slot
          if (idlest < 0 || load[slot]! < load[idlest]!) idlest = slot
        }
        const held = heldTokens[longest]!
        if (held > 0 && held >= promptTokens - thresholdTokens) return longest
        return otherwise === "session hash" && session !== null ? HashRing.find(ring, session, eligible) : idlest
      },
      booked: (_, slot, nowMs) => {
        sentMs.push(nowMs)
        sentTo.push(slot)
        recent[slot]!++
      }
    }
  }

const setting = (name: string, otherwise: Else): Setting => ({
  name,
  about: `vLLM production-stack, kvaware, threshold ${thresholdTokens} tokens, else ${otherwise}`,
  isDefault: otherwise === "lowest QPS",
  scrapeMs: null,
  make: make(otherwise)
})

export const settings: ReadonlyArray<Setting> = [
  setting("kvaware", "lowest QPS"),
  setting("kvaware-sessions", "session hash"),
  setting("kvaware-outstanding", "least outstanding")
]
