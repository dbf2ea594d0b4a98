import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { afterAll, describe, expect, it } from "vitest"
import * as Random from "../../../loadtest/Random.ts"
import * as Generated from "../../../loadtest/replay/Generated.ts"
import * as Trace from "../../../loadtest/replay/Trace.ts"

const dir = mkdtempSync(join(tmpdir(), "warmpath-trace-"))
afterAll(() => rmSync(dir, { recursive: true }))

const written = (name: string, lines: ReadonlyArray<unknown>): string => {
  const file = join(dir, name)
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("")
  writeFileSync(file, name.endsWith(".gz") ? gzipSync(text) : text)
  return file
}

describe("Trace.read", () => {
  it("reads arrivals, gzip or plain, and leaves out blocks that are not full", () => {
    const lines = [
      { timestamp: 0, input_length: 1_100, output_length: 5, hash_ids: [0, 1, 2] },
      { timestamp: 3_000, input_length: 1_024, output_length: 0, hash_ids: [0, 7] }
    ]
    for (const name of ["a.jsonl", "a.jsonl.gz"]) {
      const trace = Trace.read(written(name, lines)) as Trace.Arrivals
      expect(trace).toMatchObject({ kind: "arrivals", blockSize: 512, durationMs: 3_001 })
      expect(trace.requests).toEqual([
        { session: 0, atMs: 0, promptTokens: 1_100, outputTokens: 5, blocks: Float64Array.of(0, 1) },
        // An engine answers with one token at least.
        { session: 0, atMs: 3_000, promptTokens: 1_024, outputTokens: 1, blocks: Float64Array.of(0, 7) }
      ])
    }
  })

  it("reads sessions: joins four blocks to one, shares tool definitions, and ties agents to the turn that started them", () => {
    const line = (agent: string, turn: number, count: number, more: object) => ({
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
    const file = written("s.jsonl", [
      line("sub", 0, 9, { spawn_after_turn: 1 }),
      line("main", 0, 8, {}),
      line("main", 1, 13, {})
    ])
    const trace = Trace.read(file) as Trace.Sessions
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
})

describe("Trace.copied", () => {
  const trace = Generated.arrivals(1, 200_000, 5)
  const common = (each: Trace.Arrivals) => each.requests.filter(({ blocks }) => blocks[0]! < 1_000).length

  it("makes more traffic of the same kind, with prompts of its own behind what all share", () => {
    const twice = Trace.copied(trace, 2, Random.make(1))
    expect(twice.requests.length).toBe(2 * trace.requests.length)
    expect(common(twice)).toBe(2 * common(trace))
    const ends = twice.requests.map(({ blocks }) => blocks.at(-1)!)
    // A few ends were in so many turns of one conversation that they are common.
    expect(new Set(ends).size).toBeGreaterThan(0.99 * ends.length)
    for (let i = 1; i < twice.requests.length; i++) {
      expect(twice.requests[i]!.atMs).toBeGreaterThanOrEqual(twice.requests[i - 1]!.atMs)
    }
  })

  it("gives each copy sessions of its own, whole or not at all", () => {
    const sizes = (each: Trace.Arrivals) => {
      const sizes = new Map<number, number>()
      for (const { session } of each.requests) sizes.set(session!, (sizes.get(session!) ?? 0) + 1)
      return [...sizes.values()].sort((a, b) => a - b)
    }
    const once = sizes(trace)
    expect(sizes(Trace.copied(trace, 3, Random.make(1)))).toEqual(once.flatMap((size) => [size, size, size]))
    const half = Trace.copied(trace, 0.5, Random.make(1))
    const whole = new Map(trace.requests.map(({ session }) => [session, 0]))
    for (const { session } of trace.requests) whole.set(session, whole.get(session)! + 1)
    const taken = new Map<number | null, number>()
    for (const { session } of half.requests) taken.set(session, (taken.get(session) ?? 0) + 1)
    for (const [session, size] of taken) expect(size).toBe(whole.get(session))
  })

  it("takes about as much of the last copy as is asked, and the same for the same seed", () => {
    const some = Trace.copied(trace, 1.5, Random.make(1))
    expect(some.requests.length / trace.requests.length).toBeGreaterThan(1.3)
    expect(some.requests.length / trace.requests.length).toBeLessThan(1.7)
    expect(Trace.copied(trace, 1.5, Random.make(1))).toEqual(some)
  })

  it("spreads arrivals that are stamped on a grid over it", () => {
    const stamped = {
      ...trace,
      requests: trace.requests.map((each) => ({ ...each, atMs: each.atMs - (each.atMs % 3_000) }))
    }
    const times = new Set(Trace.copied(stamped, 1, Random.make(1)).requests.map(({ atMs }) => Math.floor(atMs / 100)))
    expect(times.size).toBeGreaterThan(trace.requests.length / 3)
  })
})
