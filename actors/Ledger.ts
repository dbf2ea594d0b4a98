/**
 * Ledger: what every worker has been given, and the choice of the next worker.
 *
 * Owns     one `LoadTable` and one `InFlight`; nobody else writes to them.
 * Hears    workers joining and leaving, engines' hints, bookings and how they end: all synchronous, on the caller's turn.
 * Answers  `place` and `explain`, synchronously, without waiting and (for `place`) without allocating.
 * Loses    everything, when the process ends: bookings are those of this process, and what replicas tell of theirs. Rates
 *          are learned again in some twenty requests.
 *
 * Time is the caller's: every verb takes `nowMs`, all from one monotonic clock. There is no timer; averages and graces
 * move on with the verbs.
 */
import { Context, Layer } from "effect"
import type { KeyLanes } from "../src/domain/Block.ts"
import type { Placement } from "../src/domain/Placement.ts"
import type { RankLoad } from "../src/domain/Worker.ts"
import * as Bookings from "../src/hot/Bookings.ts"
import * as Cost from "../src/hot/Cost.ts"
import * as Decision from "../src/hot/Decision.ts"
import { InFlight } from "../src/hot/InFlight.ts"
import * as LoadTable from "../src/hot/LoadTable.ts"
import * as Policies from "../src/hot/Policies.ts"
import * as RateModel from "../src/hot/RateModel.ts"

/** What is asked of the ledger for one request. */
export interface Ask {
  /**
   * Prefill tokens that each worker's overlap saves, by slot: all of what is on the device, a share of what lies on
   * farther tiers. `place` raises it by what is on its way.
   */
  readonly cachedTokens: Uint32Array
  /** Leading prompt tokens each worker holds on any tier, by slot: what its engine should report as cached. */
  readonly heldTokens: Uint32Array
  readonly promptTokens: number
  /** The prompt's block keys, as many as are known; empty when there are none. Copied when booked. */
  readonly keys: KeyLanes
  readonly blockSize: number
  /** Lower goes first, whatever the engines' own order; null when the request has none. */
  readonly priority: number | null
  /** Prefill that waits in the router and goes before it, by slot, ms; null or left out: none does. See `Admission`. */
  aheadMs?: Float64Array | null
  /** 1 for each slot this request may go to (serves the model, not yet tried); null for all. Health is the ledger's. */
  readonly eligible: Uint8Array | null
}

export interface Outcome {
  /** Output tokens as the engine counted them, or null. */
  readonly outputTokens: number | null
  /** Prompt tokens the engine says it took from its cache, or null. */
  readonly cachedTokens: number | null
  /** `complete`: the whole answer. `aborted`: the client left. `failed`: the worker did. */
  readonly outcome: "complete" | "aborted" | "failed"
}

/** One request charged to one worker. Both verbs may be called again without effect. */
export interface Booking {
  readonly slot: number
  /** Leading prompt tokens the worker held, by the picture of its cache. */
  readonly heldTokens: number
  readonly firstByte: (nowMs: number) => void
  readonly settle: (nowMs: number, outcome: Outcome) => void
}

/** A request that another replica has placed, as it tells of it. */
export interface Elsewhere {
  readonly promptTokens: number
  /** As of `Ask`, for that worker. */
  readonly cachedTokens: number
  readonly streams: boolean
  readonly priority: number | null
  /** Its first token was seen already. */
  readonly active: boolean
  /** As of `Ask`; of one that is active they are not wanted. */
  readonly keys: KeyLanes
}

/** Such a request, charged here. It teaches neither rates nor lengths. Both verbs may be called again without effect. */
export interface Charged {
  readonly firstByte: (nowMs: number) => void
  /** `computed`: the worker probably has its prompt, though no first token was heard of. */
  readonly settle: (nowMs: number, computed: boolean) => void
}

/** One worker as the admin API shows it. */
export interface WorkerLoad {
  readonly slot: number
  readonly eligible: boolean
  /** Requests without a first token, and their predicted prefill. */
  readonly queued: number
  readonly queuedMs: number
  /** Requests decoding, and the context tokens they hold. */
  readonly active: number
  readonly activeTokens: number
  readonly capacityTokens: number | null
  /** Predicted prefill ahead of a new request. */
  readonly waitMs: number
  /** Learned: ms of prefill per uncached token at a 2 048-token prompt, ms per output token, and from how many samples. */
  readonly prefillMsPerToken: number
  readonly decodeMsPerToken: number
  readonly prefillSamples: number
  readonly decodeSamples: number
  readonly credit: number
}

