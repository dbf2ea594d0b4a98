import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { afterAll, describe, expect, it } from "vitest"
import type { Arrivals, Sessions } from "../../../loadtest/replay/Trace.ts"
import { TraceError } from "../../../loadtest/replay/TraceError.ts"
import * as TraceFile from "../../../loadtest/replay/TraceFile.ts"

const dir = mkdtempSync(join(tmpdir(), "warmpath-trace-"))
afterAll(() => rmSync(dir, { recursive: true }))

let files = 0
const written = (bytes: string | Uint8Array): string => {
  const file = join(dir, `${files++}`)
  writeFileSync(file, bytes)
  return file
}
const text = (lines: ReadonlyArray<unknown>): string =>
  lines.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join("")

const read = (lines: ReadonlyArray<unknown>, options?: TraceFile.ReadOptions) =>
  TraceFile.read(written(text(lines)), options)

/** Without the blocks: what is read, request by request. */
const blocksOf = (trace: { readonly requests: Arrivals["requests"] }) => trace.requests.map(({ blocks }) => [...blocks])
const sessionsOf = (trace: Arrivals) => trace.requests.map(({ session }) => session)

const mooncake = { timestamp: 0, input_length: 1_100, output_length: 5, hash_ids: [0, 1, 2] }
const bailian = {
  chat_id: 159,
  parent_chat_id: -1,
  timestamp: 61.114,
  input_length: 40,
  output_length: 7,
  type: "text",
  turn: 1,
  hash_ids: [1_089, 1_090, 7]
}
const azure = "TIMESTAMP,ContextTokens,GeneratedTokens"

describe("TraceFile.read, Mooncake", () => {
  it("reads arrivals, gzip or plain, and leaves out blocks that are not full", () => {
    const lines = [mooncake, { timestamp: 3_000, input_length: 1_024, output_length: 0, hash_ids: [0, 7] }]
    for (const file of [written(text(lines)), written(gzipSync(text(lines)))]) {
      expect(TraceFile.read(file)).toEqual({
        kind: "arrivals",
        blockSize: 512,
        durationMs: 3_001,
        requests: [
          { session: 0, atMs: 0, promptTokens: 1_100, outputTokens: 5, blocks: Float64Array.of(0, 1) },
          // An engine answers with one token at least.
          { session: 0, atMs: 3_000, promptTokens: 1_024, outputTokens: 1, blocks: Float64Array.of(0, 2) }
        ]
      })
    }
  })

  it("takes an empty prompt for one token, as an engine always computes one", () => {
    const { requests } = read([{ ...mooncake, input_length: 0, hash_ids: [] }]) as Arrivals
    expect(requests[0]!.promptTokens).toBe(1)
  })

  it("takes blocks of another size when told", () => {
    const trace = read([{ ...mooncake, hash_ids: Array.from({ length: 18 }, (_, i) => i) }], { blockSize: 64 })
    expect(trace.blockSize).toBe(64)
    expect(blocksOf(trace as Arrivals)[0]).toHaveLength(17)
  })

  it("understands the other names that Dynamo's replay gives the fields", () => {
    const trace = read([{ created_time: 5, input_tokens: 600, output_tokens: 9, hash_ids: [4, 5] }]) as Arrivals
    expect(trace.requests).toEqual([
      { session: 0, atMs: 0, promptTokens: 600, outputTokens: 9, blocks: Float64Array.of(0) }
    ])
  })

  it("puts lines in order of time, and begins with the first", () => {
    const trace = read([
      { ...mooncake, timestamp: 7_000 },
      { ...mooncake, timestamp: 5_000, hash_ids: [9, 10, 11] }
    ]) as Arrivals
    expect(trace.requests.map(({ atMs }) => atMs)).toEqual([0, 2_000])
    expect(blocksOf(trace)).toEqual([
      [2, 3],
      [0, 1]
    ])
    expect(trace.durationMs).toBe(2_001)
  })

  it("takes the same block behind another prefix for another one", () => {
    const trace = read([
      { ...mooncake, hash_ids: [0, 1, 2] },
      { ...mooncake, hash_ids: [5, 1, 2] },
      { ...mooncake, hash_ids: [5, 1, 8] }
    ]) as Arrivals
    const [a, b, c] = blocksOf(trace)
    expect(b).toEqual(c)
    expect(new Set([...a!, ...b!]).size).toBe(4)
  })

  it("takes sessions from session_id where every request says when it came", () => {
    const trace = read([
      { ...mooncake, session_id: "a" },
      { ...mooncake, session_id: "b", timestamp: 10 },
      { ...mooncake, session_id: "a", timestamp: 20 },
      { ...mooncake, timestamp: 30 }
    ]) as Arrivals
    expect(sessionsOf(trace)).toEqual([0, 1, 0, 2])
  })

  it("reads sessions that wait for their answers where delays are told", () => {
    const trace = read([
      { ...mooncake, session_id: "a", timestamp: 1_000, hash_ids: [1, 2, 3] },
      { ...mooncake, session_id: "b", timestamp: 1_010, hash_ids: [1, 9, 10] },
      { ...mooncake, session_id: "a", delay: 50, input_length: 2_048, hash_ids: [1, 2, 30, 31] },
      { ...mooncake, session_id: "b", timestamp: 1_060, hash_ids: [1, 9, 11] }
    ]) as Sessions
    expect(trace).toMatchObject({ kind: "sessions", blockSize: 512 })
    const [[a], [b]] = trace.sessions as [Sessions["sessions"][number], Sessions["sessions"][number]]
    expect(a).toMatchObject({ after: null })
    expect(a!.turns.map(({ thinkMs }) => thinkMs)).toEqual([0, 50])
    expect(b!.turns.map(({ thinkMs }) => thinkMs)).toEqual([0, 50])
    // The first block is in both: the same whichever session is replayed how often.
    expect([...a!.turns[1]!.blocks]).toEqual([-1, 1, 3, 4])
    expect([...b!.turns[0]!.blocks]).toEqual([-1, 2])
  })
})

