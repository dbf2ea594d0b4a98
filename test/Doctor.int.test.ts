import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as RedisServer from "../loadtest/servers/RedisServer.ts"
import type { Finding } from "../src/ports/StateStore.ts"
import { warmpath } from "./support/Processes.ts"

/** What it says, and how it ends. */
const doctor = async (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}) => {
  const running = warmpath(["doctor", ...args], env)
  const code = await running.ended
  return { code, ...{ text: running.standard(), errors: running.errors() } }
}
const findingsOf = (text: string) => JSON.parse(text) as ReadonlyArray<Finding>

describe("warmpath doctor", () => {
  let folder = ""
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "warmpath-doctor-"))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it("writes to an embedded store, finds it again, and says how long that takes", async () => {
    const { code, text } = await doctor(["--store", `sqlite:${join(folder, "own.sqlite")}`, "--json"])
    expect(code).toBe(0)
    const findings = findingsOf(text)
    const values = new Map(findings.map(({ what, value }) => [what, value]))
    expect(values.get("what was written is found")).toBe("yes")
    for (const blocks of [8, 64, 512]) expect(values.get(`lookup of ${blocks} blocks`)).toMatch(/^p50 .* p99 /)
    expect(findings.filter(({ fix }) => fix !== null)).toEqual([])
  })

  it("looks where a router with the same knobs keeps its file", async () => {
    const { code, text } = await doctor(["--port", "8123"], { XDG_STATE_HOME: folder })
    expect(code).toBe(0)
    expect(text).toMatch(/warmpath\/default\.[0-9a-f]{8}\.8123\.sqlite/)
  })

  it("says what is wrong with a file that is none, what to do, and ends with 1", async () => {
    const file = join(folder, "letter.txt")
    await writeFile(file, "Dear store,\n".repeat(100))
    const { code, text, errors } = await doctor(["--store", `sqlite:${file}`])
    expect(code).toBe(1)
    expect(text).toMatch(/^fix .*letter\.txt .*not a database/)
    expect(text).toMatch(/Delete the file, or give another/)
    expect(errors).toBe("")
  })

  it("measures a Redis, and says when there is none", async () => {
    const server = await RedisServer.start()
    const url = `redis://127.0.0.1:${server.port}`
    try {
      const { text } = await doctor(["--json"], { WARMPATH_STORE: url })
      const values = new Map(findingsOf(text).map(({ what, value }) => [what, value]))
      expect(values.get(url)).toMatch(/^redis \d/)
      expect(values.get("what was written is found")).toBe("yes")
    } finally {
      await server.close()
    }
    const { code, text } = await doctor(["--store", url])
    expect(code).toBe(1)
    expect(text).toMatch(/away: .*ECONNREFUSED.*\n.*Start it, or correct the address/)
  })
})
