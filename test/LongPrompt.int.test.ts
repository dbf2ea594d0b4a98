import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { monitorEventLoopDelay, performance } from "node:perf_hooks"
import { afterEach, describe, expect, it } from "vitest"
import * as SimModel from "./support/SimModel.ts"
import * as TestRouter from "./support/TestRouter.ts"

/** Text no cache has seen: numbered words, each once. */
const novel = (bytes: number, from: number): string => {
  const words: Array<string> = []
  for (let i = from, length = 0; length < bytes; i++) {
    const word = ((i * 2_654_435_761) % 2 ** 40).toString(36)
    words.push(word)
    length += word.length + 1
  }
  return words.join(" ")
}

describe("a long prompt that was never seen", () => {
  let stop: Array<() => Promise<unknown>> = []
  afterEach(async () => {
    for (const close of stop.reverse()) await close()
    stop = []
  })

  it("is tokenised beside the event loop: others are answered meanwhile", async () => {
    // An engine that costs this process nothing; the tokenizer is the real one of Qwen3.
    const engine = createServer((request, response) => {
      request.resume()
      request.on("end", () => {
        response.setHeader("content-type", "application/json")
        if (request.url === "/v1/models") response.end('{"object":"list","data":[{"id":"m","root":"m","parent":null}]}')
        else if (request.method === "POST" && request.url !== "/tokenize") response.end('{"choices":[]}')
        else response.writeHead(404).end()
      })
    })
    engine.listen(0, "127.0.0.1")
    await once(engine, "listening")
    stop.push(async () => {
      engine.closeAllConnections()
      await new Promise((resolve) => engine.close(resolve))
    })
    const router = await TestRouter.start({
      workers: `http://127.0.0.1:${(engine.address() as AddressInfo).port}`,
      tokenizers: { m: SimModel.qwen3 }
    })
    stop.push(router.close)
    const bodyOf = (bytes: number, from: number) =>
      Buffer.from(JSON.stringify({ model: "m", prompt: novel(bytes, from), max_tokens: 1 }))
    const ask = async (body: Buffer<ArrayBuffer>) => {
      const startMs = performance.now()
      const response = await fetch(`${router.url}/v1/completions`, { method: "POST", body })
      await response.arrayBuffer()
      expect(response.status).toBe(200)
      return performance.now() - startMs
    }
    // The tokenizer is loaded and the code compiled before anything is measured.
    await ask(bodyOf(100_000, 0))
    const config = await (await fetch(`${router.adminUrl}/admin/config`)).text()
    expect(config).toContain("here, from")

    const long = bodyOf(4_000_000, 1_000_000)
    const delay = monitorEventLoopDelay({ resolution: 5 })
    delay.enable()
    let busy = true
    let longestMs = 0
    let answered = 0
    const others = (async () => {
      while (busy) {
        const startMs = performance.now()
        expect((await fetch(`${router.url}/health`)).status).toBe(200)
        if (!busy) break
        answered++
        longestMs = Math.max(longestMs, performance.now() - startMs)
      }
    })()
    const tookMs = await ask(long)
    busy = false
    await others
    delay.disable()
    // On the loop, the longest wait would be as long as the tokenisation itself. Ratios of one run, for machines differ.
    expect(answered).toBeGreaterThan(10)
    expect(longestMs).toBeLessThan(tookMs / 4)
    expect(delay.max / 1e6).toBeLessThan(tookMs / 4)
  }, 30_000)
})
