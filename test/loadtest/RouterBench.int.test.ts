import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"

const bench = fileURLToPath(new URL("../../loadtest/Router.bench.ts", import.meta.url))
const run = (...args: ReadonlyArray<string>): Promise<{ stdout: string }> =>
  promisify(execFile)(process.execPath, [bench, ...args])

describe("The router's bench", () => {
  // It ends without a table when one answer is not the worker's, byte for byte.
  it("prints a row per case, each with figures of the router, a plain proxy and the worker alone", async () => {
    const { stdout } = await run("--tiny")
    const [table, where] = stdout.trimEnd().split("\n\n")
    const rows = table!.split("\n")
    expect(rows.slice(1).map((row) => row.slice(0, 40).trim())).toEqual([
      "memory, KB/idle stream",
      "CPU, 2 KB body, whole, us/request",
      "CPU, 2 KB body, streamed, us/request",
      "CPU, 32 KB body, whole, us/request",
      "CPU, 32 KB body, streamed, us/request",
      "CPU, 256 KB body, whole, us/request",
      "CPU, 256 KB body, streamed, us/request",
      "CPU, SSE, us/chunk",
      "latency p50, 2 KB, ms",
      "latency p99, 2 KB, ms"
    ])
    expect(rows[0]!.trim().split(/ {2,}/)).toEqual(["router", "plain proxy", "worker alone", "plain / router"])
    for (const row of rows.slice(1)) {
      const figures = [...row.slice(40).matchAll(/(-?[\d.]+) \(/g)].map((match) => Number(match[1]))
      expect(figures).toHaveLength(row.startsWith("memory") ? 2 : 3)
      for (const figure of figures) expect(figure).toSatisfy(Number.isFinite)
      if (!row.startsWith("memory")) for (const figure of figures) expect(figure).toBeGreaterThan(0)
    }
    expect(where).toMatch(/^Machine: .+ Node v\d+.+ Commit: .+\.\nCommand: `node loadtest\/Router\.bench\.ts --tiny`$/)
  })

  it("says with --help what it does", async () => {
    expect((await run("--help")).stdout).toMatch(/^Usage: node loadtest\/Router\.bench\.ts/)
  })
})
