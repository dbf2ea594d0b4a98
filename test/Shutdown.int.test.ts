import { afterEach, describe, expect, it } from "vitest"
import type { SimState } from "../loadtest/fleet/SimEngine.ts"
import * as Processes from "./support/Processes.ts"

const model = "sim/qwen3"

/** How one request ended for its client. */
interface Seen {
  readonly worker: string | null
  /** A whole answer, up to its last record. */
  readonly whole: boolean
  /** An error record, a cut stream, a status other than 200, or no connection. */
  readonly trouble: string | null
}

const stateOf = async (url: string) => (await (await fetch(`${url}/sim/state`)).json()) as SimState

describe("ending under load", () => {
  let running: Array<Processes.Running> = []
  afterEach(async () => {
    await Promise.all(running.map((each) => each.stop()))
    running = []
  })

  const spawn = (...args: ReadonlyArray<string>): Processes.Running => {
    const started = Processes.warmpath(args)
    running.push(started)
    return started
  }

  /** Engines in processes of their own, so that one can be killed as an engine would be. */
  const engines = (count: number) =>
    Promise.all(
      Array.from({ length: count }, async () => {
        const engine = spawn("sim-engine", "--port", "0", "--speed", "2")
        return { engine, url: (await engine.says(/(http:\/\/127\.0\.0\.1:\d+)/))[1]! }
      })
    )

  const route = async (urls: ReadonlyArray<string>) => {
    const router = spawn(
      "serve",
      "--host",
      "127.0.0.1",
      "--port",
      "0",
      "--admin-port",
      "0",
      ...urls.flatMap((url) => ["--worker", url])
    )
    const url = (await router.says(/at (http:\/\/127\.0\.0\.1:\d+)\/v1/))[1]!
    await router.says(/tokenised here/)
    for (const worker of urls) await router.says(new RegExp(`Worker "${new URL(worker).host}" is ready`))
    return { router, url }
  }

  const ask = async (url: string, i: number, maxTokens = 60): Promise<Seen> => {
    try {
      const response = await fetch(`${url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          model,
          messages: [{ role: "user", content: `Request ${i}: ${"tell me more, please. ".repeat(20)}` }],
          max_tokens: maxTokens,
          stream: true
        })
      })
      const worker = response.headers.get("x-warmpath-worker")
      if (response.status !== 200)
        return { worker, whole: false, trouble: `${response.status} ${await response.text()}` }
      const text = await response.text()
      const whole = text.endsWith("data: [DONE]\n\n")
      return { worker, whole, trouble: text.includes('"error"') ? "error record" : whole ? null : "cut" }
    } catch (cause) {
      return { worker: null, whole: false, trouble: String((cause as Error).cause ?? cause) }
    }
  }

  it("loses no request to SIGTERM: what was accepted is answered whole, and the process ends with 0", async () => {
    const [one, two] = await engines(2)
    const { router, url } = await route([one!.url, two!.url])
    const answers: Array<Promise<Seen>> = []
    for (let i = 0; i < 40; i++) answers.push(ask(url, i))
    const received = async () => {
      const states = await Promise.all([one!, two!].map(({ url }) => stateOf(url)))
      return states.reduce((sum, { received }) => sum + received, 0)
    }
    // Some wait in the router for their turn.
    await expect.poll(received, { timeout: 30_000 }).toBe(40)
    router.process.kill("SIGTERM")
    const seen = await Promise.all(answers)
    expect(seen.filter(({ whole }) => !whole)).toEqual([])
    expect(await router.ended).toBe(0)
    // A request that comes after is not taken and then lost: there is nobody to take it.
    expect((await ask(url, 99)).trouble).toMatch(/ECONNREFUSED/)
  })

  it("loses no request of clients that keep their connections and go on asking", async () => {
    const [one, two] = await engines(2)
    const { router, url } = await route([one!.url, two!.url])
    const seen: Array<Seen> = []
    /** Asks again and again over kept-alive connections, until nobody listens any more. */
    const client = async (i: number): Promise<string> => {
      for (let turn = 0; ; turn++) {
        const answer = await ask(url, i * 1000 + turn, 10)
        if (answer.trouble?.includes("ECONNREFUSED")) return answer.trouble
        seen.push(answer)
      }
    }
    const clients = Array.from({ length: 12 }, (_, i) => client(i))
    await expect.poll(() => seen.length, { timeout: 30_000 }).toBeGreaterThan(60)
    router.process.kill("SIGTERM")
    await Promise.all(clients)
    expect(seen.filter(({ whole }) => !whole)).toEqual([])
    expect(await router.ended).toBe(0)
  })

  it("fails only what a killed worker was streaming; everything else is answered by the others", async () => {
    const all = await engines(3)
    const { url } = await route(all.map((each) => each.url))
    const victim = new URL(all[0]!.url).host
    const answers: Array<Promise<Seen>> = []
    let begun = 0
    const send = () => answers.push(ask(url, begun++))
    for (let i = 0; i < 24; i++) send()
    // Some are being streamed: those that have not begun are tried elsewhere.
    const streaming = async () => {
      const { generatedTokens, running } = await stateOf(all[0]!.url)
      return running > 0 && generatedTokens >= 2 * running
    }
    await expect.poll(streaming, { interval: 5 }).toBe(true)
    all[0]!.engine.process.kill("SIGKILL")
    for (let i = 0; i < 24; i++) send()
    const seen = await Promise.all(answers)
    const failed = seen.filter(({ whole }) => !whole)
    expect(failed.length).toBeGreaterThan(0)
    // Each of them had begun on the victim, and was told.
    expect(failed.every(({ trouble, worker }) => worker === victim && trouble === "error record")).toBe(true)
    expect(seen.slice(24).every(({ whole }) => whole)).toBe(true)
  })
})
