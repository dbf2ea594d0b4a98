/** A line of a file of receipts: what is needed of it to place its request once more, or what is wrong with it. */
import { Result, Schema } from "effect"
import type { Decision } from "../../../src/hot/Decision.ts"
import type { Line } from "../formats/Line.ts"
import * as ToldLine from "../ToldLine.ts"

const Tokens = Schema.Finite
const Told = Schema.Struct({
  id: Schema.String,
  at: Schema.String,
  tries: Schema.Array(
    Schema.Struct({
      worker: Schema.String,
      slot: Schema.Int,
      policy: Schema.String,
      candidates: Schema.Array(
        Schema.Struct({
          worker: Schema.String,
          slot: Schema.Int,
          waitMs: Schema.Finite,
          ownMs: Schema.Finite,
          othersMs: Schema.Finite,
          decodeMs: Schema.Finite,
          recentMs: Schema.Finite,
          costMs: Schema.Finite
        })
      ),
      others: Schema.Int,
      predictedTokens: Tokens,
      bestTokens: Tokens,
      decision: Schema.Unknown
    })
  ),
  /** Of the last try. */
  regret: Schema.NullOr(Schema.Struct({ pictureTokens: Schema.NullOr(Tokens) }))
})

type Told = typeof Told.Type

export interface Try extends Omit<Told["tries"][number], "decision"> {
  /** Null where none was kept: such a placement cannot be made again. */
  readonly decision: Decision | null
  /** What it was thought to hold, less what it delivered; null where it did not say, or another was tried after it. */
  readonly pictureTokens: number | null
}

/** Of a request: where it was placed, each time that it was tried. */
export interface ReceiptLine {
  readonly id: string
  readonly at: string
  readonly tries: ReadonlyArray<Try>
}

/** `Receipt.version` that is read here. */
const version = 1
const accepted = "receipts as this version of the router writes them"
const decode = Schema.decodeUnknownResult(Told)

/** Throws a `TraceError`. */
export const read = (line: Line): ReceiptLine => {
  const { fields } = line
  if (fields["version"] !== version) {
    const found = line.has("version", "tries")
      ? `a receipt of version ${fields["version"]}`
      : `no receipt: ${line.start}`
    return line.fail(found, `${accepted}: version ${version}`)
  }
  const decoded = decode(fields)
  if (Result.isFailure(decoded)) return line.fail(ToldLine.wordsOf(decoded.failure), accepted)
  const { at, id, regret, tries } = decoded.success
  return {
    id,
    at,
    tries: tries.map((each, i) => ({
      ...each,
      pictureTokens: i === tries.length - 1 ? (regret?.pictureTokens ?? null) : null,
      decision:
        each.decision === null
          ? null
          : ToldLine.decision(each.decision, (found) => line.fail(`tries[${i}].decision: ${found}`, accepted))
    }))
  }
}
