import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"

const bench = fileURLToPath(new URL("../../../loadtest/Approximate.bench.ts", import.meta.url))

describe("Approximate.bench", () => {
  it("runs small, prints a row per mode for either kind of trace, and writes what it printed", () => {
    const dir = mkdtempSync(join(tmpdir(), "warmpath-approximate-"))
    const out = join(dir, "approximate.md")
    const { status, stdout } = spawnSync(process.execPath, [bench, "--tiny", "--out", out], { encoding: "utf8" })
    expect(status).toBe(0)
    for (const name of ["exact", "approximate", "approximate, no reports", "round robin"]) {
      expect(stdout.match(new RegExp(`^${name} +\\d+\\.\\d\\d +\\d+\\.\\d\\d`, "gm"))).toHaveLength(2)
    }
    for (const line of stdout.trim().split("\n")) expect(readFileSync(out, "utf8")).toContain(line)
    rmSync(dir, { recursive: true })
  })
})
