/** Answers as engines stream them, by lot, and what must hold however their bytes are cut. */
import { isDeepStrictEqual } from "node:util"
import type { Random } from "../../loadtest/Random.ts"
import { SseScan } from "../../src/hot/SseScan.ts"
import { below, pick } from "./Batches.ts"

const contents = [
  "a",
  "",
  "usage",
  "Grüße 東京",
  '"usage"',
  '{"usage":{"prompt_tokens":9}}',
  "data: [DONE]\n\n",
  "\u0000",
  "\\"
]

const usageOf = (random: Random): unknown =>
  pick<unknown>(random, [
    null,
    { prompt_tokens: below(random, 1e6), completion_tokens: 3, prompt_tokens_details: { cached_tokens: 32 } },
    { prompt_tokens: 40, completion_tokens: 3 },
    { prompt_tokens: -1, completion_tokens: "3", prompt_tokens_details: { cached_tokens: 1e300 } },
    {},
    []
  ])

const choiceOf = (random: Random): unknown =>
  pick<unknown>(random, [
    { delta: { role: "assistant", content: "" } },
    { delta: { content: pick(random, contents) } },
    { delta: { reasoning_content: pick(random, contents) } },
    { delta: { tool_calls: [{ index: 0 }] } },
    { text: pick(random, contents) },
    { message: { content: pick(random, contents) } },
    null,
    7
  ])

const recordOf = (random: Random): Record<string, unknown> => {
  const choices = Array.from({ length: below(random, 3) }, () => choiceOf(random))
  const record: Record<string, unknown> = { id: "chatcmpl-1", choices }
  if (random() < 0.3) record["usage"] = usageOf(random)
  // Around the longest record that is kept, which is where cuts could tell.
  if (random() < 0.000_02) record["pad"] = "x".repeat((1 << 20) - 200 + below(random, 400))
  return record
}

/** A stream of records, with all that may lie between them. */
export const streamOf = (random: Random): Buffer => {
  let text = ""
  const end = pick(random, ["\n\n", "\n\n", "\r\n\r\n"])
  for (let left = below(random, 12); left > 0; left--) {
    text += pick(random, ["data: ", "data: ", "data: ", "data:", "data:\t", " data: ", "event: x\ndata: ", ": note "])
    text += random() < 0.95 ? JSON.stringify(recordOf(random)) : pick(random, ["[DONE]", "{", "7", "null", ""])
    text += random() < 0.97 ? end : "\n"
  }
  return Buffer.from(text + pick(random, ["data: [DONE]\n\n", "data: [DONE]", ""]))
}

/** A whole answer, its usage last, as engines write it, or elsewhere. */
export const answerOf = (random: Random): Buffer => {
  const { usage, ...rest } = recordOf(random)
  const pad = random() < 0.05 ? { pad: "x".repeat(below(random, 40_000)) } : {}
  return Buffer.from(JSON.stringify(random() < 0.5 ? { ...rest, ...pad, usage } : { usage, ...pad, ...rest }))
}

const told = (pieces: Iterable<Buffer>, stream: boolean, withoutUsage: boolean) => {
  const scan = new SseScan(stream, withoutUsage)
  const passed: Array<Buffer> = []
  let firsts = 0
  for (const piece of pieces) {
    if (scan.feed(piece)) firsts++
    if (withoutUsage) passed.push(Buffer.from(scan.take()))
  }
  const { midRecord } = scan
  scan.end()
  if (withoutUsage) passed.push(Buffer.from(scan.take()))
  const { firstToken, records, usage } = scan
  return { firstToken, firsts, midRecord, passed: Buffer.concat(passed).toString("latin1"), records, usage }
}

/** Pieces of `bytes`, each in a buffer that is overwritten once it was read, as a socket's is. */
function* cut(bytes: Buffer, random: Random): Iterable<Buffer> {
  const most = Math.max(pick(random, [1, 3, 40, 400]), Math.floor(bytes.length / 200))
  for (let at = 0; at < bytes.length; ) {
    const line = bytes.indexOf(0x0a, at) - at
    const length = random() < 0.1 && line > 0 ? Math.max(1, line - below(random, 300)) : 1 + below(random, most)
    const piece = Buffer.from(bytes.subarray(at, at + length))
    yield piece
    piece.fill(0x22)
    at += length
  }
}

/** What of an answer is surely looked at. */
const tailBytes = 16_384

const countOf = (value: unknown): number | null =>
  typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : null

/** The usage of a whole answer, by parsing all of it; of bytes that are no answer, whatever was `told`. */
const usageIn = (bytes: Buffer, told: unknown): unknown => {
  let usage: Record<string, unknown> | null | undefined
  try {
    usage = (JSON.parse(bytes.toString()) as { readonly usage?: Record<string, unknown> | null }).usage
  } catch {
    return told
  }
  if (usage === null || usage === undefined || typeof usage !== "object" || Array.isArray(usage)) return null
  const details = usage["prompt_tokens_details"] as Record<string, unknown> | undefined
  return {
    promptTokens: countOf(usage["prompt_tokens"]) ?? 0,
    completionTokens: countOf(usage["completion_tokens"]) ?? 0,
    cachedTokens: countOf(details?.["cached_tokens"])
  }
}

/** Throws an Error when the answer tells one thing whole and another cut, or what it tells cannot be. */
export const checkStream = (bytes: Buffer, stream: boolean, random: Random): void => {
  for (const withoutUsage of [false, true]) {
    const whole = told([bytes], stream, withoutUsage)
    const pieces = told(cut(bytes, random), stream, withoutUsage)
    if (!isDeepStrictEqual(pieces, whole)) {
      throw new Error(`whole, it tells ${JSON.stringify(whole)}\ncut, it tells ${JSON.stringify(pieces)}`)
    }
    if (!stream && bytes.length <= tailBytes && !isDeepStrictEqual(whole.usage, usageIn(bytes, whole.usage))) {
      throw new Error(`it tells ${JSON.stringify(whole.usage)}, which is not what the answer says`)
    }
    for (const count of Object.values(whole.usage ?? {})) {
      if (count !== null && !(Number.isFinite(count) && count >= 0)) throw new Error(`a count of ${count}`)
    }
  }
}
