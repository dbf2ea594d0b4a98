import { once } from "node:events"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach, assert, describe, it } from "@effect/vitest"
import { Agent } from "undici"
import * as SseClient from "../../../loadtest/client/SseClient.ts"
import { request } from "../../../loadtest/workloads/Workload.ts"

const running: Array<Server> = []
const dispatcher = new Agent()
afterEach(() => {
  for (const server of running.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

/** A worker that answers every request with `script`. */
const serve = async (script: (response: ServerResponse, body: string, request: IncomingMessage) => void) => {
  const server = createServer(async (request, response) => {
    const parts: Array<Buffer> = []
    for await (const part of request) parts.push(part as Buffer)
    script(response, Buffer.concat(parts).toString("utf8"), request)
  })
  running.push(server)
  await once(server.listen(0, "127.0.0.1"), "listening")
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const sse = { "content-type": "text/event-stream", "x-warmpath-worker": "w1" }
const record = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`
const delta = (content: string | null) => record({ choices: [{ index: 0, delta: { content } }] })
const usage = record({
  choices: [],
  usage: { prompt_tokens: 48, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 32 } }
})
const body = request("m", 8, [{ role: "user", content: "hello" }])

describe("SseClient", () => {
  it("reads answer, usage and worker of a stream", async () => {
    let seen = ""
    const url = await serve((response, sent) => {
      seen = sent
      response.writeHead(200, sse)
      response.end(`${delta("")}${delta("Hé")}${delta("llo")}${delta(null)}${usage}data: [DONE]\n\n`)
    })
    const outcome = await SseClient.send(url, body, { dispatcher })
    assert.deepInclude(outcome, { ok: true, status: 200, error: null, worker: "w1", text: "Héllo" })
    assert.deepStrictEqual(outcome.usage, { promptTokens: 48, cachedTokens: 32, completionTokens: 3 })
    assert.isNotNull(outcome.ttftMs)
    assert.isNotNull(outcome.itlMs)
    assert.isAtMost(outcome.ttftMs!, outcome.totalMs)
    assert.deepStrictEqual(JSON.parse(seen), body)
    assert.isTrue((JSON.parse(seen) as typeof body).stream_options.include_usage)
  })
  it("counts the first record with content as the first token, not the role before it", async () => {
    let first = 0
    let role = 0
    const url = await serve((response) => {
      response.writeHead(200, sse)
      response.write(record({ choices: [{ index: 0, delta: { role: "assistant", content: "" } }] }))
      role = performance.now()
      setTimeout(() => {
        first = performance.now()
        response.end(`: a comment\n\n${delta("x")}data: [DONE]\n\n`)
      }, 60)
    })
    const start = performance.now()
    const outcome = await SseClient.send(url, body, { dispatcher })
    assert.isAbove(outcome.ttftMs!, role - start)
    assert.isAtLeast(start + outcome.ttftMs!, first - 1)
    assert.isNull(outcome.itlMs)
    assert.isNull(outcome.usage)
  })
  it("puts records together that arrive byte by byte, with any line ending", async () => {
    const bytes = Buffer.from(`${delta("日本")}${usage}data: [DONE]\n\n`.replaceAll("\n", "\r\n"))
    const url = await serve((response) => {
      response.writeHead(200, sse)
      let at = 0
      const step = () => {
        if (at === bytes.length) return void response.end()
        response.write(bytes.subarray(at, ++at), () => setImmediate(step))
      }
      step()
    })
    const outcome = await SseClient.send(url, body, { dispatcher })
    assert.strictEqual(outcome.text, "日本")
    assert.strictEqual(outcome.usage?.cachedTokens, 32)
    assert.isTrue(outcome.ok)
  })
  it("says the status and the engine's own message when it is refused", async () => {
    const url = await serve((response) => {
      response.writeHead(503, { "content-type": "application/json" })
      response.end(JSON.stringify({ error: { message: "no worker", type: "overloaded" } }))
    })
    const outcome = await SseClient.send(url, body, { dispatcher })
    assert.deepInclude(outcome, { ok: false, status: 503, error: "HTTP 503: no worker", ttftMs: null, usage: null })
  })
  it("fails on an error inside the stream", async () => {
    const url = await serve((response) => {
      response.writeHead(200, sse)
      response.end(`${delta("x")}${record({ error: { message: "engine died" } })}data: [DONE]\n\n`)
    })
    assert.deepInclude(await SseClient.send(url, body, { dispatcher }), { ok: false, error: "engine died", text: "x" })
  })
  it("fails when the stream ends before its end", async () => {
    const url = await serve((response) => {
      response.writeHead(200, sse)
      response.end(delta("x"))
    })
    const outcome = await SseClient.send(url, body, { dispatcher })
    assert.isFalse(outcome.ok)
    assert.include(outcome.error!, "[DONE]")
  })
  it("fails when the connection is cut midway, and keeps what came", async () => {
    const url = await serve((response) => {
      response.writeHead(200, sse)
      response.write(delta("x"), () => setTimeout(() => response.destroy(), 20))
    })
    assert.deepInclude(await SseClient.send(url, body, { dispatcher }), { ok: false, status: 200, text: "x" })
  })
  it("fails when nobody listens", async () => {
    const server = createServer()
    await once(server.listen(0, "127.0.0.1"), "listening")
    const { port } = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    const outcome = await SseClient.send(`http://127.0.0.1:${port}`, body, { dispatcher })
    assert.deepInclude(outcome, { ok: false, status: 0 })
    assert.include(outcome.error!, "ECONNREFUSED")
  })
  it("lets go of the connection when it is aborted, and says why", async () => {
    const abort = new AbortController()
    const gone = Promise.withResolvers<void>()
    const url = await serve((response) => {
      response.on("close", gone.resolve)
      response.writeHead(200, sse)
      response.write(delta("x"), () => abort.abort(new Error("enough")))
    })
    const outcome = await SseClient.send(url, body, { dispatcher, signal: abort.signal })
    assert.deepInclude(outcome, { ok: false, error: "enough" })
    await gone.promise
  })
})