describe("TraceFile.read, Bailian", () => {
  it("reads seconds, 16-token blocks and who follows whom", () => {
    const trace = read([
      bailian,
      { ...bailian, chat_id: 3, timestamp: 61.5, hash_ids: [1_089, 5, 7] },
      { ...bailian, chat_id: 160, parent_chat_id: 159, turn: 2, timestamp: 62.5 },
      { ...bailian, chat_id: 161, parent_chat_id: 160, turn: 3, timestamp: 63 },
      // Their first turn came before the trace began.
      { ...bailian, chat_id: 170, parent_chat_id: 20, turn: 2, timestamp: 64 },
      { ...bailian, chat_id: 171, parent_chat_id: 170, turn: 3, timestamp: 65 }
    ]) as Arrivals
    expect(trace).toMatchObject({ kind: "arrivals", blockSize: 16 })
    expect(trace.requests.map(({ atMs }) => Math.round(atMs))).toEqual([0, 386, 1_386, 1_886, 2_886, 3_886])
    expect(sessionsOf(trace)).toEqual([0, 1, 0, 0, 2, 2])
    expect(blocksOf(trace).slice(0, 2)).toEqual([
      [0, 1],
      [0, 2]
    ])
  })

  it("ends on chats that follow each other in a circle", () => {
    const circle = [
      { ...bailian, chat_id: 1, parent_chat_id: 2 },
      { ...bailian, chat_id: 2, parent_chat_id: 1 }
    ]
    expect(new Set(sessionsOf(read(circle) as Arrivals)).size).toBe(1)
  })
})

describe("TraceFile.read, Azure", () => {
  it("reads times and lengths; prompts have nothing in common and no session is known", () => {
    const trace = read([
      azure,
      "2023-11-16 18:17:03.9799600,1100,10",
      "2023-11-16 18:17:04.0319600,600,0",
      "2024-05-12 00:00:00.000001+00:00,3,1"
    ]) as Arrivals
    expect(trace.requests.slice(0, 2)).toMatchObject([
      { session: null, atMs: 0, promptTokens: 1_100, outputTokens: 10, blocks: Float64Array.of(0, 1) },
      { session: null, promptTokens: 600, outputTokens: 1, blocks: Float64Array.of(2) }
    ])
    expect(trace.requests[1]!.atMs).toBeCloseTo(52, 3)
    expect(trace.requests[2]!.blocks).toHaveLength(0)
  })
})

