import { mkdtemp, rename, rm, symlink, unlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Logger, Result } from "effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as Config from "../src/Config.ts"
import * as ConfigFile from "../src/ConfigFile.ts"

let dir: string
let path: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "warmpath-config-"))
  path = join(dir, "warmpath.yaml")
})
afterEach(() => rm(dir, { recursive: true }))

const decode = (file: unknown) => Config.decode({ file })
const urls = (config: Config.Config) => config.workers.map(({ url }) => url)

/** Follows the file while `test` runs; what was applied and logged is written down. */
const following = async (
  lookMs: number,
  test: (applied: Array<Config.Config>, logged: Array<string>) => Promise<void>
) => {
  const applied: Array<Config.Config> = []
  const logged: Array<string> = []
  const logger = Logger.make(({ message }) => void logged.push(String(message)))
  await Effect.runPromise(
    Effect.gen(function* () {
      const config = yield* Effect.fromResult(decode(yield* ConfigFile.read(path)))
      const apply = (next: Config.Config) => Effect.sync(() => void applied.push(next))
      yield* ConfigFile.follow({ path, config, decode, apply, lookMs, settleMs: 5 })
      yield* Effect.promise(() => test(applied, logged))
    }).pipe(Effect.scoped, Effect.provide(Logger.layer([logger])))
  )
}

describe("ConfigFile", () => {
  it("reads YAML and JSON alike", async () => {
    await writeFile(path, "workers:\n  - http://a # one\nport: 9000\n")
    expect(await Effect.runPromise(ConfigFile.read(path))).toEqual({ workers: ["http://a"], port: 9000 })
    await writeFile(path, '{"port": 9001}')
    expect(await Effect.runPromise(ConfigFile.read(path))).toEqual({ port: 9001 })
  })

  it("says which file and line cannot be read", async () => {
    await writeFile(path, "port: 1\nport: 2\n")
    expect((await Effect.runPromise(Effect.flip(ConfigFile.read(path)))).message).toMatch(
      /warmpath\.yaml: .*unique.*line 2/s
    )
    const missing = await Effect.runPromise(Effect.flip(ConfigFile.read(join(dir, "none.yaml"))))
    expect(missing.message).toMatch(/none\.yaml cannot be read: ENOENT/)
  })

  for (const lookMs of [20, 60_000]) {
    const how = lookMs === 20 ? "by looking" : "by its directory's watch"
    it(`takes over workers and aliases from a file that changed, ${how}`, async () => {
      await writeFile(path, "workers: [http://a]\n")
      await following(lookMs, async (applied) => {
        await writeFile(path, "workers: [http://a, http://b]\nmodelAliases: {x: y}\n")
        await expect.poll(() => applied.length).toBe(1)
        expect(urls(applied[0]!)).toEqual(["http://a", "http://b"])
        expect(applied[0]!.modelAliases).toEqual({ x: "y" })
      })
    })
  }

  it("follows a file that is replaced rather than written, also behind a link", async () => {
    const write = (name: string, text: string) => writeFile(join(dir, name), text)
    await write("one", "workers: [http://a]\n")
    await symlink("one", path)
    await following(20, async (applied) => {
      await write("two", "workers: [http://b]\n")
      await unlink(path)
      await symlink("two", path)
      await expect.poll(() => applied.map(urls)).toEqual([["http://b"]])
      await write("three", "workers: [http://c]\n")
      await rename(join(dir, "three"), path)
      await expect.poll(() => applied.map(urls)).toEqual([["http://b"], ["http://c"]])
    })
  })

  it("keeps the old configuration while the file is broken, says so once, and takes the mended one", async () => {
    await writeFile(path, "workers: [http://a]\n")
    await following(5, async (applied, logged) => {
      await writeFile(path, "workers: [htp://b]\n")
      await expect.poll(() => logged.length).toBeGreaterThan(0)
      await writeFile(join(dir, "beside"), "stirs the watch")
      await writeFile(path, "workers: [http://c]\n")
      await expect.poll(() => applied.map(urls)).toEqual([["http://c"]])
      const complaints = logged.filter((text) => text.includes("htp://b"))
      expect(complaints.length).toBe(1)
      expect(complaints[0]).toContain("The old configuration stays in force")
    })
  })

  it("does not take a file that was emptied for the wish to have no workers", async () => {
    await writeFile(path, "workers: [http://a]\n")
    await following(5, async (applied, logged) => {
      await writeFile(path, "")
      await expect.poll(() => logged).toEqual([expect.stringContaining("is empty")])
      expect(applied).toEqual([])
      await writeFile(path, "{}")
      await expect.poll(() => applied.map(urls)).toEqual([[]])
    })
  })

  it("says which knobs need a restart, once, and takes over the rest", async () => {
    await writeFile(path, "port: 9000\n")
    await following(5, async (applied, logged) => {
      await writeFile(path, "port: 9001\n")
      await expect.poll(() => logged).toEqual([expect.stringContaining("port changed")])
      expect(applied).toEqual([])
      await writeFile(path, "port: 9001\nworkers: [http://a]\n")
      await expect.poll(() => applied.length).toBe(1)
      await expect.poll(() => logged.length).toBe(2)
      expect(logged[1]).toContain("Took over workers")
    })
  })

  it("decodes what it parsed", () => {
    expect(Result.isFailure(ConfigFile.parse("f", "a: [")) && Result.isSuccess(ConfigFile.parse("f", ""))).toBe(true)
  })
})
