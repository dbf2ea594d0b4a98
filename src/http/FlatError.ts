/**
 * FlatError: errors of engines that do not wrap them, in the shape OpenAI clients read.
 *
 *   {"object":"error","message","type","param","code"}  →  {"error":{"message","type","param","code"}}
 *
 * Sources: sgl-project/sglang:python/sglang/srt/entrypoints/openai/protocol.py (ErrorResponse),
 * NVIDIA/TensorRT-LLM:tensorrt_llm/serve/openai_protocol.py (ErrorResponse).
 */

/** Engines that answer so. */
const engines: ReadonlySet<string> = new Set(["sglang", "trtllm"])

/** An error is a sentence. A longer body is none, and passes as it comes. */
const bodyBytesMax = 65_536

const empty = Buffer.alloc(0)

/** Whether an answer may be such an error. */
export const isPossible = (engine: string, status: number, contentType: string | undefined): boolean =>
  status >= 400 && engines.has(engine) && /^application\/json\b/i.test(contentType ?? "")

/** A whole body in the shape of OpenAI's errors; the same bytes when it is no flat error. */
export const wrapped = (body: Buffer): Buffer => {
  let json: unknown
  try {
    json = JSON.parse(body.toString("utf8"))
  } catch {
    return body
  }
  if (typeof json !== "object" || json === null) return body
  const { code = null, error, message, object, param = null, type = null } = json as Record<string, unknown>
  if (object !== "error" || typeof message !== "string" || error !== undefined) return body
  return Buffer.from(JSON.stringify({ error: { message, type, param, code } }))
}

/** Collects the body of one answer as it comes, and lets it through when it is whole or too long: for `Forward.edit`. */
export const collect = (): ((payload: Buffer, last: boolean) => Buffer) => {
  let held = empty
  let isLong = false
  return (payload, last) => {
    if (isLong) return payload
    // Copied: the bytes are valid during the call only.
    const all = Buffer.concat([held, payload])
    isLong = all.length > bodyBytesMax
    held = isLong || last ? empty : all
    return isLong ? all : last ? wrapped(all) : empty
  }
}