export interface Snapshot {
  readonly policy: Policies.Name
  readonly price: number
  /** Share of workers with a request queued, 10 s average. */
  readonly busyMean: number
  readonly inFlightEntries: number
  readonly inFlightBytes: number
  /** Requests served without being counted, because the pool was full. */
  readonly dropped: number
  readonly workers: ReadonlyArray<WorkerLoad>
}

export interface Options {
  readonly policy: Policies.Name
  /** Slots are below this. */
  readonly workersMax: number
  /** For replays: what is learned of the workers' pace is so many times what was seen. 1 when left out. */
  readonly observed?: number
}

export class Ledger extends Context.Service<
  Ledger,
  {
    readonly policy: Policies.Name
    /** A worker takes a slot. `capacityTokens` is what its cache holds, null when it does not tell. */
    readonly join: (slot: number, capacityTokens: number | null) => void
    /** A worker is gone: its load and what was on its way to it are forgotten. */
    readonly leave: (slot: number) => void
    /** Allowed, healthy, not draining. */
    readonly setEligible: (slot: number, eligible: boolean) => void
    /** Learned later than joining, for example from the first event. */
    readonly setCapacity: (slot: number, capacityTokens: number) => void
    /** A worker serves by priority: what a request without one counts as there, lower first. Null: by arrival. */
    readonly setPriority: (slot: number, unset: number | null) => void
    /** Share of a worker's overlap to believe, 0 to 1. */
    readonly setCredit: (slot: number, credit: number) => void
    /** What the engine says of itself on `/metrics`. */
    readonly hint: (slot: number, load: RankLoad, nowMs: number) => void
    /** The worker's slot, or -1 when none is eligible. Raises `ask.cachedTokens` by what is on its way. */
    readonly place: (ask: Ask, nowMs: number) => number
    /** The same decision, not taken: every candidate's terms. Leaves the rotation alone. */
    readonly explain: (ask: Ask, nowMs: number) => Placement
    /**
     * All that the same decision by cost follows from, so that it can be made again elsewhere. Of more candidates than
     * `most` those that came nearest to being chosen, and those that hold the longest prefixes.
     */
    readonly decision: (ask: Ask, nowMs: number, most?: number) => Decision.Decision
    /** As `place`, with all that it followed from, of `most` candidates as `decision` has them. */
    readonly decide: (
      ask: Ask,
      nowMs: number,
      most: number
    ) => { readonly slot: number; readonly decision: Decision.Decision }
    /** As `place`, not taken: where it would go, and what it would wait there behind ours. Good until the next call. */
    readonly outlook: (ask: Ask, nowMs: number) => Readonly<Cost.Outlook>
    /** Prefill of its prompt where most of it is held, on an average worker, ms. */
    readonly leastMs: (ask: Ask) => number
    /** Predicted prefill of what was charged to a worker and has no first token, ms. */
    readonly aheadMs: (slot: number, nowMs: number) => number
    /** Some worker has requests without a first token. */
    readonly isBusy: () => boolean
    /** Charges the request to the worker, with the ask that was placed. `streams`: its first token will be seen. */
    readonly book: (slot: number, ask: Ask, streams: boolean, nowMs: number) => Booking
    /** Charges what another replica has sent to the worker. */
    readonly charge: (slot: number, request: Elsewhere, nowMs: number) => Charged
    readonly snapshot: (nowMs: number) => Snapshot
    /** One worker of the snapshot; null when it is not present. */
    readonly worker: (slot: number, nowMs: number) => WorkerLoad | null
  }
>()("warmpath/actors/Ledger") {
  static readonly layer = (options: Options): Layer.Layer<Ledger> => Layer.sync(this, () => make(options))
}

