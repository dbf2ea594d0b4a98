/** SequenceState: the words of `EventSequence`: what it hears, what it answers, what it is allowed, what it remembers. */
import { BatchPrints, type Saved as SavedPrints } from "./BatchPrints.ts"

export type Input =
  | { readonly _tag: "Connected" }
  | { readonly _tag: "Disconnected" }
  | { readonly _tag: "Live"; readonly seq: number; readonly payload: Uint8Array }
  /** `id` names the replay it belongs to; those of an abandoned replay are ignored. Fed before its request is sent. */
  | { readonly _tag: "ReplayBegun"; readonly id: number }
  | { readonly _tag: "Replayed"; readonly id: number; readonly seq: number; readonly payload: Uint8Array }
  | { readonly _tag: "ReplayDone"; readonly id: number }
  | { readonly _tag: "ReplayFailed"; readonly id: number }
  /** Nothing was heard for a while: the last message may be the one that was lost. */
  | { readonly _tag: "Look" }
  /** Forget everything and go on from whatever comes. */
  | { readonly _tag: "Admit"; readonly why: string }
  /** Forget everything and read it again, where it can be. */
  | { readonly _tag: "Resync"; readonly why: string }

export type Output =
  | { readonly _tag: "Apply"; readonly seq: number; readonly payload: Uint8Array }
  | { readonly _tag: "Purge" }
  /** Ask the engine for `seq >= from`. `attempt` counts failures before it, for the same hole. Replaces an earlier one. */
  | { readonly _tag: "Replay"; readonly id: number; readonly from: number; readonly attempt: number }

export interface Options {
  /** The source has a replay address. */
  readonly replayable: boolean
  /** Live batches held back at most while a replay runs or has failed; more are dropped, and found missing later. */
  readonly heldMax: number
  readonly heldBytesMax: number
  /** Failed replays before a hole is admitted; once as many failed in a row, one more is enough for each later hole. */
  readonly attemptsMax: number
}

export interface State {
  readonly options: Options
  phase: "idle" | "replaying" | "live"
  connected: boolean
  /** Some batch was applied, or the engine said there is none. */
  started: boolean
  /** A hole is open, or it is not sure that this is still the same life. */
  doubt: boolean
  /** Why it is in doubt; kept when it is not. */
  why: string
  /** Every batch of this life has been applied. */
  complete: boolean
  /** Why it is not complete. */
  lostWhy: string
  /** Next number to apply. */
  next: number
  /** Where the stream goes on is not known: the next live batch says. */
  adrift: boolean
  readonly held: Map<number, Uint8Array>
  heldBytes: number
  /** Highest number heard and not applied; -1 for none. */
  awaited: number
  readonly prints: BatchPrints
  // The replay under way.
  id: number
  from: number
  /** It was begun: its answer holds what was heard before, up to `target`. */
  begun: boolean
  target: number
  first: number
  /** The engine did not show our last batch: is it another life? */
  suspect: boolean
  same: boolean
  other: boolean
  /** It has a hole: its rest is not applied. */
  cut: boolean
  /** Number where the last hole inside a replay began; -1 for none. */
  cutAt: number
  attempt: number
  /** Replays failed in a row. */
  failures: number
  // Counters.
  gaps: number
  replays: number
  replayFailures: number
  purges: number
  restarts: number
  duplicates: number
  lost: number
}

export const make = (options: Options): State => ({
  options,
  phase: "idle",
  connected: false,
  started: false,
  doubt: false,
  why: "",
  complete: false,
  lostWhy: "joined late",
  next: 0,
  adrift: !options.replayable,
  held: new Map(),
  heldBytes: 0,
  awaited: -1,
  prints: new BatchPrints(),
  id: 0,
  from: 0,
  begun: false,
  target: -1,
  first: -1,
  suspect: false,
  same: false,
  other: false,
  cut: false,
  cutAt: -1,
  attempt: 0,
  failures: 0,
  gaps: 0,
  replays: 0,
  replayFailures: 0,
  purges: 0,
  restarts: 0,
  duplicates: 0,
  lost: 0
})

/** Where a publisher stood: what another state needs to go on from there. */
export interface Saved {
  readonly next: number
  readonly complete: boolean
  readonly lostWhy: string
  readonly prints: SavedPrints
}

/** Null where nothing is known to go on from. */
export const saved = ({ adrift, complete, lostWhy, next, prints, started }: State): Saved | null =>
  started && !adrift ? { next, complete, lostWhy, prints: prints.saved() } : null

/** For a state that has heard nothing: it goes on as if it had applied every batch before `next` itself. */
export const restore = (s: State, { complete, lostWhy, next, prints }: Saved): void => {
  s.started = true
  s.adrift = false
  s.next = next
  s.complete = complete
  s.lostWhy = lostWhy
  s.prints.restore(prints)
}
