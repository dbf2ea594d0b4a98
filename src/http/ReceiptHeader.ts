/**
 * `x-warmpath-receipt`: the receipt of a request in one line, for clients that ask for it with `x-warmpath-explain: 1`.
 *
 * A dictionary (RFC 8941): `id` and `worker` as strings; `prompt`, `cached` (leading tokens the worker was thought to hold) and
 * `best` (the most that any eligible one was) in tokens; `cost`, and of it `wait` and `own`, in ms; `candidates`, how many
 * could take it. What the engine delivered is not known yet: GET /admin/receipts/ID has it.
 */
import * as Decision from "../hot/Decision.ts"
import type { Step } from "./ReceiptOf.ts"

export const asked = "x-warmpath-explain"
export const name = "x-warmpath-receipt"

/** RFC 8941, 3.3.3: printable ASCII; what is not becomes a question mark. */
const string = (text: string): string => `"${text.replace(/[^\x20-\x7e]/g, "?").replace(/["\\]/g, "\\$&")}"`

/** RFC 8941, 3.3.2: at most 12 digits before the point, 3 behind it, of which one stands. */
const decimal = (ms: number): string =>
  Math.min(999_999_999_999, ms)
    .toFixed(3)
    .replace(/0{1,2}$/, "")

export const of = (id: string, promptTokens: number, step: Step): string => {
  const { bestTokens, decision, eligible, heldTokens, slot, worker } = step
  const found = decision === null ? null : Decision.again(decision).candidates.find((each) => each.slot === slot)
  const parts = [
    `id=${string(id)}`,
    `worker=${string(worker)}`,
    `prompt=${promptTokens}`,
    `cached=${heldTokens}`,
    `best=${bestTokens}`
  ]
  if (found) parts.push(`cost=${decimal(found.costMs)}`, `wait=${decimal(found.waitMs)}`, `own=${decimal(found.ownMs)}`)
  return [...parts, `candidates=${eligible}`].join(", ")
}
