import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"

const bench = fileURLToPath(new URL("../../../loadtest/Ablation.bench.ts", import.meta.url))
const run = (...args: ReadonlyArray<string>) =>
  spawnSync(process.execPath, [bench, "--tiny", ...args], { encoding: "utf8" })

describe("Ablation.bench", () => {
  it("shows what a term is worth beside the whole cost, which as it is is worth 1", () => {
    const { status, stdout } = run("--set", "decode=0.05", "--set", "busyPrice=1000")
    expect(status).toBe(0)
    expect(stdout).toMatch(/^all terms +(\d+\.\d\d s +){4}\d+\.\d$/m)
    expect(stdout).toMatch(/^decode=0.05 +(1\.000 +){4}/m)
    expect(stdout).not.toMatch(/^busyPrice=1000 +(1\.000 +){4}/m)
  })

  it("names the weights there are when one is asked for that is not", () => {
    const { status, stderr } = run("--set", "luck=1")
    expect(status).toBe(2)
    expect(stderr).toContain("busyPrice")
  })
})