describe("TraceFile.read, coding sessions", () => {
  const turn = (agent: string, turn: number, count: number, more: object = {}) => ({
    session: "s",
    agent,
    turn,
    input_length: count * 64 + 10,
    output_length: 3,
    tool_tokens: 300,
    think_ms: turn * 100,
    hash_ids_rle: [
      [1, 5],
      [100, count - 5]
    ],
    ...more
  })

  it("joins four blocks to one, shares tool definitions, and ties agents to the turn that started them", () => {
    const trace = read([
      turn("sub", 0, 9, { spawn_after_turn: 1 }),
      turn("main", 0, 8),
      turn("main", 1, 13)
    ]) as Sessions
    expect(trace).toMatchObject({ kind: "sessions", blockSize: 256 })
    const [main, sub] = trace.sessions[0]!
    expect(main!.after).toBeNull()
    expect(main!.turns.map(({ thinkMs }) => thinkMs)).toEqual([0, 100])
    // Ids 1 to 5, then 100 on: the second block ends with its eighth id, the third with its twelfth. The first is a tool's.
    const tool = -1 - 300 * 4096
    expect(main!.turns.map(({ blocks }) => [...blocks])).toEqual([
      [tool, 102],
      [tool, 102, 106]
    ])
    expect(sub!.after).toBe(1)
    expect([...sub!.turns[0]!.blocks]).toEqual([tool, 102])
  })

  it("reads the same session as kv-cache-tester writes it down, in seconds and one line", () => {
    const ids = (count: number) => Array.from({ length: count }, (_, i) => (i < 5 ? 1 + i : 95 + i))
    const request = (t: number, count: number, more: object = {}) => ({
      t,
      type: "n",
      model: "m",
      in: count * 64 + 10,
      out: 3,
      hash_ids: ids(count),
      api_time: 1,
      ...more
    })
    const trace = read([
      {
        id: "s",
        models: ["m"],
        block_size: 64,
        hash_id_scope: "local",
        tool_tokens: 300,
        requests: [
          request(0, 8),
          // The pause is told, or it is what is left between an answer and the next request.
          request(1.1, 13, { think_time: 0.25 }),
          { t: 2, type: "subagent", agent_id: "a", requests: [request(2, 9), request(5, 9)] },
          request(2.5, 13)
        ]
      }
    ]) as Sessions
    expect(trace).toMatchObject({ kind: "sessions", blockSize: 256 })
    const [main, sub] = trace.sessions[0]!
    expect(main!.turns.map(({ thinkMs }) => Math.round(thinkMs))).toEqual([0, 250, 400])
    expect(sub!.after).toBe(1)
    expect(sub!.turns.map(({ thinkMs }) => thinkMs)).toEqual([0, 2_000])
    const tool = -1 - 300 * 4096
    const [, eighth, twelfth] = main!.turns[1]!.blocks
    expect(main!.turns.map(({ blocks }) => [...blocks])).toEqual([
      [tool, eighth],
      [tool, eighth, twelfth],
      [tool, eighth, twelfth]
    ])
    expect([...sub!.turns[0]!.blocks]).toEqual([tool, eighth])
    expect(eighth).not.toBe(twelfth)
  })
})

