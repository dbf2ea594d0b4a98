import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { delimiter, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"

const run = promisify(execFile)
const root = fileURLToPath(new URL("..", import.meta.url))

describe("the published package", () => {
  let dir: string
  const node = dirname(process.execPath)
  const env = { ...process.env, NO_COLOR: "1", PATH: `${node}${delimiter}${process.env["PATH"]}` }
  const warmpath = (...args: ReadonlyArray<string>) =>
    run(join(dir, "node_modules/.bin/warmpath"), args, { cwd: dir, env })

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "warmpath-package-"))
    await run("npm", ["pack", "--pack-destination", dir], { cwd: root, env })
    const tarball = (await readdir(dir)).find((name) => name.endsWith(".tgz"))!
    await writeFile(join(dir, "package.json"), '{"private":true}')
    await run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", join(dir, tarball)], { cwd: dir, env })
  }, 300_000)
  afterAll(() => rm(dir, { recursive: true, force: true }))

  it("installs in an empty folder, tells its version, and helps everywhere", async () => {
    expect((await warmpath("--version")).stdout).toContain("0.1.0")
    for (const command of [[], ["serve"], ["demo"], ["sim-engine"]]) {
      const { stdout } = await warmpath(...command, "--help")
      expect(stdout).toContain("USAGE")
    }
    expect((await warmpath("serve", "--help")).stdout).toContain("--worker")
  })

  it("holds no source and no test", async () => {
    const files = await readdir(join(dir, "node_modules/warmpath"), { recursive: true })
    const own = files.filter((name) => !name.startsWith("node_modules"))
    expect(own.filter((name) => /(?<!\.d)\.ts$/.test(name) || name.startsWith("test"))).toEqual([])
  })

  it("brings the alerts, the dashboard and the names of all metrics, where the README says they are", async () => {
    const own = join(dir, "node_modules/warmpath")
    const readme = await readFile(join(own, "README.md"), "utf8")
    const linked = [...readme.matchAll(/\]\((src\/telemetry\/[^)#]+)/g)].map((found) => found[1]!)
    expect(linked.length).toBeGreaterThanOrEqual(3)
    for (const path of linked) expect((await readFile(join(own, path), "utf8")).length, path).toBeGreaterThan(1_000)
  })

  it("serves the page, all of it, and what it follows", async () => {
    const free = ["--host", "127.0.0.1", "--port", "0", "--admin-port", "0"]
    const router = spawn(join(dir, "node_modules/.bin/warmpath"), ["serve", ...free], { cwd: dir, env })
    try {
      let said = ""
      const admin = await new Promise<string>((resolve, reject) => {
        router.once("exit", () => reject(new Error(`It ended: ${said}`)))
        const hear = (chunk: Buffer): void => {
          said += chunk.toString()
          const found = /admin at (http:\/\/[^\s/]+)/.exec(said)
          if (found !== null) resolve(found[1]!)
        }
        router.stdout.on("data", hear)
        router.stderr.on("data", hear)
      })
      const page = await fetch(admin)
      expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"])
      const parts = [...(await page.text()).matchAll(/(?:src|href)="\.?(\/assets\/[^"]+)"/g)].map((found) => found[1]!)
      expect(parts.length).toBeGreaterThanOrEqual(2)
      for (const path of [...parts, "/admin/prefixes", "/admin/receipts", "/metrics"]) {
        expect((await fetch(admin + path)).status, path).toBe(200)
      }
    } finally {
      router.kill()
      await once(router, "close")
    }
  }, 60_000)

  it("runs the demo: engines, tokenizer thread, router and traffic", async () => {
    const { stdout } = await warmpath("demo", "--requests", "40", "--seconds", "3", "--json")
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ warmpath: { failed: 0 }, roundRobin: { failed: 0 } })
  }, 120_000)
})
