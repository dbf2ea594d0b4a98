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

  it("is the engine it is told to be, with its faults", async () => {
    const { said } = run(
      ...["--port", "0", "--dialect", "sglang", "--ranks", "2", "--host-blocks", "8", "--block-size", "32"],
      ...["--low-priority-first", "--no-report-cached", "--fault-replay", "absent", "--fault-flood", "3"]
    )
    const [url] = /http:\/\/127\.0\.0\.1:\d+(?= .*no replay)/.exec(await said("Ctrl-C"))!
    const info = (await (await fetch(`${url}/server_info`)).json()) as Record<string, unknown>
    expect(info).toMatchObject({
      page_size: 32,
      dp_size: 2,
      enable_hierarchical_cache: true,
      enable_cache_report: false,
      schedule_low_priority_values_first: true
    })
    await expect.poll(async () => ((await (await fetch(`${url}/sim/state`)).json()) as { seq: number }).seq).toBe(2 * 4)
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
    await expect(SimFleet.start({ ranks: 0 })).rejects.toThrow("ranks is 0")
    await expect(SimFleet.start({ hostBlocks: -1 })).rejects.toThrow("hostBlocks is -1; it must be at least 0.")
    await expect(SimFleet.start({ dialect: "trtllm", hostBlocks: 9 })).rejects.toThrow("must be 0 for trtllm")
    await expect(SimFleet.start({ models: [] })).rejects.toThrow("models is empty")
    await expect(SimFleet.start({ tokenizer: "/nowhere" })).rejects.toThrow("There is neither /nowhere/tokenizer")
  })
})
