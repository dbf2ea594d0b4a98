/**
 * Another router's way to choose a worker, as a piece that can stand where our own does: in a replay, and in a live router.
 *
 * A rival decides with what its router would know: what it sent where, what the engines report on `/metrics` (as often
 * as it reads them), and, where its router follows KV events, what each worker holds. It sees neither our ledger nor our
 * costs. `ledger` makes of it the `Ledger` that the rest of the router works with.
 */
import * as Ledger from "../../../actors/Ledger.ts"
import type { RankLoad } from "../../../src/domain/Worker.ts"

/** A request to be placed, and afterwards the same one where it went. */
export interface Asked {
  readonly promptTokens: number
  readonly blockSize: number
  /** Full blocks of the prompt, and their chained keys, two lanes each: a key names its block and all before it. */
  readonly blocks: number
  readonly keys: Int32Array
  /** Leading prompt tokens each worker holds by its KV events, by slot. True while `place` and `booked` run only. */
  readonly heldTokens: Uint32Array
  /** 1 for slots that may be chosen. True while `place` runs only. */
  readonly eligible: Uint8Array
  /** Whose conversation it is, where clients say so. */
  readonly session: number | null
}

/** By slot: what this router itself sent and has not seen the end of. */
export interface Sent {
  /** Requests without an end, and those of them without a first token. */
  readonly outstanding: Int32Array
  readonly queued: Int32Array
  /** Prompt tokens not held when they were sent, of requests without a first token. */
  readonly queuedUncachedTokens: Float64Array
  /** Prompt tokens of all requests without an end. */
  readonly promptTokens: Float64Array
}

export interface Setup {
  /** Slots are below this. */
  readonly workers: number
  readonly blockSize: number
  /** Tokens each worker's cache holds: what a router is configured with, or is told. */
  readonly capacityTokens: number
  readonly seed: number
  readonly sent: Sent
}

export interface Rival {
  /** The slot, one of the eligible; there is at least one. */
  readonly place: (asked: Asked, nowMs: number) => number
  /** What became of it: sent to a worker, first token seen, ended (with or without one). */
  readonly booked?: (asked: Asked, slot: number, nowMs: number) => void
  readonly firstToken?: (asked: Asked, slot: number, nowMs: number) => void
  readonly ended?: (asked: Asked, slot: number, nowMs: number) => void
  /** What an engine said on `/metrics`. */
  readonly reported?: (slot: number, load: RankLoad, nowMs: number) => void
}

export type Make = (setup: Setup) => Rival

/** A rival with its dials set: what tables name. */
export interface Setting {
  readonly name: string
  /** One line: whose router, which dials. */
  readonly about: string
  /** Its project's own default, as opposed to a tuning of ours in its favour. */
  readonly isDefault: boolean
  /** Made by us to do well on these very traces; no project ships, documents or suggests it. Compared with, apart. */
  readonly isOurs?: boolean
  /** How often its router reads the engines' `/metrics`, ms; null when it does not. */
  readonly scrapeMs: number | null
  readonly make: Make
}

/** A request's session beside what the production ledger asks for; the live router has none. */
export interface Ask extends Ledger.Ask {
  readonly session?: number | null
}

export interface Options {
  readonly workers: number
  readonly blockSize: number
  readonly capacityTokens: number
  readonly seed: number
}

/** A ledger that leaves the choice to a rival. Its own accounts are the production ones, for the admin page. */
export const ledger = (make: Make, options: Options): Ledger.Ledger["Service"] => {
  const { workers } = options
  const own = Ledger.make({ policy: "round-robin", workersMax: workers })
  const present = new Uint8Array(workers)
  const eligible = new Uint8Array(workers)
  const mask = new Uint8Array(workers)
  const sent = {
    outstanding: new Int32Array(workers),
    queued: new Int32Array(workers),
    queuedUncachedTokens: new Float64Array(workers),
    promptTokens: new Float64Array(workers)
  }
  const rival = make({ ...options, sent })
  const askedOf = (ask: Ask): Asked => ({
    promptTokens: ask.promptTokens,
    blockSize: ask.blockSize,
    blocks: ask.keys.length >> 1,
    keys: ask.keys,
    heldTokens: ask.heldTokens,
    eligible: mask,
    session: ask.session ?? null
  })
  const forget = (slot: number) => {
    for (const column of Object.values(sent)) column[slot] = 0
  }
  const place = (ask: Ask, nowMs: number): number => {
    let any = 0
    for (let slot = 0; slot < workers; slot++) {
      mask[slot] = present[slot]! & eligible[slot]! & (ask.eligible?.[slot] ?? 1)
      any |= mask[slot]!
    }
    return any === 0 ? -1 : rival.place(askedOf(ask), nowMs)
  }
  const epochs = new Uint32Array(workers)
  return {
    ...own,
    join: (slot, capacityTokens) => {
      forget(slot)
      epochs[slot]!++
      present[slot] = eligible[slot] = 1
      own.join(slot, capacityTokens)
    },
    leave: (slot) => {
      forget(slot)
      epochs[slot]!++
      present[slot] = eligible[slot] = 0
      own.leave(slot)
    },
    setEligible: (slot, may) => {
      eligible[slot] = may ? 1 : 0
      own.setEligible(slot, may)
    },
    hint: (slot, load, nowMs) => {
      rival.reported?.(slot, load, nowMs)
      own.hint(slot, load, nowMs)
    },
    place,
    decide: (ask, nowMs, most) => {
      const decision = own.decision(ask, nowMs, most)
      return { slot: place(ask, nowMs), decision }
    },
    book: (slot, ask: Ask, streams, nowMs) => {
      const booking = own.book(slot, ask, streams, nowMs)
      const asked = askedOf(ask)
      const epoch = epochs[slot]!
      const uncached = Math.max(1, ask.promptTokens - ask.heldTokens[slot]!)
      let queued = true
      let open = true
      const unqueue = () => {
        queued = false
        sent.queued[slot]!--
        sent.queuedUncachedTokens[slot]! -= uncached
      }
      sent.outstanding[slot]!++
      sent.queued[slot]!++
      sent.queuedUncachedTokens[slot]! += uncached
      sent.promptTokens[slot]! += ask.promptTokens
      rival.booked?.(asked, slot, nowMs)
      return {
        ...booking,
        firstByte: (atMs) => {
          booking.firstByte(atMs)
          if (!queued || !open || epochs[slot] !== epoch) return
          unqueue()
          rival.firstToken?.(asked, slot, atMs)
        },
        settle: (atMs, outcome) => {
          booking.settle(atMs, outcome)
          if (!open) return
          open = false
          // A rival that counts for itself hears of it also when the worker has left.
          rival.ended?.(asked, slot, atMs)
          if (epochs[slot] !== epoch) return
          if (queued) unqueue()
          sent.outstanding[slot]!--
          sent.promptTokens[slot]! -= ask.promptTokens
        }
      }
    }
  }
}
