/**
 * What goes wrong on purpose, and when. Decisions are drawn from one seeded stream.
 *
 * A `Chance` hits the next `next` occasions, then each with `probability`.
 */
import * as Random from "../Random.ts"

export interface Chance {
  readonly probability?: number
  readonly next?: number
}

/** What `POST /sim/faults` takes; a field left out stays as it is. */
export interface FaultSpec {
  /** Event batches numbered and kept for replay, but not sent. */
  readonly drop?: Chance
  /** Event batches sent twice. */
  readonly duplicate?: Chance
  /** Event batches sent after the one that follows them. */
  readonly reorder?: Chance
  /** No event batch is sent; replay still answers. */
  readonly silent?: boolean
  /** Event batches whose bytes are no msgpack, live and replayed: what they said is lost, their number is not. */
  readonly garbage?: Chance
  /** Event batches leave this much later, in order. */
  readonly delayMs?: number
  /** `absent`: none is announced, and none answers. `oneShot`: each life answers one request, then no more. */
  readonly replay?: ReplayState
  /** So many replay requests are not answered. */
  readonly failReplays?: number
  /** So many replays stop half way, without an end. */
  readonly breakReplays?: number
  /** Once: only the newest so many batches are kept for replay. */
  readonly ringShort?: number
  /** Once: the event sockets close and open again on their ports. */
  readonly flap?: Flap
  /** Once: batches of blocks nobody asked for, stored and removed again, as fast as they can be made. */
  readonly flood?: Flood
  /** Steps take this many times as long. */
  readonly slow?: number
  /** Generating requests answered with an error. */
  readonly error?: Chance & { readonly status?: number }
  /** Generating requests whose connection is cut after this many body bytes; 0 cuts before the status line. */
  readonly die?: Chance & { readonly bytes?: number }
  /** Once: no step ends for this long. */
  readonly stallMs?: number
  /** Once: the HTTP port is closed for this long; open connections live on. */
  readonly refuseMs?: number
  /** Once: all sockets are cut and the cache is lost. */
  readonly crash?: Crash
}

export type ReplayState = "serve" | "absent" | "oneShot"

/** Closed for half of each `everyMs`, for `forMs`. */
export interface Flap {
  readonly everyMs: number
  readonly forMs: number
}

/** `blocks` stored in each batch (16 unless told), and those of the batch before removed. */
export interface Flood {
  readonly batches: number
  readonly blocks?: number
}

export interface Crash {
  /** Come back by itself; without it only `POST /sim/restart?engine=N` on a sibling, or `engine.restart()`, does. */
  readonly restartAfterMs?: number
  /** End the whole process instead, with status 1. */
  readonly exit?: boolean
  /** Publish from new ports afterwards. */
  readonly newEventPorts?: boolean
}

/** A chance with its parts filled in. `next` counts down. */
interface Odds {
  readonly probability: number
  next: number
}

/** The standing faults, as `GET /sim/faults` shows them. */
export interface Standing {
  drop: Odds
  duplicate: Odds
  reorder: Odds
  silent: boolean
  garbage: Odds
  delayMs: number
  replay: ReplayState
  failReplays: number
  breakReplays: number
  slow: number
  error: Odds & { status: number }
  die: Odds & { bytes: number }
}

const never = { probability: 0, next: 0 }

export class Faults {
  readonly standing: Standing
  /** For what faults are made of, apart from whether they happen. */
  readonly random: Random.Random
  readonly #random: Random.Random

  constructor(seed: number) {
    this.#random = Random.make(seed)
    this.random = Random.make(seed + 1)
    this.standing = {
      drop: { ...never },
      duplicate: { ...never },
      reorder: { ...never },
      silent: false,
      garbage: { ...never },
      delayMs: 0,
      replay: "serve",
      failReplays: 0,
      breakReplays: 0,
      slow: 1,
      error: { ...never, status: 500 },
      die: { ...never, bytes: 0 }
    }
  }

  /** Takes over the standing parts of a spec. What happens once is the engine's to do. */
  set(spec: FaultSpec): void {
    const { standing } = this
    if (spec.drop !== undefined) standing.drop = { ...never, ...spec.drop }
    if (spec.duplicate !== undefined) standing.duplicate = { ...never, ...spec.duplicate }
    if (spec.reorder !== undefined) standing.reorder = { ...never, ...spec.reorder }
    if (spec.silent !== undefined) standing.silent = spec.silent
    if (spec.garbage !== undefined) standing.garbage = { ...never, ...spec.garbage }
    if (spec.delayMs !== undefined) standing.delayMs = spec.delayMs
    if (spec.replay !== undefined) standing.replay = spec.replay
    if (spec.failReplays !== undefined) standing.failReplays = spec.failReplays
    if (spec.breakReplays !== undefined) standing.breakReplays = spec.breakReplays
    if (spec.slow !== undefined) standing.slow = spec.slow
    if (spec.error !== undefined) standing.error = { ...never, status: 500, ...spec.error }
    if (spec.die !== undefined) standing.die = { ...never, bytes: 0, ...spec.die }
  }

  /** Whether this occasion is hit. */
  hits(kind: (typeof chances)[number]): boolean {
    const chance = this.standing[kind]
    if (chance.next > 0) {
      chance.next--
      return true
    }
    return chance.probability > 0 && this.#random() < chance.probability
  }
}

const chances = ["drop", "duplicate", "reorder", "garbage", "error", "die"] as const
const numbers = ["slow", "stallMs", "refuseMs", "delayMs", "failReplays", "breakReplays", "ringShort"] as const
const needed: Readonly<Record<string, ReadonlyArray<string>>> = { flap: ["everyMs", "forMs"], flood: ["batches"] }
const replays: ReadonlyArray<unknown> = ["serve", "absent", "oneShot"] satisfies ReadonlyArray<ReplayState>
const known = new Set<string>([...chances, ...numbers, ...Object.keys(needed), "silent", "replay", "crash"])

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value) && value >= 0

/** Checks what an admin call sent. Answers the spec, or a sentence on what is wrong with it. */
export const parse = (json: unknown): FaultSpec | string => {
  if (typeof json !== "object" || json === null || Array.isArray(json)) return "The body must be a JSON object."
  const fields = json as Record<string, unknown>
  for (const [name, value] of Object.entries(fields)) {
    if (!known.has(name)) return `There is no fault "${name}". Known are ${[...known].join(", ")}.`
    if (numbers.some((n) => n === name)) {
      if (!isNumber(value) || (name === "slow" && value === 0)) return `"${name}" must be a positive number.`
    } else if (name === "silent") {
      if (typeof value !== "boolean") return '"silent" must be true or false.'
    } else if (name === "replay") {
      if (!replays.includes(value)) return `"replay" must be one of ${replays.join(", ")}.`
    } else if (typeof value !== "object" || value === null) {
      return `"${name}" must be an object.`
    } else if (name !== "crash") {
      const missing = needed[name]?.find((part) => !(part in value))
      if (missing !== undefined) return `"${name}" must have "${missing}".`
      const bad = Object.entries(value).find(([, part]) => !isNumber(part))
      if (bad !== undefined) return `"${name}.${bad[0]}" must be a number of at least 0.`
    }
  }
  return fields
}