/** The ledger without a runtime, for tests and tools. */
export const make = (options: Options): Ledger["Service"] => {
  const load = LoadTable.make(options.workersMax, options.observed)
  const inFlight = new InFlight()
  const choose = Policies.byName[options.policy]
  const mask = new Uint8Array(options.workersMax)
  const found = new Float64Array(options.workersMax * Cost.terms)
  const seen: Cost.Outlook = { slot: -1, waitMs: 0, ownMs: 0, meanMs: 0 }
  let hasAhead = false
  let rotation = 0

  /** Everything a decision needs to have happened before it. The slots that may be chosen. */
  const prepare = (ask: Ask, nowMs: number): Uint8Array => {
    LoadTable.advance(load, nowMs)
    Bookings.releaseDue(load, nowMs)
    Bookings.passing(load, ask.priority)
    if (ask.aheadMs != null) load.aheadMs.set(ask.aheadMs)
    else if (hasAhead) load.aheadMs.fill(0)
    hasAhead = ask.aheadMs != null
    const { blockSize, cachedTokens, eligible, keys, promptTokens } = ask
    inFlight.raise(keys, keys.length >> 1, blockSize, promptTokens, nowMs, cachedTokens)
    const { eligible: healthy, slots } = load
    if (eligible === null) return healthy
    for (let slot = 0; slot < slots; slot++) mask[slot] = healthy[slot]! & eligible[slot]!
    return mask
  }

  /** `chosen`: null where it is not known yet. */
  const keptOf = (ask: Ask, nowMs: number, most: number, eligible: Uint8Array, chosen: number | null) => {
    const { cachedTokens, promptTokens } = ask
    let kept: ReadonlyArray<number> = slotsOf(eligible, load.slots)
    if (kept.length > most) {
      const slot = chosen ?? choose(load, cachedTokens, promptTokens, nowMs, rotation, eligible)
      const costs = Cost.costs(load, cachedTokens, promptTokens, nowMs, rotation, eligible)
      kept = Decision.nearest(kept, costs, cachedTokens, slot, most)
    }
    return Decision.of(load, cachedTokens, promptTokens, nowMs, rotation, eligible, kept)
  }

  return Ledger.of({
    policy: options.policy,
    join: (slot, capacityTokens) => {
      inFlight.leave(slot)
      LoadTable.join(load, slot, capacityTokens ?? 0)
    },
    leave: (slot) => {
      inFlight.leave(slot)
      LoadTable.reset(load, slot)
    },
    setEligible: (slot, eligible) => {
      if (load.present[slot] === 1) load.eligible[slot] = eligible ? 1 : 0
    },
    setCapacity: (slot, capacityTokens) => {
      load.capacityTokens[slot] = capacityTokens
    },
    setPriority: (slot, unset) => LoadTable.setPriority(load, slot, unset),
    setCredit: (slot, credit) => {
      load.credit[slot] = Math.max(0, Math.min(1, credit))
    },
    hint: (slot, engine, nowMs) =>
      LoadTable.hint(load, slot, engine.waiting ?? Number.NaN, engine.kvUsage ?? Number.NaN, nowMs),
    place: (ask, nowMs) => {
      const slot = choose(load, ask.cachedTokens, ask.promptTokens, nowMs, rotation, prepare(ask, nowMs))
      if (slot !== LoadTable.NONE) rotation = slot + 1
      return slot
    },
    explain: (ask, nowMs) => {
      const eligible = prepare(ask, nowMs)
      const { cachedTokens, promptTokens } = ask
      const slot = choose(load, cachedTokens, promptTokens, nowMs, rotation, eligible)
      return {
        ...Cost.explain(load, cachedTokens, promptTokens, nowMs, rotation, eligible),
        slot,
        policy: options.policy
      }
    },
    decision: (ask, nowMs, most) => {
      const eligible = prepare(ask, nowMs)
      const { cachedTokens, promptTokens } = ask
      if (most === undefined) return Decision.of(load, cachedTokens, promptTokens, nowMs, rotation, eligible)
      return keptOf(ask, nowMs, most, eligible, null)
    },
    decide: (ask, nowMs, most) => {
      const eligible = prepare(ask, nowMs)
      const slot = choose(load, ask.cachedTokens, ask.promptTokens, nowMs, rotation, eligible)
      const decision = keptOf(ask, nowMs, most, eligible, slot)
      if (slot !== LoadTable.NONE) rotation = slot + 1
      return { slot, decision }
    },
    outlook: (ask, nowMs) => {
      const eligible = prepare(ask, nowMs)
      return Cost.outlook(load, ask.cachedTokens, ask.promptTokens, nowMs, rotation, eligible, found, seen)
    },
    leastMs: ({ cachedTokens, eligible, promptTokens }) => {
      let most = 0
      for (let slot = 0; slot < load.slots; slot++) {
        if (eligible === null || eligible[slot] === 1) most = Math.max(most, cachedTokens[slot]! * load.credit[slot]!)
      }
      return RateModel.prefillMs(load.rates, options.workersMax, promptTokens, Math.max(1, promptTokens - most))
    },
    aheadMs: (slot, nowMs) => Cost.sentMs(load, slot, nowMs),
    isBusy: () => load.busy > 0,
    book: (slot, ask, streams, nowMs) => {
      const cachedTokens = ask.cachedTokens[slot]!
      const keyCount = ask.keys.length >> 1
      const handle = Bookings.book(load, slot, ask.promptTokens, cachedTokens, streams, nowMs, ask.priority)
      return makeBooking(
        load,
        inFlight,
        handle,
        inFlight.add(slot, ask.keys, keyCount, nowMs),
        slot,
        ask.heldTokens[slot]!
      )
    },
    charge: (slot, request, nowMs) => makeCharged(load, inFlight, slot, request, nowMs),
    snapshot: (nowMs) => {
      LoadTable.advance(load, nowMs)
      Bookings.releaseDue(load, nowMs)
      inFlight.sweep(nowMs)
      const workers: Array<WorkerLoad> = []
      for (let slot = 0; slot < load.slots; slot++) {
        if (load.present[slot] === 1) workers.push(workerLoad(load, slot, nowMs))
      }
      return {
        policy: options.policy,
        price: Cost.priceOf(load),
        busyMean: load.busyMean,
        inFlightEntries: inFlight.size,
        inFlightBytes: inFlight.bytes,
        dropped: load.dropped,
        workers
      }
    },
    worker: (slot, nowMs) => {
      LoadTable.advance(load, nowMs)
      Bookings.releaseDue(load, nowMs)
      return load.present[slot] === 1 ? workerLoad(load, slot, nowMs) : null
    }
  })
}

