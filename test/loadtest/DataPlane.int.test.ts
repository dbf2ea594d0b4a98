import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"

const bench = fileURLToPath(new URL("../../loadtest/DataPlane.bench.ts", import.meta.url))
const run = (...args: ReadonlyArray<string>): Promise<{ stdout: string }> =>
  promisify(execFile)(process.execPath, [bench, ...args])

describe("The data plane's bench", () => {
  it("prints a row per case, each with numbers of both proxies", async () => {
    const { stdout } = await run("--tiny")
    const rows = stdout.trim().split("\n")
    expect(rows.map((row) => row.slice(0, 24).trim())).toEqual([
      "CPU of the proxy",
      "2 KB body, µs/request",
      "32 KB body, µs/request",
      "SSE, µs/chunk"
    ])
    for (const row of rows.slice(1)) {
      const [ours, theirs] = [...row.slice(24).matchAll(/([\d.]+) \(/g)].map((match) => Number(match[1]))
      expect(ours).toBeGreaterThan(0)
      expect(theirs).toBeGreaterThan(0)
    }
  })

  it("says with --help what it does", async () => {
    expect((await run("--help")).stdout).toMatch(/^Usage: node loadtest\/DataPlane\.bench\.ts/)
  })
})
