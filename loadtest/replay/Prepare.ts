/** Prepare: from flags and the trace they are for to a plan. */
import { Option } from "effect"
import { defaults, type Given } from "./Flags.ts"
import * as Plan from "./Plan.ts"
import * as Profiles from "./Profiles.ts"
import type { Routers } from "./Replicas.ts"
import type * as Trace from "./Trace.ts"

/** What was asked for makes no sense; the message says why, and what would. */
export class Refused extends Error {}

const minuteMs = 60_000

export const source = ({ blockSize, until }: Given, file: string): Plan.Source => ({
  file,
  blockSize: Option.getOrNull(blockSize),
  untilMs: Option.match(until, { onNone: () => null, onSome: (minutes) => minutes * minuteMs })
})

const cacheTokensOf = (cache: string, profile: Profiles.Profile, blockSize: number): number => {
  const size = Profiles.cacheSizes.find((name) => name === cache)
  if (size !== undefined) return profile.cacheTokens[size]
  const tokens = Number(cache)
  if (Number.isInteger(tokens) && tokens >= blockSize) return tokens
  throw new Refused(
    `--cache ${cache}: ${Profiles.cacheSizes.join(", ")}, or a number of tokens, at least one block of ${blockSize}.`
  )
}

/** A load, or the share of what the fleet could serve at most, from which it has yet to be found. */
export type Wanted = Plan.Load | { readonly kind: "share"; readonly share: number }

export const setting = (given: Given, file: string, trace: Trace.Trace): Plan.Setting => {
  const profile = Option.getOrElse(given.profile, () => (trace.kind === "arrivals" ? "llama70" : "mla"))
  const setting = {
    ...source(given, file),
    profile,
    workers: given.workers,
    cacheTokens: cacheTokensOf(given.cache, Profiles.profiles[profile], trace.blockSize)
  }
  // Engines behind a running router have caches of their own.
  if (Option.isNone(given.url) || Option.isSome(given.load)) checkRoom(setting, trace)
  return setting
}

/** A request that no engine ever has room for would keep all behind it waiting, and the figures would not show it. */
const checkRoom = (setting: Plan.Setting, trace: Trace.Trace): void => {
  const fleet = Plan.fleetOf(setting, trace)
  const room = fleet.pinsMax * trace.blockSize
  const requests =
    trace.kind === "arrivals"
      ? trace.requests
      : trace.sessions.flatMap((chains) => chains.flatMap(({ turns }) => turns))
  // The last token of an answer is never computed.
  const most = requests.reduce(
    (most, { outputTokens, promptTokens }) => Math.max(most, promptTokens + outputTokens - 1),
    0
  )
  if (most <= room) return
  throw new Refused(
    `A request of the trace needs room for ${most} tokens, prompt and answer; an engine has ${room}. ` +
      "Give more by --cache, or another --profile."
  )
}

export const wanted = ({ copies, load, sessions, url }: Given, trace: Trace.Trace): Wanted => {
  if (trace.kind === "sessions") {
    if (Option.isSome(load) || Option.isSome(copies)) {
      throw new Refused("This trace has sessions, which wait for their answers: say how many with --sessions.")
    }
    return { kind: "sessions", perWorker: Option.getOrElse(sessions, () => defaults.sessions) }
  }
  if (Option.isSome(sessions)) throw new Refused("This trace has arrivals: say how many with --load or --copies.")
  if (Option.isSome(load) && Option.isSome(copies)) throw new Refused("Give --load or --copies, not both.")
  if (trace.requests.length === 0) throw new Refused("There is no request in that part of the trace.")
  if (Option.isSome(copies)) return { kind: "copies", copies: copies.value }
  // What the engines behind a running router can serve is not known here: the trace as it is.
  if (Option.isSome(url) && Option.isNone(load)) return { kind: "copies", copies: 1 }
  return { kind: "share", share: Option.getOrElse(load, () => defaults.load) }
}

/** Null: there is one. */
export const routers = ({ exchangeMs, routers, url }: Given): Routers | null => {
  if (routers === 1) {
    if (Option.isSome(exchangeMs)) throw new Refused("--exchange-ms is between replicas: add --routers.")
    return null
  }
  if (Option.isSome(url)) throw new Refused("Under --url there are as many routers as there are: leave --routers out.")
  const given = Option.getOrElse(exchangeMs, () => `${defaults.exchangeMs}`)
  const ms = given === "none" ? null : Number(given)
  if (given.trim() === "" || (ms !== null && !(ms >= 0 && ms < Infinity))) {
    throw new Refused(`--exchange-ms ${given}: milliseconds, or "none".`)
  }
  return { count: routers, exchangeMs: ms }
}

/** The load in words, with units. */
export const inWords = (wanted: Wanted, { load, untilMs }: Plan.Plan, trace: Trace.Trace): string => {
  const share = wanted.kind === "share" ? `load ${wanted.share}, ` : ""
  const much =
    load.kind === "sessions"
      ? `${load.perWorker} sessions a worker`
      : `${Number(load.copies.toPrecision(3))} × the trace`
  const ms = trace.kind === "sessions" ? (untilMs ?? Plan.sessionsMs) : trace.durationMs
  return `${share}${much}, ${Number((ms / minuteMs).toPrecision(3))} min`
}
