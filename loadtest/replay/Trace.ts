/**
 * Traces: requests as lists of block ids. Prompts are in none of them; two prompts share a prefix exactly as far as
 * their lists agree. An id names its block and all before it, so a list may be cut anywhere and ids need no chaining.
 *
 * Read here: Mooncake's JSON lines (kvcache-ai/Mooncake, FAST25-release/traces: arrivals in ms, 512-token blocks), and
 * coding sessions (callanjfox/kv-cache-tester, reshaped to a request per line: run-length coded 64-token blocks, pauses).
 */
import { readFileSync } from "node:fs"
import { gunzipSync } from "node:zlib"
import * as Lineage from "./Lineage.ts"

export interface Request {
  /** What a client would name in a header: the same for all requests of one session; null where nobody knows it. */
  readonly session: number | null
  readonly promptTokens: number
  readonly outputTokens: number
  /** Full blocks only. */
  readonly blocks: Float64Array
}

/** Requests that come when they come, whatever the answers. */
export interface Arrivals {
  readonly kind: "arrivals"
  readonly blockSize: number
  /** How long it lasts; the last request may come earlier. */
  readonly durationMs: number
  /** By time. */
  readonly requests: ReadonlyArray<Request & { readonly atMs: number }>
}

/** Requests of one agent, each sent a pause after the answer before it. */
export interface Chain {
  /** The turn of the main chain whose answer starts this one; null for the main chain, which is the first. */
  readonly after: number | null
  readonly turns: ReadonlyArray<Request & { readonly thinkMs: number }>
}

/** Sessions that wait for their answers. */
export interface Sessions {
  readonly kind: "sessions"
  readonly blockSize: number
  readonly sessions: ReadonlyArray<ReadonlyArray<Chain>>
}

export type Trace = Arrivals | Sessions

/** Blocks of other copies of a trace, and of other sessions, are `copyIds` apart. */
export const copyIds = 2 ** 26

/** The trace in a file of either format, gzip or plain. Throws what reading throws, and SyntaxError on a bad line. */
export const read = (file: string): Trace => {
  const bytes = readFileSync(file)
  const text = (bytes[0] === 0x1f ? gunzipSync(bytes) : bytes).toString("utf8")
  const lines = text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as unknown)
  return (lines[0] as object | undefined) !== undefined && "session" in (lines[0] as object)
    ? sessions(lines as ReadonlyArray<SessionLine>)
    : arrivals(lines as ReadonlyArray<ArrivalLine>)
}

interface ArrivalLine {
  readonly timestamp: number
  readonly input_length: number
  readonly output_length: number
  readonly hash_ids: ReadonlyArray<number>
}

const arrivalsBlock = 512

const arrivals = (lines: ReadonlyArray<ArrivalLine>): Arrivals => {
  const requests = lines.map((line) => ({
    atMs: line.timestamp,
    promptTokens: line.input_length,
    outputTokens: Math.max(1, line.output_length),
    // The last one is rarely full.
    blocks: Float64Array.from(line.hash_ids.slice(0, Math.floor(line.input_length / arrivalsBlock)))
  }))
  const sessions = Lineage.sessions(requests)
  return {
    kind: "arrivals",
    blockSize: arrivalsBlock,
    durationMs: (lines.at(-1)?.timestamp ?? 0) + 1,
    requests: requests.map((request, i) => ({ ...request, session: sessions[i]! }))
  }
}

interface SessionLine {
  readonly session: string
  readonly agent: string
  readonly input_length: number
  readonly output_length: number
  readonly tool_tokens: number
  readonly think_ms: number
  readonly hash_ids_rle: ReadonlyArray<readonly [first: number, count: number]>
  readonly spawn_after_turn?: number
}

const sessionIdsBlock = 64
/** Blocks of sessions are joined to these: an engine that caches long contexts uses larger ones. */
const sessionsBlock = 256

