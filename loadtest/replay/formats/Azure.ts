/**
 * Azure's LLM inference traces (Azure/AzurePublicDataset, 2023 and 2024): times and lengths, comma-separated. Nothing tells
 * which prompts have anything in common, so none has: every prompt has blocks of its own and nobody knows its session.
 */
import type { Arriving } from "./Arriving.ts"
import type { Format } from "./Format.ts"
import type { Line } from "./Line.ts"

/** Tokens of a block made up. */
const blockSizeDefault = 512
const heads = "TIMESTAMP,ContextTokens,GeneratedTokens"

export const format: Format = {
  name: "Azure",
  looks: heads,
  is: ({ text }) => text === heads,
  read: (lines, blockSize) => {
    const tokens = blockSize ?? blockSizeDefault
    const told: Array<Arriving> = []
    let ids = 0
    for (const line of lines) {
      if (line.text === heads) continue
      const cells = line.text.split(",")
      if (cells.length !== 3) line.fail(`${cells.length} cells`, heads)
      const promptTokens = Math.max(1, whole(line, cells[1]!))
      const blocks = new Float64Array(Math.floor(promptTokens / tokens)).map(() => ids++)
      told.push({
        atMs: time(line, cells[0]!),
        promptTokens,
        outputTokens: Math.max(1, whole(line, cells[2]!)),
        blocks
      })
    }
    told.sort((a, b) => a.atMs - b.atMs)
    const fromMs = told[0]?.atMs ?? 0
    return {
      kind: "arrivals",
      blockSize: tokens,
      durationMs: (told.at(-1)?.atMs ?? fromMs) - fromMs + 1,
      requests: told.map((each) => ({ ...each, session: null, atMs: each.atMs - fromMs }))
    }
  }
}

const whole = (line: Line, cell: string): number =>
  /^\d+$/.test(cell) ? Number(cell) : line.fail(`"${cell}" tokens`, "whole tokens, 0 or more")

/** UTC, with or without saying so; up to ten million parts of a second. */
const time = (line: Line, cell: string): number => {
  const match = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?(?:Z|\+00:00)?$/.exec(cell)
  const ms = match === null ? Number.NaN : Date.parse(`${match[1]}T${match[2]}Z`)
  return Number.isNaN(ms)
    ? line.fail(`the time is "${cell}"`, "2023-11-16 18:17:03.9799600, in UTC")
    : ms + Number(match![3] ?? 0) * 1000
}
