import { describe, expect, it } from "vitest"
import { Agenda } from "../../../loadtest/replay/Agenda.ts"
import * as Sessions from "../../../loadtest/replay/Sessions.ts"
import type * as Trace from "../../../loadtest/replay/Trace.ts"

const turn = (thinkMs: number, ...blocks: ReadonlyArray<number>) => ({
  session: null,
  promptTokens: 256 * blocks.length + 1,
  outputTokens: 1,
  thinkMs,
  blocks: Float64Array.from(blocks)
})

/** One session whose first turn starts another agent; the first block is a tool's. */
const trace: Trace.Sessions = {
  kind: "sessions",
  blockSize: 256,
  sessions: [
    [
      { after: null, turns: [turn(0, -1, 1), turn(700, -1, 1, 2), turn(900, -1, 1, 2, 3)] },
      { after: 0, turns: [turn(0, -1, 9), turn(50, -1, 9, 10)] }
    ]
  ]
}

interface Sent {
  readonly atMs: number
  readonly session: number | null
  readonly blocks: ReadonlyArray<number>
}

/** Every answer takes 100 ms. */
const sent = (live: number, untilMs: number): ReadonlyArray<Sent> => {
  const all: Array<Sent> = []
  const agenda = new Agenda()
  Sessions.start(trace, agenda, { seed: 1, live, meetWithinMs: 0 }, (request, atMs, done) => {
    all.push({ atMs, session: request.session, blocks: [...request.blocks] })
    agenda.add(atMs + 100, done)
  })
  while (agenda.nextAt < untilMs) agenda.next()
  return all
}

describe("Sessions.start", () => {
  it("sends each turn a pause after the answer before it, and other agents beside the main one", () => {
    const all = sent(1, 10_000)
    const number = all.at(-1)!.session! - 1
    const one = all.filter(({ session }) => session === number)
    const fromMs = one[0]!.atMs
    expect(one.map(({ atMs, blocks }) => [atMs - fromMs, blocks.length])).toEqual([
      [0, 2],
      [100, 2],
      [250, 3],
      [800, 3],
      [1_800, 4]
    ])
  })

  it("keeps so many alive: where one ends, the next begins, with another number", () => {
    const all = sent(3, 10_000)
    const ended = new Set<number>()
    const alive = new Set<number>()
    for (const { blocks, session } of all) {
      expect(ended.has(session!)).toBe(false)
      alive.add(session!)
      expect(alive.size).toBeLessThanOrEqual(3)
      // Its last turn.
      if (blocks.length === 4) {
        alive.delete(session!)
        ended.add(session!)
      }
    }
    expect(alive.size).toBe(3)
    expect(ended.size).toBeGreaterThan(3 * 4)
  })

  it("gives each session blocks of its own, shared by its agents' turns, but for those common to all", () => {
    const owners = new Map<number, Set<number | null>>()
    for (const { blocks, session } of sent(3, 10_000)) {
      expect(blocks[0]).toBe(-1)
      for (const id of blocks.slice(1)) owners.set(id, (owners.get(id) ?? new Set()).add(session))
    }
    for (const sessions of owners.values()) expect(sessions.size).toBe(1)
  })
})
