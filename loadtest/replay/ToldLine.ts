/** A line of a file of decisions: what `Decisions.toFile` wrote, or what is wrong with it. */
import { Result, Schema } from "effect"
import * as Decision from "../../src/hot/Decision.ts"
import * as RateModel from "../../src/hot/RateModel.ts"
import * as Decisions from "./Decisions.ts"
import type { Line } from "./formats/Line.ts"

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const Numbers = Schema.Array(Schema.Finite)
const each = <Name extends string, S extends Schema.Top>(names: ReadonlyArray<Name>, schema: S) =>
  Schema.Struct(Object.fromEntries(names.map((name) => [name, schema])) as Record<Name, S>)

/** A decision, as it is in a line of JSON. */
const Fields = {
  atMs: Schema.Finite,
  promptTokens: Count,
  rotation: Count,
  slots: Schema.Array(Count),
  eligible: Numbers,
  cachedTokens: Schema.Array(Count),
  fleet: each(Decision.figures, Schema.Finite),
  load: each(Decision.columns, Numbers),
  hintMs: Schema.Array(Schema.NullOr(Schema.Finite)),
  rates: Schema.Struct({
    fleet: Numbers,
    prefill: Schema.Record(Schema.String, Numbers),
    decode: Schema.Record(Schema.String, Numbers)
  })
}

const Told = Schema.Struct({ ...Fields, slot: Schema.Int, terms: each(Decisions.terms, Numbers) })

const decode = Schema.decodeUnknownResult(Told)
const decodeDecision = Schema.decodeUnknownResult(Schema.Struct(Fields))
const accepted = "lines as `warmpath replay --decisions` of this version writes them; replay the trace once more"

export const wordsOf = (failure: unknown): string => `${failure}`.replace(/\s*\n\s*/g, " ")

/** Throws a `TraceError`. */
export const read = (line: Line): Decisions.Told => {
  const decoded = decode(line.fields)
  if (Result.isFailure(decoded)) return line.fail(wordsOf(decoded.failure), accepted)
  const told = decoded.success
  const fail = (found: string) => line.fail(found, accepted)
  checkLengths(told, fail)
  const candidates = told.eligible.filter((may) => may === 1).length
  for (const term of Decisions.terms) checkLength(`terms.${term}`, told.terms[term], candidates, fail)
  return told
}

/** A decision that is part of something else. `fail` throws. */
export const decision = (value: unknown, fail: Fail): Decision.Decision => {
  const decoded = decodeDecision(value)
  if (Result.isFailure(decoded)) return fail(wordsOf(decoded.failure))
  checkLengths(decoded.success, fail)
  return decoded.success
}

type Fail = (found: string) => never

const checkLength = (name: string, of: { readonly length: number }, length: number, fail: Fail): void => {
  if (of.length !== length) fail(`${name} holds ${of.length} numbers where there should be ${length}`)
}

const checkLengths = (told: Decision.Decision, fail: Fail): void => {
  const workers = told.cachedTokens.length
  const check = (name: string, of: { readonly length: number }, length: number) => checkLength(name, of, length, fail)
  for (const name of Decision.columns) check(`load.${name}`, told.load[name], workers)
  check("slots", told.slots, workers)
  check("eligible", told.eligible, workers)
  check("hintMs", told.hintMs, workers)
  check("rates.fleet", told.rates.fleet, RateModel.terms)
  const own = { prefill: Decision.decodeFrom, decode: RateModel.terms - Decision.decodeFrom }
  for (const kind of ["prefill", "decode"] as const) {
    for (const [slot, rates] of Object.entries(told.rates[kind])) {
      check(`rates.${kind}.${slot}`, rates, own[kind])
      if (!(Number(slot) < workers)) fail(`rates.${kind} are of a worker ${slot}, of ${workers}`)
    }
  }
}
