/** Keys: what a router would know after these events, by its own way from tokens to keys and from events to keys. */
import { defaults } from "../../actors/Followed.ts"
import type { EngineHashes } from "../domain/KvEvent.ts"
import type { Prompt } from "../domain/Request.ts"
import type { Hasher } from "../hot/BlockHash.ts"
import * as KeyTranslate from "../hot/KeyTranslate.ts"
import * as PromptBlocks from "../http/PromptBlocks.ts"
import type { Heard, Known } from "./Seen.ts"

export interface Found {
  /** Full blocks of the prompt. */
  readonly blocks: number
  /** Leading ones that the events made known. */
  readonly found: number
}

const names = (keys: EngineHashes): ReadonlyArray<string> =>
  Array.from({ length: keys.length >> 1 }, (_, i) => `${keys[2 * i]}:${keys[2 * i + 1]}`)

/** Of tokens only, which need no tokenizer. */
export const find = (
  hasher: Hasher,
  { canonical, facts }: Pick<Known, "canonical" | "facts">,
  prompt: Extract<Prompt, { readonly _tag: "Tokens" }>,
  salt: string | null,
  heard: ReadonlyArray<Heard>
): Found => {
  const { blockCount, blockSize } = facts
  const translator = KeyTranslate.make({ ...defaults, hasher, worker: 0, model: canonical, blockSize, blockCount })
  const held = new Set<string>()
  for (const { batch } of heard) {
    translator.apply(batch?.events ?? [], (delta) => {
      if (delta._tag === "Stored") for (const name of names(delta.keys)) held.add(name)
    })
  }
  const hashed = PromptBlocks.hash(hasher, null, [prompt], { model: canonical, lora: null, salt })
  // Tokens are hashed at once.
  const keys = names((hashed as PromptBlocks.Hashed).keysFor(translator.blockSize ?? 16)[0]!.keys)
  const missing = keys.findIndex((key) => !held.has(key))
  return { blocks: keys.length, found: missing === -1 ? keys.length : missing }
}
