/**
 * What is SGLang's own.
 *
 * Source: sgl-project/sglang `python/sglang/srt/entrypoints/http_server.py`, `entrypoints/openai/serving_base.py`.
 */
import type { Dialect } from "../Dialect.ts"
import * as Plan from "../Plan.ts"
import * as BlockHash from "./BlockHash.ts"
import * as Events from "./Events.ts"
import { routes } from "./Routes.ts"

/** Where ids of pictures begin, above any vocabulary; how many there are. */
const pictureIdsFrom = 1_000_000
const pictureIds = 2 ** 30

export const dialect: Dialect = {
  // The trees that mix adapters into hashes are those that write maps.
  namer: ({ eventEncoding }) => BlockHash.namer(eventEncoding === "map"),
  encode: ({ eventEncoding, ranks }, rank) => Events.encode(eventEncoding, ranks === 1 ? null : rank),
  replayLayout: () => "plain",
  unique: true,
  routes,
  notFound: { detail: "Not Found" },
  error: ({ message, param, status, type }) => ({ object: "error", message, type, param, code: status }),
  /** `base:adapter` or `lora_path`. An adapter's own name, as `/v1/models` lists it, is taken here, too. */
  adapterOf: (options, { lora_path: path, model }) => {
    const name = typeof model === "string" ? (model.split(":", 2)[1] ?? model) : undefined
    const asked = typeof path === "string" ? path : options.loras.includes(name ?? "") ? name! : null
    if (asked !== null && !options.loras.includes(asked)) {
      return Plan.refusal(400, "BadRequestError", `The adapter ${asked} is not loaded.`, "lora_path")
    }
    // A model's name that is not known is not minded.
    return asked
  },
  rankOf: (ranks, header, body) => {
    const asked = header ?? body["routed_dp_rank"] ?? body["data_parallel_rank"]
    if (asked === undefined || asked === null) return null
    if (!/^\s*[+-]?\d+\s*$/.test(String(asked))) {
      return Plan.refusal(400, "BadRequest", `Invalid data parallel rank: ${String(asked)} is not an integer.`)
    }
    return Plan.inRange(Number(asked), ranks)
  },
  // Each placeholder is a number made of the picture, so that a page's tokens tell pictures apart.
  pictured: (ids, pictures) => {
    const out = [...ids]
    for (const { identifier, length, offset } of pictures) {
      const id = pictureIdsFrom + Number(BigInt(`0x${identifier}`) % BigInt(pictureIds))
      out.fill(id, offset, offset + length)
    }
    return out
  },
  priorityOrder: ({ lowPriorityFirst }) => (lowPriorityFirst ? 1 : -1)
}
