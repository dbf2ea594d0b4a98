/**
 * Coding sessions, one request per line: those of callanjfox/kv-cache-tester with sub-agents as chains of their own, pauses
 * in ms and ids run-length coded. Ids are local to a session.
 */
import type { Chain, Sessions } from "../Trace.ts"
import * as Field from "./Field.ts"
import type { Format } from "./Format.ts"
import { joined, perJoined } from "./JoinedBlocks.ts"
import type { Line } from "./Line.ts"

const blockSizeDefault = 64

type Turn = Chain["turns"][number]

interface Agent {
  /** Of its first line; null for the main one. */
  readonly after: number | null
  readonly turns: Array<Turn>
}

export const format: Format = {
  name: "coding sessions",
  looks: `{"session": …, "agent": "main", "turn": 0, "input_length": …, "think_ms": …, "hash_ids_rle": [[first, count], …]}`,
  is: (first) => first.has("session", "agent"),
  read: (lines, blockSize) => {
    const tokens = blockSize ?? blockSizeDefault
    const bySession = new Map<number | string, Map<number | string, Agent>>()
    let last: Line | undefined
    for (const line of lines) {
      const session = Field.label(line, line.fields, "session")
      const agents = bySession.get(session) ?? new Map<number | string, Agent>()
      bySession.set(session, agents)
      const name = Field.label(line, line.fields, "agent")
      const after = name === "main" ? null : (Field.optional(line, line.fields, "spawn_after_turn") ?? 0)
      const agent = agents.get(name) ?? { after, turns: [] }
      agents.set(name, agent)
      agent.turns.push(turnOf(line, tokens))
      last = line
    }
    for (const [session, agents] of bySession) {
      if (!agents.has("main"))
        last!.fail(`the session ${session} ends without a main agent`, `a line with "agent": "main"`)
    }
    return {
      kind: "sessions",
      blockSize: perJoined(tokens) * tokens,
      sessions: Array.from(bySession.values(), chainsOf)
    }
  }
}

const turnOf = (line: Line, blockSize: number): Turn => {
  const { fields } = line
  const promptTokens = Field.promptTokens(line, fields, "input_length")
  const ids: Array<number> = []
  for (const run of Field.list(line, fields, "hash_ids_rle")) {
    const [first, count] = Array.isArray(run) ? (run as ReadonlyArray<unknown>) : []
    if (typeof first !== "number" || typeof count !== "number" || count > promptTokens) {
      return line.fail(`hash_ids_rle holds ${JSON.stringify(run)}`, "[first id, count]")
    }
    for (let i = 0; i < count; i++) ids.push(first + i)
  }
  Field.checkCount(line, "ids in hash_ids_rle", ids.length, promptTokens, blockSize)
  return {
    session: null,
    promptTokens,
    outputTokens: Field.outputTokens(line, fields, "output_length"),
    thinkMs: Field.number(line, fields, "think_ms"),
    blocks: joined(ids, blockSize, promptTokens, Field.optional(line, fields, "tool_tokens") ?? 0)
  }
}

/** The main one first, the others in the order they are started. */
const chainsOf = (agents: ReadonlyMap<number | string, Agent>): Sessions["sessions"][number] =>
  [...agents.values()].sort((a, b) => (a.after ?? -1) - (b.after ?? -1))
