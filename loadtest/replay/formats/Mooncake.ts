/**
 * Mooncake's JSON lines (kvcache-ai/Mooncake, FAST25-release/traces) and those of Dynamo's replay (ai-dynamo/dynamo,
 * `MooncakeRow`), which may also have sessions: `session_id`, and a `delay` in ms from one answer to the next request.
 *
 * Every line holds its whole prompt, also of a later turn. A file with delays is read as sessions that wait for their
 * answers, and of its timestamps only the pauses between turns are used: when a session begins is for the replay to say.
 * One without is read as arrivals.
 */
import { ChainedIds } from "../ChainedIds.ts"
import type { Request, Sessions, Trace } from "../Trace.ts"
import { type Arriving, arrivals, type SessionName } from "./Arriving.ts"
import * as Field from "./Field.ts"
import type { Format } from "./Format.ts"
import { isThere, type Line } from "./Line.ts"

/** Tokens per id in Mooncake's files; Dynamo's have 64, 128 or 512 and do not say which. */
const blockSizeDefault = 512

interface Row extends Omit<Request, "session"> {
  /** Null where only the delay is told. */
  readonly atMs: number | null
  readonly session: SessionName
  /** After the answer before it; null where the times have to show it. */
  readonly delayMs: number | null
}

export const format: Format = {
  name: "Mooncake",
  looks: `{"timestamp": ms, "input_length": …, "output_length": …, "hash_ids": […]}`,
  is: (first) =>
    (first.has("input_length") || first.has("input_tokens")) && first.has("hash_ids") && !first.has("chat_id"),
  read: (lines, blockSize) => {
    const tokens = blockSize ?? blockSizeDefault
    const rows = rowsOf(lines, tokens)
    if (rows.some(({ delayMs }) => delayMs !== null)) return closedLoops(tokens, rows)
    const named = rows.some(({ session }) => session !== null)
    return arrivals(
      tokens,
      rows.map(({ atMs, blocks, outputTokens, promptTokens }): Arriving => {
        return { atMs: atMs!, promptTokens, outputTokens, blocks }
      }),
      named ? rows.map(({ session }) => session) : null
    )
  }
}

const rowsOf = (lines: Iterable<Line>, blockSize: number): ReadonlyArray<Row> => {
  const ids = new ChainedIds()
  const rows: Array<Row> = []
  /** By session, whether its last turn said when. */
  const timed = new Map<SessionName, boolean>()
  for (const line of lines) {
    const { fields } = line
    // Dynamo's agentic_mooncake: requests that wait for several others are no chain of turns.
    const waits = ["wait_for", "dependencies"].find((name) => Array.isArray(fields[name]) && fields[name].length > 0)
    if (waits !== undefined) line.fail(`${waits} names other requests`, "requests that follow one before them at most")
    const promptTokens = Field.promptTokens(line, fields, "input_length", "input_tokens")
    const blocks = Field.blockIds(line, fields, "hash_ids", promptTokens, blockSize)
    const session = isThere(fields["session_id"]) ? Field.label(line, fields, "session_id") : null
    const atMs = Field.optional(line, fields, "timestamp", "created_time")
    const delayMs = Field.optional(line, fields, "delay", "delay_ms")
    checkTime(line, atMs, delayMs, session === null ? undefined : timed.get(session))
    if (session !== null) timed.set(session, atMs !== null)
    rows.push({
      atMs,
      session,
      delayMs,
      promptTokens,
      outputTokens: Field.outputTokens(line, fields, "output_length", "output_tokens"),
      // The last one is rarely full.
      blocks: ids.prompt(blocks, Math.floor(promptTokens / blockSize))
    })
  }
  return rows
}

/** `before`: whether the turn before it said when; undefined for the first. */
const checkTime = (line: Line, atMs: number | null, delayMs: number | null, before: boolean | undefined): void => {
  if (before === undefined ? atMs !== null : delayMs !== null || (atMs !== null && before)) return
  if (before === undefined) line.fail("timestamp is missing", "a timestamp in the first request of a session")
  line.fail("neither delay nor a timestamp to set against the one before", "a delay, or timestamps in both, in ms")
}

const closedLoops = (blockSize: number, rows: ReadonlyArray<Row>): Trace => {
  const bySession = new Map<SessionName | symbol, Array<Row>>()
  for (const row of rows) {
    const name = row.session ?? Symbol()
    const turns = bySession.get(name) ?? []
    bySession.set(name, turns)
    turns.push(row)
  }
  const shared = sharedBy(bySession.values())
  return {
    kind: "sessions",
    blockSize,
    sessions: Array.from(bySession.values(), (turns): Sessions["sessions"][number] => [
      {
        after: null,
        turns: turns.map((row, turn) => ({
          session: null,
          promptTokens: row.promptTokens,
          outputTokens: row.outputTokens,
          thinkMs: turn === 0 ? 0 : (row.delayMs ?? Math.max(0, row.atMs! - turns[turn - 1]!.atMs!)),
          blocks: row.blocks.map((id) => (shared.has(id) ? -1 - id : id))
        }))
      }
    ])
  }
}

/** Blocks of more than one session: these stay the same for all that are replayed. */
const sharedBy = (sessions: Iterable<ReadonlyArray<Row>>): ReadonlySet<number> => {
  const owner = new Map<number, number>()
  const shared = new Set<number>()
  let number = 0
  for (const turns of sessions) {
    for (const { blocks } of turns) {
      for (const id of blocks) {
        if ((owner.get(id) ?? number) !== number) shared.add(id)
        owner.set(id, number)
      }
    }
    number++
  }
  return shared
}
