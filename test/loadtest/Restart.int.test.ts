import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "vitest"

const bench = fileURLToPath(new URL("../../loadtest/Restart.bench.ts", import.meta.url))

describe("Restart.bench", () => {
  it("finds with a store what engines hold after a restart, and not without one", { timeout: 180_000 }, async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [bench, "--tiny", "--store", "sqlite"])
    assert.notMatch(stdout, /failed/)
    assert.match(stdout, /^none +[0-9.]+ s +98\.\d +never/m)
    // Hit rates since, in %, of moments: how soon is nothing to test on a busy machine.
    const rates = /^sqlite .* ms {2,}(?<rates>[-0-9. ]+)$/m.exec(stdout)!.groups!["rates"]!
    assert.isAbove(Math.max(...rates.trim().split(/ +/).map(Number)), 90, stdout)
  })
})
