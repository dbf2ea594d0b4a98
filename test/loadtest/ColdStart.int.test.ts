import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "vitest"

const bench = fileURLToPath(new URL("../../loadtest/ColdStart.bench.ts", import.meta.url))

describe("ColdStart.bench", () => {
  it("has a replica join another one, and both hold what the engines do", async () => {
    // It exits with 1 when they do not.
    const { stdout } = await promisify(execFile)(process.execPath, [bench, "--tiny"])
    assert.match(stdout, /20 000 +[0-9.]+ s +[0-9.]+ s +[1-9][0-9]* MB/)
  })
})