const sessions = (lines: ReadonlyArray<SessionLine>): Sessions => {
  const bySession = new Map<string, Map<string, Array<SessionLine>>>()
  for (const line of lines) {
    const chains = bySession.get(line.session) ?? new Map<string, Array<SessionLine>>()
    bySession.set(line.session, chains)
    const chain = chains.get(line.agent) ?? []
    chains.set(line.agent, chain)
    chain.push(line)
  }
  return {
    kind: "sessions",
    blockSize: sessionsBlock,
    sessions: Array.from(bySession.values(), (chains) =>
      Array.from(chains, ([agent, turns]) => ({
        after: agent === "main" ? null : (turns[0]!.spawn_after_turn ?? 0),
        turns: turns.map((line) => ({
          session: null,
          promptTokens: line.input_length,
          outputTokens: Math.max(1, line.output_length),
          thinkMs: line.think_ms,
          blocks: joined(line)
        }))
      })).sort((a, b) => (a.after === null ? -1 : a.after) - (b.after === null ? -1 : b.after))
    )
  }
}

/** Every fourth id names a block of four. Those within equal tool definitions are the same in all sessions: negative. */
const joined = ({ hash_ids_rle, input_length, tool_tokens }: SessionLine): Float64Array => {
  const per = sessionsBlock / sessionIdsBlock
  const blocks = new Float64Array(Math.floor(input_length / sessionsBlock))
  let at = 0
  for (const [first, count] of hash_ids_rle) {
    for (let i = 0; i < count; i++, at++) {
      if (at % per === per - 1 && at < blocks.length * per) blocks[(at - per + 1) / per] = first + i
    }
  }
  const common = Math.min(blocks.length, Math.floor(tool_tokens / sessionsBlock))
  for (let i = 0; i < common; i++) blocks[i] = -1 - (tool_tokens * 4096 + i)
  return blocks
}

/**
 * So many copies of arrivals, each moved in time and with blocks of its own: more traffic with the same pauses. Blocks
 * that more than 1 % of requests share stay common. Each copy has its own sessions; of the last only a part of them is taken when `copies`
 * is not whole. Arrivals stamped on a grid of seconds are spread over it.
 */
export const copied = (trace: Arrivals, copies: number, random: () => number): Arrivals => {
  const depths = Lineage.commonDepths(trace.requests)
  const gridMs = gridOf(trace)
  const sessions = trace.requests.reduce((most, { session }) => Math.max(most, session ?? -1), -1) + 1
  const requests: Array<Request & { readonly atMs: number }> = []
  for (let copy = 0; copy < copies; copy++) {
    const share = Math.min(1, copies - copy)
    const shiftMs = random() * trace.durationMs
    for (let i = 0; i < trace.requests.length; i++) {
      const { atMs, blocks, session, ...rest } = trace.requests[i]!
      // Knuth's multiplicative hash: a session is taken or left as a whole.
      if ((Math.imul(session ?? i, 0x9e3779b1) >>> 0) / 2 ** 32 >= share) continue
      const own = Float64Array.from(blocks)
      for (let at = depths[i]!; at < own.length; at++) own[at]! += (copy + 1) * copyIds
      requests.push({
        ...rest,
        session: session === null ? null : session + copy * sessions,
        atMs: (atMs + random() * gridMs + shiftMs) % trace.durationMs,
        blocks: own
      })
    }
  }
  return { ...trace, requests: requests.sort((a, b) => a.atMs - b.atMs) }
}

/** The usual step between different arrival times, when many arrive at once; else 0. */
const gridOf = ({ requests }: Arrivals): number => {
  const times = [...new Set(requests.map(({ atMs }) => atMs))]
  if (times.length > requests.length / 2) return 0
  const steps = times.slice(1).map((atMs, i) => atMs - times[i]!)
  return steps.sort((a, b) => a - b)[steps.length >> 1] ?? 0
}
