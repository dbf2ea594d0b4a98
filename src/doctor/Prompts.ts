/** Prompts nobody has sent before: cold at first, and told from all others by their first tokens. */
import { randomBytes, randomInt } from "node:crypto"
import type { Prompt } from "../domain/Request.ts"

/** Full blocks of a probe, and then some tokens more: an engine computes the end of a prompt anew. */
const blocks = 4
/** Where a block has few tokens. */
const tokensMin = 48
/** Taken where the engine does not tell. */
const blockSizeDefault = 32
/** Ids in every vocabulary, above the bytes and the specials that some have first. */
const ids = [1_000, 9_000] as const

/** How long a probe is, tokens; what is generated and a template's own fit beside it. */
export const length = (blockSize: number | null, maxModelLen: number | null): number => {
  const size = blockSize ?? blockSizeDefault
  const wanted = Math.max(tokensMin, blocks * size + Math.ceil(size / 2))
  return maxModelLen === null ? wanted : Math.max(1, Math.min(wanted, maxModelLen - 64))
}

export const tokens = (count: number): Prompt => ({
  _tag: "Tokens",
  ids: Uint32Array.from({ length: count }, () => randomInt(...ids))
})

const words =
  "river stone window garden letter silver morning engine paper bridge winter orange doctor mountain library station island copper ladder candle".split(
    " "
  )

/** About so many tokens of plain words; they begin with what no other text begins with. */
const sentence = (count: number): string =>
  `${randomBytes(8).toString("hex")}: ${Array.from({ length: count }, () => words[randomInt(words.length)]).join(" ")}.`

export const text = (count: number): Prompt => ({ _tag: "Text", text: sentence(count), addSpecialTokens: true })

export const chat = (count: number): Prompt => ({
  _tag: "Messages",
  body: { messages: [{ role: "user", content: `${sentence(count)} Answer with OK.` }] }
})

export const salt = (): string => `warmpath-doctor-${randomBytes(8).toString("hex")}`
