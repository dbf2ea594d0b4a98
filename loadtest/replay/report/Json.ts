/** Json: all a replay came to, in one document: what was replayed, on which fleet, under which load, and every result. */
import { Result as Outcome, Schema } from "effect"
import type { Result } from "../Result.ts"
import type { Strategy } from "../Strategy.ts"

/** Raised when a reader of the last one could go wrong. */
export const version = 1

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

const Spread = Schema.Struct({ mean: Schema.Finite, p50: Schema.Finite, p90: Schema.Finite, p99: Schema.Finite })

const Measured = Schema.Struct({
  strategy: Schema.String,
  workers: Count,
  seed: Schema.Int,
  requests: Count,
  failed: Count,
  perSecond: Schema.Finite,
  ttftMs: Spread,
  e2eMs: Spread,
  hitRate: Schema.Finite,
  inTime: Schema.Finite,
  tooMany: Schema.Finite,
  tooFew: Schema.Finite,
  cdf: Schema.Array(Schema.Finite).check(Schema.isMinLength(101), Schema.isMaxLength(101)),
  series: Schema.Struct({
    stepMs: Schema.Finite,
    hitRate: Schema.Array(Schema.NullOr(Schema.Finite)),
    ttftMsP90: Schema.Array(Schema.NullOr(Schema.Finite)),
    outstanding: Schema.Array(Schema.Array(Schema.Finite))
  }),
  byWorker: Schema.Array(Schema.Struct({ requests: Count, promptTokens: Count, cachedTokens: Count }))
})

const Replayed = Schema.Struct({
  kind: Schema.Literal("warmpath replay"),
  version: Schema.Literal(version),
  /** Its file, without folder and endings. */
  trace: Schema.String,
  /** Virtual time, or a running router. */
  how: Schema.Literals(["offline", "live"]),
  fleet: Schema.Struct({
    /** 0 where they are not known: a live fleet whose admin address was not given. */
    workers: Count,
    /** Null where it is not known: a live fleet. */
    profile: Schema.NullOr(Schema.String),
    blockSize: Schema.NullOr(Count),
    /** Of each worker. */
    capacityTokens: Schema.NullOr(Count)
  }),
  /** In words, with units: what was sent, how much of it, for how long. */
  load: Schema.String,
  seeds: Schema.Array(Schema.Int),
  strategies: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      about: Schema.String,
      kind: Schema.Literals(["ours", "rival", "bound"])
    })
  ),
  /** By strategy, in the order of `strategies`, then by seed. */
  results: Schema.Array(Measured)
})

export interface Document extends Schema.Schema.Type<typeof Replayed> {
  readonly strategies: ReadonlyArray<Pick<Strategy, "name" | "about" | "kind">>
  readonly results: ReadonlyArray<Result>
}

/** One line of JSON. Figures keep six digits; more would be noise. */
export const write = (document: Document): string =>
  `${JSON.stringify(document, (_, value: unknown) =>
    typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value
  )}\n`

/** A document as `write` wrote it. Throws `Error` saying what is wrong with it. */
export const read = (text: string): Document => {
  const decoded = Schema.decodeUnknownResult(Schema.fromJsonString(Replayed))(text)
  if (Outcome.isSuccess(decoded)) return decoded.success
  throw new Error(`This is not what \`warmpath replay --json\` of version ${version} writes: ${decoded.failure}`)
}
