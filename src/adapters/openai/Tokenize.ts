/** `POST /tokenize`, an extension vLLM and SGLang share: `{tokens, count, max_model_len}` for one prompt. */
import { type Answer, json, record } from "../http/HttpJson.ts"

/** The ids of an answer, or null when it is none. */
export const tokenIds = (answer: Answer): Uint32Array | null => {
  const ids = record(json(answer))?.["tokens"]
  return Array.isArray(ids) && ids.every((id) => Number.isInteger(id) && id >= 0 && id <= 0xffff_ffff)
    ? Uint32Array.from(ids)
    : null
}
