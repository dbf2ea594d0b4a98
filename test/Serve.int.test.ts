import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import * as Processes from "./support/Processes.ts"
import { idOf } from "./support/TestRouter.ts"

describe("warmpath serve", () => {
  let fleet: SimFleet.SimFleet
  let dir: string
  let running: Array<Processes.Running> = []
  beforeAll(async () => {
    fleet = await SimFleet.start({ engines: 3, speed: 10 })
    dir = await mkdtemp(join(tmpdir(), "warmpath-serve-"))
  })
  afterAll(async () => {
    await fleet.close()
    await rm(dir, { recursive: true })
  })
  afterEach(async () => {
    await Promise.all(running.map((each) => each.stop()))
    running = []
  })

  const serve = (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}) => {
    const started = Processes.warmpath(["serve", ...args], env)
    running.push(started)
    return started
  }
  const free = ["--host", "127.0.0.1", "--port", "0", "--admin-port", "0"]
  const addresses = async (router: Processes.Running) => {
    const [, url, admin] = await router.says(/at (http:\S+)\/v1 · admin at (http:\/\/[^\s/]+)/)
    return { url: url!, admin: admin! }
  }
  const states = async (admin: string) => {
    const { workers } = (await (await fetch(`${admin}/admin/workers`)).json()) as {
      workers: Array<{ id: string; state: string }>
    }
    return Object.fromEntries(workers.map(({ id, state }) => [id, state]))
  }
  const [one, two, three] = [0, 1, 2].map((i) => () => fleet.urls[i]!) as [() => string, () => string, () => string]
  const soon = { timeout: 10_000 }

  it("starts a simulated fleet when it is given no worker, and answers", async () => {
    const router = serve(free)
    const { url } = await addresses(router)
    expect(router.output()).toContain("four simulated engines")
    await expect.poll(async () => (await fetch(`${url}/ready`)).status, soon).toBe(200)
    const answer = await fetch(`${url}/v1/completions`, {
      method: "POST",
      body: JSON.stringify({ model: "sim/qwen3", prompt: "Once upon a time", max_tokens: 3 })
    })
    expect(answer.status).toBe(200)
    router.process.kill("SIGINT")
    expect(await router.ended).toBe(0)
  })

  it("follows the workers and aliases of its config file, and keeps the old ones when the file is broken", async () => {
    const file = join(dir, "warmpath.yaml")
    await writeFile(file, `workers: [${one()}]\nport: 0\nadminPort: 0\nhost: 127.0.0.1\n`)
    const router = serve(["--config", file])
    const { admin, url } = await addresses(router)
    await expect.poll(() => states(admin), soon).toEqual({ [idOf(one())]: "ready" })
    await writeFile(
      file,
      `workers: [${one()}, ${two()}]\nmodelAliases: {nick: sim/qwen3}\nport: 0\nadminPort: 0\nhost: 127.0.0.1\n`
    )
    await expect.poll(() => states(admin), soon).toEqual({ [idOf(one())]: "ready", [idOf(two())]: "ready" })
    expect(await (await fetch(`${url}/v1/models`)).text()).toContain('"nick"')
    await writeFile(file, "workers: [not an address]\n")
    await router.says(/The old configuration stays in force/)
    expect(Object.keys(await states(admin))).toHaveLength(2)
    await writeFile(file, `workers: [${two()}]\nport: 0\nadminPort: 0\nhost: 127.0.0.1\n`)
    await expect.poll(() => states(admin), soon).toEqual({ [idOf(two())]: "ready" })
  })

  it("takes workers by the admin API, drains them without losing a stream, and forgets their blocks", async () => {
    const router = serve([...free, "--worker", one()])
    const { admin, url } = await addresses(router)
    await router.says(/tokenised here/)
    const added = await fetch(`${admin}/admin/workers`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ url: three() })
    })
    expect(added.status).toBe(201)
    await expect.poll(() => states(admin), soon).toMatchObject({ [idOf(three())]: "ready" })
    const streams = await Promise.all(
      Array.from({ length: 6 }, (_, i) =>
        fetch(`${url}/v1/chat/completions`, {
          method: "POST",
          body: JSON.stringify({
            model: "sim/qwen3",
            stream: true,
            max_tokens: 120,
            messages: [{ role: "user", content: `${i} ${"again and again ".repeat(20)}` }]
          })
        })
      )
    )
    const served = streams.map((stream) => stream.headers.get("x-warmpath-worker"))
    expect(new Set(served)).toEqual(new Set([idOf(one()), idOf(three())]))
    const gone = await fetch(`${admin}/admin/workers/${idOf(three())}?drain=true`, { method: "DELETE" })
    expect(gone.status).toBe(202)
    for (const stream of streams) expect(await stream.text()).toMatch(/data: \[DONE\]\n\n$/)
    await expect.poll(() => states(admin), soon).toEqual({ [idOf(one())]: "ready" })
    expect((await fetch(`${admin}/admin/blocks/${idOf(three())}`)).status).toBe(404)
    expect(await (await fetch(`${admin}/metrics`)).text()).toMatch(/warmpath_requests_total\{outcome="ok"\} 6/)
  })

  it("says what is wrong with a flag, a variable or a file, what it got, and what is allowed", async () => {
    const says = async (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}) => {
      const router = serve(args, env)
      const code = await router.ended
      return { code, text: router.output() }
    }
    const port = await says(["--port", "70000"])
    expect(port.code).toBe(1)
    expect(port.text).toMatch(/--port is 70000.*65535/s)
    expect((await says(["--worker", "10.0.0.4"])).text).toMatch(/10\.0\.0\.4.*http/s)
    expect((await says(["--worker", one()], { WARMPATH_POLICY: "fastest" })).text).toMatch(
      /WARMPATH_POLICY.*fastest.*eta/s
    )
    expect((await says(["--config", join(dir, "none.yaml")])).text).toMatch(/none\.yaml cannot be read/)
    expect((await says(["--wroker", one()])).text).toMatch(/--worker/)
  })

  it("says so when its port is taken", async () => {
    const first = serve([...free, "--worker", one()])
    const { url } = await addresses(first)
    const second = serve(["--host", "127.0.0.1", "--port", new URL(url).port, "--admin-port", "0", "--worker", one()])
    expect(await second.ended).toBe(1)
    expect(second.output()).toMatch(/cannot listen on 127\.0\.0\.1:\d+.*--port/s)
  })
})
