/**
 * Alibaba's Bailian traces (alibaba-edu/qwen-bailian-usagetraces-anon: qwen_traceA, qwen_traceB and later): arrivals in
 * seconds, 16-token blocks hashed one by one. Turns name the turn before them, so sessions are known.
 */
import { ChainedIds } from "../ChainedIds.ts"
import { type Arriving, arrivals, type SessionName } from "./Arriving.ts"
import * as Field from "./Field.ts"
import type { Format } from "./Format.ts"

const blockSizeDefault = 16
/** The parent of a first turn. */
const none = -1

export const format: Format = {
  name: "Bailian",
  looks: `{"chat_id": …, "parent_chat_id": …, "timestamp": s, "input_length": …, "hash_ids": […]}`,
  is: (first) => first.has("chat_id", "timestamp"),
  read: (lines, blockSize) => {
    const tokens = blockSize ?? blockSizeDefault
    const ids = new ChainedIds()
    const told: Array<Arriving> = []
    const chats: Array<number | string> = []
    const parents = new Map<number | string, number | string>()
    for (const line of lines) {
      const { fields } = line
      const promptTokens = Field.promptTokens(line, fields, "input_length")
      const blocks = Field.blockIds(line, fields, "hash_ids", promptTokens, tokens)
      const chat = Field.label(line, fields, "chat_id")
      const parent = Field.label(line, fields, "parent_chat_id")
      chats.push(chat)
      if (parent !== none && parent !== chat) parents.set(chat, parent)
      told.push({
        atMs: Field.number(line, fields, "timestamp") * 1000,
        promptTokens,
        outputTokens: Field.outputTokens(line, fields, "output_length"),
        blocks: ids.prompt(blocks, Math.floor(promptTokens / tokens))
      })
    }
    return arrivals(tokens, told, rootsOf(chats, parents))
  }
}

/** The first turn of each chat. Where the trace begins after it, the earliest that is named. */
const rootsOf = (
  chats: ReadonlyArray<number | string>,
  parents: ReadonlyMap<number | string, number | string>
): ReadonlyArray<SessionName> => {
  const roots = new Map<number | string, number | string>()
  return chats.map((chat) => {
    const path: Array<number | string> = []
    let root = chat
    // Not further than there are chats: names that lead in a circle end somewhere too.
    while (path.length <= chats.length) {
      const known = roots.get(root)
      if (known !== undefined) {
        root = known
        break
      }
      path.push(root)
      const parent = parents.get(root)
      if (parent === undefined) break
      root = parent
    }
    for (const each of path) roots.set(each, root)
    return root
  })
}
