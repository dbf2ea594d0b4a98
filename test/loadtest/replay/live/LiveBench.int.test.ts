import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"

const bench = fileURLToPath(new URL("../../../../loadtest/Live.bench.ts", import.meta.url))
const run = (...args: ReadonlyArray<string>): Promise<{ stdout: string }> =>
  promisify(execFile)(process.execPath, [bench, ...args])

describe("The live comparison", () => {
  // A router and engines start and stop twice, in processes.
  it("prints a row for each policy, live beside virtual time, and no request fails", { timeout: 180_000 }, async () => {
    const { stdout } = await run("--tiny", "--policies", "warmpath,llm-d-precise")
    const table = stdout.split("\n\n")[1]!.split("\n")
    expect(table.slice(1).map((row) => row.split(/ +/)[0])).toEqual(["warmpath", "llm-d-precise"])
    for (const row of table.slice(1)) {
      const figures = row
        .replace(/ \S+-\S+ /, " 0 ")
        .split(/ +/)
        .slice(1)
        .map(Number)
      expect(figures).toHaveLength(9)
      expect(figures.every(Number.isFinite)).toBe(true)
      expect(figures[8]).toBe(0)
      // The same requests find the same in caches, but for what a few ms more or less decide.
      expect(Math.abs(figures[4]! - figures[5]!)).toBeLessThan(10)
    }
  })

  it("says with --help what it does, and which policies there are", async () => {
    expect((await run("--help")).stdout).toMatch(/^Usage: node loadtest\/Live\.bench\.ts[\s\S]+smg-events/)
  })

  it("names the policies there are when one is asked for that is not", async () => {
    await expect(run("--tiny", "--policies", "psychic")).rejects.toThrow(/There is no policy "psychic" .*warmpath/)
  })
})
