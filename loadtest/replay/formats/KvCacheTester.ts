/**
 * Coding sessions as callanjfox/kv-cache-tester and the data sets made with it have them (cc-traces-weka-…): one session
 * per line, times in seconds, sub-agents among the requests of the main one. Ids are local to a session.
 */
import { ChainedIds } from "../ChainedIds.ts"
import type { Chain, Sessions } from "../Trace.ts"
import * as Field from "./Field.ts"
import type { Format } from "./Format.ts"
import { joined, perJoined } from "./JoinedBlocks.ts"
import type { Fields, Line } from "./Line.ts"

const blockSizeDefault = 64

type Turn = Chain["turns"][number]

/** What the requests of one session have in common. */
interface Session {
  readonly blockSize: number
  readonly toolTokens: number
  readonly ids: ChainedIds
}

export const format: Format = {
  name: "kv-cache-tester",
  looks: `{"id": …, "block_size": 64, "requests": [{"t": s, "in": …, "out": …, "hash_ids": […]}, …]}`,
  is: (first) => first.has("id", "requests"),
  read: (lines, told) => {
    let blockSize = told
    const sessions: Array<Sessions["sessions"][number]> = []
    for (const line of lines) {
      const own = told ?? Field.optional(line, line.fields, "block_size") ?? blockSizeDefault
      blockSize ??= own
      if (own !== blockSize) line.fail(`block_size is ${own}`, `${blockSize}, as in the lines before`)
      const toolTokens = Field.optional(line, line.fields, "tool_tokens") ?? 0
      sessions.push(chainsOf(line, line.fields, { blockSize, toolTokens, ids: new ChainedIds() }))
    }
    const size = blockSize ?? blockSizeDefault
    return { kind: "sessions", blockSize: perJoined(size) * size, sessions }
  }
}

const isAgent = (entry: Fields): boolean => entry["type"] === "subagent"

const chainsOf = (line: Line, of: Fields, session: Session): ReadonlyArray<Chain> => {
  const entries = entriesOf(line, of)
  const main: Chain = {
    after: null,
    turns: turnsOf(
      line,
      entries.filter((entry) => !isAgent(entry)),
      session
    )
  }
  if (main.turns.length === 0) line.fail("no request of the main agent", "one at least")
  const agents: Array<Chain> = []
  let turn = -1
  for (const entry of entries) {
    if (!isAgent(entry)) turn++
    // One that is listed before the first turn is started by it at the earliest.
    else agents.push({ after: Math.max(0, turn), turns: turnsOf(line, entriesOf(line, entry), session) })
  }
  return [main, ...agents.filter(({ turns }) => turns.length > 0)]
}

const entriesOf = (line: Line, of: Fields): ReadonlyArray<Fields> =>
  Field.list(line, of, "requests").map((entry) =>
    typeof entry === "object" && entry !== null ? (entry as Fields) : line.fail(`requests holds ${entry}`, "objects")
  )

const turnsOf = (line: Line, entries: ReadonlyArray<Fields>, session: Session): ReadonlyArray<Turn> => {
  let endedS = Number.NaN
  return entries.map((entry) => {
    const atS = Field.number(line, entry, "t")
    // Where the pause is not told, what is left between the answer before it and the request.
    const thinkS = Field.optional(line, entry, "think_time") ?? (Number.isNaN(endedS) ? 0 : Math.max(0, atS - endedS))
    endedS = atS + (Field.optional(line, entry, "api_time") ?? 0)
    return turnOf(line, entry, session, thinkS * 1000)
  })
}

const turnOf = (line: Line, entry: Fields, { blockSize, ids, toolTokens }: Session, thinkMs: number): Turn => {
  const promptTokens = Field.promptTokens(line, entry, "in")
  const told = Field.blockIds(line, entry, "hash_ids", promptTokens, blockSize)
  const full = ids.prompt(told, Math.floor(promptTokens / blockSize))
  return {
    session: null,
    promptTokens,
    outputTokens: Field.outputTokens(line, entry, "out"),
    thinkMs,
    blocks: joined(full, blockSize, promptTokens, toolTokens)
  }
}
