import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { expect, it } from "vitest"

const bench = fileURLToPath(new URL("../../loadtest/Observe.bench.ts", import.meta.url))

it("the bench of what observing costs runs, tiny, and its collector is sent something", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [bench, "--tiny"], { timeout: 55_000 })
  expect(stdout).toMatch(/all off +receipts +receipts, OTLP +all of it/)
  expect(stdout.match(/us\/request( +\d+\.\d){4}$/gm)).toHaveLength(3)
  expect(stdout).toMatch(/The collector was sent [1-9]\d* KiB/)
})