const slotsOf = (mask: Uint8Array, count: number): ReadonlyArray<number> => {
  const slots: Array<number> = []
  for (let slot = 0; slot < count; slot++) if (mask[slot] === 1) slots.push(slot)
  return slots
}

const makeBooking = (
  load: LoadTable.LoadTable,
  inFlight: InFlight,
  handle: number,
  flight: number,
  slot: number,
  heldTokens: number
): Booking => {
  let seen = false
  let settled = false
  return {
    slot,
    heldTokens,
    firstByte: (nowMs) => {
      if (seen || settled) return
      seen = true
      Bookings.firstByte(load, handle, nowMs)
      inFlight.release(flight, nowMs)
    },
    settle: (nowMs, { cachedTokens, outcome, outputTokens }) => {
      if (settled) return
      settled = true
      Bookings.settle(
        load,
        handle,
        outputTokens ?? Number.NaN,
        cachedTokens ?? Number.NaN,
        outcome === "complete",
        nowMs
      )
      if (seen) return
      // A whole answer whose first token was not seen is computed; anything else never got that far.
      if (outcome === "complete") inFlight.release(flight, nowMs)
      else inFlight.remove(flight)
    }
  }
}

const makeCharged = (
  load: LoadTable.LoadTable,
  inFlight: InFlight,
  slot: number,
  { active, cachedTokens, keys, priority, promptTokens, streams }: Elsewhere,
  nowMs: number
): Charged => {
  const handle = Bookings.book(load, slot, promptTokens, cachedTokens, streams, nowMs, priority)
  if (active) Bookings.skipPrefill(load, handle, nowMs)
  const flight = active ? 0 : inFlight.add(slot, keys, keys.length >> 1, nowMs)
  let seen = active
  let settled = false
  return {
    firstByte: (atMs) => {
      if (seen || settled) return
      seen = true
      Bookings.firstByte(load, handle, atMs, false)
      inFlight.release(flight, atMs)
    },
    settle: (atMs, computed) => {
      if (settled) return
      settled = true
      Bookings.settle(load, handle, Number.NaN, Number.NaN, false, atMs)
      if (seen) return
      if (computed) inFlight.release(flight, atMs)
      else inFlight.remove(flight)
    }
  }
}

const workerLoad = (load: LoadTable.LoadTable, slot: number, nowMs: number): WorkerLoad => {
  const { rates } = load
  return {
    slot,
    eligible: load.eligible[slot] === 1,
    queued: load.queued[slot]!,
    queuedMs: load.queuedUs[slot]! / 1000,
    active: load.active[slot]!,
    activeTokens: load.activeTokens[slot]!,
    capacityTokens: load.capacityTokens[slot]! > 0 ? load.capacityTokens[slot]! : null,
    waitMs: Cost.aheadMs(load, slot, nowMs),
    prefillMsPerToken: RateModel.prefillMs(rates, slot, 2048, 2048) / 2048,
    decodeMsPerToken:
      RateModel.decodeFloorMs(rates, slot) + RateModel.decodeContextMs(rates, slot) * load.activeTokens[slot]!,
    prefillSamples: rates.prefills[slot]!,
    decodeSamples: rates.decodes[slot]!,
    credit: load.credit[slot]!
  }
}
