import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"

const bench = fileURLToPath(new URL("../../loadtest/Store.bench.ts", import.meta.url))
const run = (...args: ReadonlyArray<string>): Promise<{ stdout: string }> =>
  promisify(execFile)(process.execPath, [bench, ...args])

describe("Store.bench", () => {
  it("asks every store the same, gets no wrong answer, and keeps the result with how it was had", async () => {
    const folder = await mkdtemp(join(tmpdir(), "store-bench-"))
    const file = join(folder, "store.md")
    // It exits with 1 when a store answers what the workers do not hold.
    const { stdout } = await run("--tiny", "--what", "all", "--out", file)
    const kept = await readFile(file, "utf8").finally(() => rm(folder, { recursive: true }))
    for (const way of ["local index", "Redis, GET per block", "Redis, MGET per block", "our Redis", "sqlite"]) {
      const rows = stdout.split("\n").filter((line) => line.startsWith(`  ${way}  `) && line.length > 110)
      expect(rows.length, way).toBeGreaterThanOrEqual(5)
      for (const row of rows) {
        const cells = row.slice(36).trim().split(/ {2,}/)
        const [p10, p50, p99, perS] = cells.map((cell) => Number(cell.replaceAll(" ", "")))
        expect(p10, row).toBeGreaterThan(0)
        expect(p50, row).toBeGreaterThanOrEqual(p10!)
        expect(p99, row).toBeGreaterThanOrEqual(p50!)
        expect(perS, row).toBeGreaterThan(0)
      }
    }
    expect(stdout).toMatch(/Redis, MGET a range, GET the rest +[0-9.]+ /)
    expect(stdout).toMatch(/our Redis +[0-9.]+ +[0-9.]+ +[0-9.]+ (met|MISSED) +0 +0 of 1/)
    expect(stdout).toMatch(/No network card is behind rdma|Without rdma over tcp: /)
    expect(kept).toContain("Machine: ")
    expect(kept).toMatch(/Command: `node loadtest\/Store\.bench\.ts --tiny/)
    // A dozen processes begin, on a machine that may be busy.
  }, 180_000)

  it("says with --help what it does", async () => {
    expect((await run("--help")).stdout).toMatch(/^Usage: node loadtest\/Store\.bench\.ts/)
  })
})
