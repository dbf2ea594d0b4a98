import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { afterEach, describe, expect, it } from "vitest"
import * as SimFleet from "../../../loadtest/fleet/SimFleet.ts"
import { qwen3 } from "../../support/SimModel.ts"

const script = fileURLToPath(new URL("../../support/SimEngineCli.ts", import.meta.url))
const children: Array<ChildProcess> = []

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL")
})

const run = (...args: ReadonlyArray<string>) => {
  const child = spawn(process.execPath, [script, "--tokenizer", qwen3, ...args], { stdio: ["ignore", "pipe", "pipe"] })
  children.push(child)
  let printed = ""
  const said = (text: string) =>
    new Promise<string>((resolve, reject) => {
      const look = () => {
        if (printed.includes(text)) resolve(printed)
      }
      for (const pipe of [child.stdout, child.stderr]) {
        pipe.on("data", (chunk: Buffer) => {
          printed += chunk.toString("utf8")
          look()
        })
      }
      child.once("exit", (code) => reject(new Error(`It ended with ${code} and said: ${printed}`)))
      look()
    })
  return { child, said }
}

describe("warmpath sim-engine", () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it(`prints what to try next, serves, and ends with status 0 on ${signal}`, async () => {
      const { child, said } = run("--engines", "2", "--port", "0", "--speed", "20", "--no-replay", "--model", "m")
      const printed = await said("Ctrl-C")
      const urls = printed.match(/http:\/\/127\.0\.0\.1:\d+(?= {3}events tcp:\/\/127\.0\.0\.1:\d+ {3}no replay)/g)!
      expect(urls).toHaveLength(2)
      expect(printed).toContain(`warmpath serve --worker ${urls[0]} --worker ${urls[1]}`)
      const body = JSON.stringify({ model: "m", prompt: "Hello", max_tokens: 2 })
      expect((await fetch(`${urls[1]}/v1/completions`, { method: "POST", body })).status).toBe(200)
      const exited = once(child, "exit")
      child.kill(signal)
      expect(await exited).toEqual([0, null])
    })
  }

  it("says which port is taken, and what to do", async () => {
    const fleet = await SimFleet.start({ tokenizer: qwen3 })
    try {
      const { said } = run("--port", new URL(fleet.urls[0]!).port)
      await said("give another --port")
    } finally {
      await fleet.close()
    }
  })

  it("ends with status 1 when told to crash the process", async () => {
    const { child, said } = run("--port", "0")
    const [url] = /http:\/\/127\.0\.0\.1:\d+/.exec(await said("Ctrl-C"))!
    const exited = once(child, "exit")
    await fetch(`${url}/sim/faults`, { method: "POST", body: '{"crash":{"exit":true}}' }).catch(() => undefined)
    expect(await exited).toEqual([1, null])
  })
})

describe("SimFleet", () => {
  it("refuses options that make no sense, with the value", async () => {
    await expect(SimFleet.start({ blocks: 0 })).rejects.toThrow("blocks is 0; it must be a whole number of at least 1.")
    await expect(SimFleet.start({ speed: Number.NaN })).rejects.toThrow("speed is NaN; it must be above 0.")
    await expect(SimFleet.start({ models: [] })).rejects.toThrow("models is empty")
    await expect(SimFleet.start({ tokenizer: "/nowhere" })).rejects.toThrow("There is neither /nowhere/tokenizer")
  })
})