describe("TraceFile.read, what it cannot read", () => {
  const failure = (file: string, options?: TraceFile.ReadOptions): TraceError => {
    try {
      TraceFile.read(file, options)
    } catch (error) {
      if (error instanceof TraceError) return error
      throw error
    }
    throw new Error("it was read")
  }
  const failing = (lines: ReadonlyArray<unknown>): TraceError => failure(written(text(lines)))

  it("says which file, which line, what is there and what would do", () => {
    const error = failing([mooncake, "", { ...mooncake, input_length: -5 }])
    expect(error).toMatchObject({ line: 3, found: "input_length is -5", accepted: "a number, 0 or more" })
    expect(error.message).toBe(`${error.file}, line 3: input_length is -5. Accepted: a number, 0 or more.`)
  })

  it.each<readonly [string, ReadonlyArray<unknown>, number, RegExp]>([
    [
      "a field that is missing",
      [mooncake, { ...mooncake, output_length: undefined }],
      2,
      /output_length or output_tokens is missing/
    ],
    ["half a token", [{ ...mooncake, input_length: 7.5 }], 1, /input_length is 7.5/],
    ["a number as text", [{ ...mooncake, timestamp: "0" }], 1, /timestamp is "0"/],
    [
      "fewer ids than the prompt has blocks",
      [{ ...mooncake, hash_ids: [0] }],
      1,
      /1 hash_ids for a prompt of 1100 tokens/
    ],
    [
      "more ids than the prompt has blocks",
      [{ ...mooncake, hash_ids: [0, 1, 2, 3] }],
      1,
      /4 hash_ids for a prompt of 1100/
    ],
    ["ids that are no numbers", [{ ...mooncake, hash_ids: [0, null, 2] }], 1, /hash_ids holds null/],
    ["half a line", [mooncake, '{"timestamp": 3'], 2, /no JSON object, or half of one/],
    ["a request of no session without a time", [{ ...mooncake, timestamp: undefined }], 1, /timestamp is missing/],
    [
      "a turn that tells neither a delay nor when",
      [
        { ...mooncake, session_id: 1 },
        { ...mooncake, session_id: 1, timestamp: undefined }
      ],
      2,
      /neither delay nor a timestamp/
    ],
    [
      "requests that wait for several others",
      [
        { ...mooncake, request_id: "a" },
        { ...mooncake, request_id: "b", wait_for: ["a"] }
      ],
      2,
      /wait_for names other requests/
    ],
    ["a chat without a parent", [{ ...bailian, parent_chat_id: undefined }], 1, /parent_chat_id is missing/],
    ["a row of two cells", [azure, "2023-11-16 18:17:03.9,5"], 2, /2 cells/],
    ["negative tokens in a row", [azure, "2023-11-16 18:17:03.9,-5,1"], 2, /"-5" tokens/],
    ["a day that does not exist", [azure, "2023-13-45 18:17:03.9,5,1"], 2, /the time is "2023-13-45/],
    [
      "runs of ids that go on for ever",
      [{ session: "s", agent: "main", input_length: 64, output_length: 1, think_ms: 0, hash_ids_rle: [[0, 1e9]] }],
      1,
      /hash_ids_rle holds \[0,1000000000\]/
    ],
    [
      "a session of nothing but sub-agents",
      [{ session: "s", agent: "x", input_length: 64, output_length: 1, think_ms: 0, hash_ids_rle: [[0, 1]] }],
      1,
      /session s ends without a main agent/
    ],
    [
      "sessions of different blocks",
      [
        { id: 1, block_size: 64, requests: [{ t: 0, in: 5, out: 1, hash_ids: [] }] },
        { id: 2, block_size: 16, requests: [] }
      ],
      2,
      /block_size is 16/
    ],
    ["a session of no requests", [{ id: 1, requests: [] }], 1, /no request of the main agent/],
    ["another kind of file", ["<html>"], 1, /no trace begins like this: <html>/]
  ])("refuses %s", (_, lines, line, found) => {
    const error = failing(lines)
    expect(error.line).toBe(line)
    expect(error.found).toMatch(found)
  })

  it("does not mind empty lines, Windows' line ends or a byte order mark", () => {
    const lines = `\uFEFF\r\n${JSON.stringify(mooncake)}\r\n\r\n${JSON.stringify(mooncake)}`
    expect((TraceFile.read(written(lines)) as Arrivals).requests).toHaveLength(2)
    const rows = `\n${azure}\r\n2023-11-16 18:17:03.9799600,1100,10\r\n`
    expect((TraceFile.read(written(rows)) as Arrivals).requests).toHaveLength(1)
  })

  it("tells of the block size when ids and prompt do not fit", () => {
    expect(failing([{ ...mooncake, hash_ids: [0] }]).accepted).toMatch(/2 or 3.*512 tokens each.*--block-size/)
  })

  it("names all formats when it knows none", () => {
    const { accepted } = failing([{ hello: 1 }])
    for (const { name } of TraceFile.formats) expect(accepted).toContain(name)
  })

  it("says that a file is empty, missing or broken off", () => {
    expect(failure(written("")).found).toMatch(/empty/)
    expect(failure(written("\n \n")).found).toMatch(/empty/)
    expect(failure(join(dir, "nowhere")).found).toMatch(/no such file/)
    expect(failure(dir).found).toMatch(/cannot be read/)
    const whole = gzipSync(text(Array.from({ length: 500 }, (_, i) => ({ ...mooncake, timestamp: i }))))
    expect(failure(written(whole.subarray(0, whole.length / 2))).found).toMatch(/gzip file ends early/)
  })
})
