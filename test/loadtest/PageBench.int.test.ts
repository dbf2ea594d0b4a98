import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { build } from "vite"
import { expect, it } from "vitest"

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

it("the bench of the page runs, tiny, and says how soon it is there and what it costs", async () => {
  await build({ configFile: path("../../src/page/vite.config.ts") })
  const { stdout } = await promisify(execFile)(process.execPath, [path("../../loadtest/Page.bench.ts"), "--tiny"])
  expect(stdout).toMatch(/\n +8 +\d+ ms +\d+ ms +\d+ KB +\d+( +\d+\.\d %){3}\n/)
  expect(stdout).toMatch(/\nMachine: .+ Commit: .+\.\nCommand: `node loadtest\/Page\.bench\.ts --tiny`\n$/)
}, 300_000)
