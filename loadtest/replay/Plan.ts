/** Plan: what is replayed, on which fleet and under which load, in data that a thread can be sent. */
import * as Random from "../Random.ts"
import { type Fleet, fleet, type ProfileName, profiles } from "./Profiles.ts"
import * as Saturation from "./Saturation.ts"
import * as Trace from "./Trace.ts"

/** A part of a trace, and a fleet. */
/** What is replayed. */
export interface Source {
  readonly file: string
  /** Tokens an id of the file stands for; null: as its format has it. */
  readonly blockSize: number | null
  /** Of the trace's time; null: all of it, or `sessionsMs` of sessions. */
  readonly untilMs: number | null
}

export interface Setting extends Source {
  readonly profile: ProfileName
  readonly workers: number
  /** Of each worker. */
  readonly cacheTokens: number
}

export interface Plan extends Setting {
  readonly load: Load
}

export type Load =
  /** Copies of a trace of arrivals. */
  | { readonly kind: "copies"; readonly copies: number }
  /** Sessions alive at once, per worker. */
  | { readonly kind: "sessions"; readonly perWorker: number }

/** Of sessions, which go on as long as they are wanted: the first fifth is enough for a cold start to be over. */
export const sessionsMs = 2 * 3_600_000

/** As long as is replayed. */
export const read = ({ blockSize, file, untilMs }: Source): Trace.Trace => {
  const trace = Trace.read(file, { blockSize })
  return trace.kind === "sessions" || untilMs === null ? trace : Trace.slice(trace, 0, untilMs)
}

export const fleetOf = ({ cacheTokens, profile, workers }: Setting, { blockSize }: Trace.Trace): Fleet =>
  fleet(profiles[profile], workers, cacheTokens, blockSize)

/** What `Replay.run` and `Live.replay` are given; the same seed, the same requests. */
export interface Staged {
  readonly trace: Trace.Trace
  readonly durationMs: number
  /** Sessions alive at once, in the whole fleet. */
  readonly live: number
}

export const stage = ({ load, untilMs, workers }: Plan, trace: Trace.Trace, seed: number): Staged => {
  if (trace.kind === "sessions") {
    const live = load.kind === "sessions" ? Math.max(1, Math.round(load.perWorker * workers)) : 0
    return { trace, durationMs: untilMs ?? sessionsMs, live }
  }
  const copies = load.kind === "copies" ? load.copies : 1
  const copied = Trace.copied(trace, copies, Random.make(seed))
  return { trace: copied, durationMs: trace.durationMs, live: 0 }
}

/** Copies at which the fleet is at so much of what it could serve at most. */
export const copiesAt = (setting: Setting, trace: Trace.Arrivals, share: number): number =>
  Saturation.copies(trace, fleetOf(setting, trace), share, Random.make(1)).copies
