/** What is vLLM's own: `0.26` and later in the map form, `0.22` in the array form. */
import type { Dialect } from "../Dialect.ts"
import * as Plan from "../Plan.ts"
import * as BlockHash from "./BlockHash.ts"
import * as Events from "./Events.ts"
import { routes } from "./Routes.ts"

const error: Dialect["error"] = ({ message, param, status, type }) => ({
  error: { message, type, param, code: status }
})

export const dialect: Dialect = {
  namer: ({ hashSeed }) => BlockHash.namer(hashSeed),
  encode: ({ eventEncoding, hashForm, loras, offloadEvents, slidingWindow }, rank) =>
    Events.encode({ encoding: eventEncoding, hashForm, offload: offloadEvents, loras, slidingWindow }, rank),
  replayLayout: ({ eventEncoding }) => (eventEncoding === "map" ? "topic" : "plain"),
  unique: false,
  routes,
  notFound: error(Plan.refusal(404, "Not Found", "Not Found")),
  error,
  adapterOf: (options, { model }) => {
    if (model === undefined || model === null || options.models.includes(model as string)) return null
    if (typeof model === "string" && options.loras.includes(model)) return model
    return Plan.refusal(404, "NotFoundError", `The model \`${String(model)}\` does not exist.`, "model")
  },
  // What is no number is no rank.
  rankOf: (ranks, header) => {
    if (header === undefined || !/^\s*[+-]?\d+\s*$/.test(header)) return null
    return Plan.inRange(Number(header), ranks)
  },
  pictured: (ids) => ids,
  priorityOrder: () => 1
}
