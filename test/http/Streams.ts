/** Random event streams as engines write them, with what is left of each for a client that did not ask for usage. */
import * as fc from "fast-check"

export const usage = {
  prompt_tokens: 40,
  total_tokens: 43,
  completion_tokens: 3,
  prompt_tokens_details: { cached_tokens: 32 }
}

/** Pieces of a stream: `client` false for what only who asked for usage gets. */
interface Piece {
  readonly text: string
  readonly client: boolean
}

const head = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m" }
const kept = (text: string): Piece => ({ text, client: true })
const data = (value: unknown): string => `data: ${JSON.stringify(value)}`

const word = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.constantFrom("Grüße 東京", '"usage"', '"choices":[]', "data: ", "\n\n", '{"choices":[],"usage":{}}')
)

const record: fc.Arbitrary<ReadonlyArray<Piece>> = fc
  .oneof(
    word.map((content) => data({ ...head, choices: [{ index: 0, delta: { content }, finish_reason: null }] })),
    word.map((text) => data({ ...head, choices: [{ index: 0, text }], usage: null })),
    fc.constantFrom(
      ": keep-alive",
      data({ ...head, choices: [{ index: 0, delta: { role: "assistant", content: "" } }] }),
      data({ ...head, choices: [{ index: 0, delta: {}, finish_reason: "stop" }], usage: null }),
      data({ ...head, choices: [], sglext: { routed_experts: "x" } }),
      data({ ...head, choices: [], usage: null }),
      'data: {"error":{"message":"\\"usage\\""}}',
      "event: ping\ndata: {}"
    )
  )
  .map((text) => [kept(`${text}\n\n`)])

/** The record of usage alone; a line that came before it in the same record stays, and with it the record's end. */
const usageRecord: fc.Arbitrary<ReadonlyArray<Piece>> = fc.constantFrom<ReadonlyArray<Piece>>(
  [{ text: `${data({ ...head, choices: [], usage })}\n\n`, client: false }],
  [{ text: `${data({ usage, choices: [] })}\n\n`, client: false }],
  [kept("event: usage\n"), { text: `${data({ ...head, choices: [], usage })}\n`, client: false }, kept("\n")]
)

const ending = fc.constantFrom("data: [DONE]\n\n", "data: [DONE]\n", "data: [DONE]", "")

export interface Stream {
  /** As the engine writes it. */
  readonly whole: Buffer
  /** As a client gets it that did not ask for usage. */
  readonly client: Buffer
}

export const stream: fc.Arbitrary<Stream> = fc
  .record({
    records: fc.array(record, { maxLength: 8 }),
    usage: usageRecord,
    ending,
    eol: fc.constantFrom("\n", "\r\n"),
    tight: fc.boolean()
  })
  .map(({ ending, eol, records, tight, usage }) => {
    const pieces = [...records.flat(), ...usage, kept(ending)]
    const bytes = (some: ReadonlyArray<Piece>) => {
      const text = some.map((piece) => piece.text).join("")
      return Buffer.from((tight ? text.replaceAll("data: {", "data:{") : text).replaceAll("\n", eol))
    }
    return { whole: bytes(pieces), client: bytes(pieces.filter(({ client }) => client)) }
  })

/** Where to cut `length` bytes: everywhere, or at some places. */
export const cuts = (length: number): fc.Arbitrary<ReadonlyArray<number>> =>
  fc.oneof(
    { weight: 1, arbitrary: fc.constant(Array.from({ length }, (_, i) => i + 1)) },
    { weight: 4, arbitrary: fc.array(fc.nat(length), { maxLength: 12 }).map((at) => at.sort((a, b) => a - b)) }
  )

export const cut = (bytes: Buffer, at: ReadonlyArray<number>): ReadonlyArray<Buffer> => {
  const ends = [...new Set([...at.filter((end) => end > 0 && end < bytes.length), bytes.length])]
  return ends.map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end))
}
