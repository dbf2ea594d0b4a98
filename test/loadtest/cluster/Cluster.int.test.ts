import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { type AddressInfo, createServer } from "node:net"
import { fileURLToPath } from "node:url"
import { afterEach, describe, expect, it } from "vitest"

const main = fileURLToPath(new URL("../../../loadtest/cluster/main.ts", import.meta.url))

let child: ChildProcess
afterEach(() => void child.kill("SIGKILL"))

const start = (...args: ReadonlyArray<string>) => {
  child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"] })
  let output = ""
  child.stdout!.on("data", (chunk: Buffer) => (output += chunk.toString()))
  child.stderr!.on("data", (chunk: Buffer) => (output += chunk.toString()))
  const ended = once(child, "close").then(([code]) => code as number | null)
  return { output: () => output, ended }
}

describe("npm run cluster", () => {
  it("is a deployment that answers at one address through both routers, and ends with Ctrl-C", {
    timeout: 90_000
  }, async () => {
    const { ended, output } = start("--port", "0", "--engines", "2")
    await expect.poll(output, { timeout: 60_000 }).toMatch(/ask +http/)
    const ask = /ask +(\S+)/.exec(output())![1]!
    for (let i = 0; i < 4; i++) {
      const answer = await fetch(ask, { headers: { connection: "close" } })
      expect(((await answer.json()) as { data: ReadonlyArray<{ id: string }> }).data[0]!.id).toBe("sim/qwen3")
    }
    const admins = [...output().matchAll(/admin (\S+admin\/cluster)/g)].map(([, url]) => url!)
    expect(admins).toHaveLength(2)
    const shown = (await (await fetch(admins[0]!)).json()) as { members: ReadonlyArray<{ id: string }> }
    expect(shown.members.map(({ id }) => id)).toEqual(["router-1", "router-2"])
    child.kill("SIGINT")
    expect(await ended).toBe(0)
  })

  it("says so when its port is taken", { timeout: 30_000 }, async () => {
    const taken = createServer().listen(0, "127.0.0.1")
    await once(taken, "listening")
    const { ended, output } = start("--port", String((taken.address() as AddressInfo).port))
    expect(await ended).toBe(1)
    expect(output()).toMatch(/cannot listen on port \d+: .*EADDRINUSE.*Choose another --port/)
    taken.close()
  })
})
