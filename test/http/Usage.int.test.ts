/** Usage is read from every stream, and seen by nobody who did not ask for it: over raw sockets, and with a whole router. */
import * as fc from "fast-check"
import OpenAI from "openai"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as SimFleet from "../../loadtest/fleet/SimFleet.ts"
import * as Front from "../../src/http/Front.ts"
import * as Pool from "../../src/http/Pool.ts"
import { forward } from "../../src/http/Upstream.ts"
import { chunk, connectRaw, eventHead, head, managed, post, readAnswers, until } from "../support/DataPlane.ts"
import * as TestRouter from "../support/TestRouter.ts"
import * as RequestPath from "./RequestPath.ts"
import * as Streams from "./Streams.ts"

const { closers, worker } = managed()

/** The request path over one worker, on a port. */
const startPath = async (url: string, engine: string, deps: RequestPath.Options["deps"] = {}) => {
  const pool = Pool.make({ sweepMs: 20 })
  const path = RequestPath.setUp({ workers: [{ engine }], urls: [url], deps: { pool, forward, ...deps } })
  const front = await Front.listen(
    { host: "127.0.0.1", port: 0, sweepMs: 20 },
    { request: path.handle, refuse: (status) => String(status) }
  )
  closers.push(async () => {
    await front.close()
    pool.close()
  })
  return { ...path, port: front.port }
}

const asking = (streamOptions: string): string =>
  `{"model":"m","prompt":"x","stream":true${streamOptions === "" ? "" : `,"stream_options":${streamOptions}`}}`

/** The same request as a client of our own parser, of `node:http`, and of HTTP/1.0 sends it. */
const clients: Readonly<Record<string, (body: string) => string>> = {
  "in the strict language": post,
  "in chunks": (body) =>
    `${head("transfer-encoding: chunked").replace("/v1/a", "/v1/completions")}${chunk(body)}0\r\n\r\n`,
  "over HTTP/1.0": (body) => post(body).replace("HTTP/1.1", "HTTP/1.0")
}

const framings: Readonly<Record<string, (pieces: ReadonlyArray<Buffer>) => ReadonlyArray<Buffer | string>>> = {
  chunked: (pieces) => [
    eventHead,
    ...pieces.flatMap((piece) => [`${piece.length.toString(16)}\r\n`, piece, "\r\n"]),
    "0\r\n\r\n"
  ],
  close: (pieces) => ["HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", ...pieces],
  length: (pieces) => [
    `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: ${Buffer.concat([...pieces]).length}\r\n\r\n`,
    ...pieces
  ]
}

const answer = Streams.stream.chain((stream) =>
  fc
    .record({ framing: fc.constantFrom(...Object.keys(framings)), chunks: Streams.cuts(stream.whole.length) })
    .chain(({ chunks, framing }) => {
      const bytes = Buffer.concat(
        framings[framing]!(Streams.cut(stream.whole, chunks)).map((part) => Buffer.from(part as string))
      )
      return fc.array(fc.nat(bytes.length), { maxLength: 10 }).map((reads) => ({
        ...stream,
        framing,
        writes: Streams.cut(
          bytes,
          reads.sort((a, b) => a - b)
        )
      }))
    })
)

describe("A stream", () => {
  const playing = async () => {
    const next = { writes: [] as ReadonlyArray<Buffer>, end: false }
    const upstream = await worker(async (socket) => {
      for (const bytes of next.writes) {
        socket.write(bytes)
        await new Promise((resolve) => setImmediate(resolve))
      }
      if (next.end) socket.end()
    })
    const path = await startPath(upstream.url, "vllm")
    const get = async (request: string): Promise<string> => {
      const before = path.records.length
      const client = await connectRaw(path.port)
      client.send(request)
      // A 1.0 client knows the end of a stream by the end of its connection.
      const isWhole = () => !request.includes("HTTP/1.0") && readAnswers(client.received()).answers.length === 1
      await until(() => path.records.length > before && (client.isClosed() || isWhole()))
      const text = client.received()
      client.socket.destroy()
      return text
    }
    return { next, upstream, ...path, get }
  }

  it.each(Object.keys(clients))(
    "reaches a client that writes %s without the usage it did not ask for, whatever its cuts and its framing",
    async (how) => {
      const { get, next, records, upstream } = await playing()
      await fc.assert(
        fc.asyncProperty(answer, async ({ client, framing, writes }) => {
          Object.assign(next, { writes, end: framing === "close" })
          const { answers, rest } = readAnswers(await get(clients[how]!(asking(""))))
          expect([rest, answers.map(({ body, status }) => [status, body])]).toEqual([
            "",
            [[200, client.toString("latin1")]]
          ])
          expect(records.at(-1)).toMatchObject({ outcome: "complete", deliveredTokens: 32 })
        }),
        { seed: 3, numRuns: 60 }
      )
      expect(upstream.requests.every((request) => request.includes('{"stream_options":{"include_usage":true},'))).toBe(
        true
      )
    }
  )

  it("reaches a client that asked for usage as the engine sent it", async () => {
    const { get, next, records } = await playing()
    await fc.assert(
      fc.asyncProperty(answer, async ({ framing, whole, writes }) => {
        Object.assign(next, { writes, end: framing === "close" })
        const { answers } = readAnswers(await get(post(asking('{"include_usage":true}'))))
        expect(answers.map(({ body }) => body)).toEqual([whole.toString("latin1")])
        expect(records.at(-1)!.deliveredTokens).toBe(32)
      }),
      { seed: 4, numRuns: 40 }
    )
  })

  it("that breaks off ends with an error of its own, after the last record that came whole", async () => {
    const { get, next, records } = await playing()
    const delta = `data: ${JSON.stringify({ choices: [{ index: 0, text: "a" }] })}\n\n`
    const text = `${delta}${delta}data: ${JSON.stringify({ choices: [], usage: Streams.usage })}\n\ndata: [DONE]\n\n`
    for (let at = delta.length; at < text.length; at += 7) {
      Object.assign(next, { writes: [Buffer.from(`${eventHead}${chunk(text.slice(0, at))}`)], end: true })
      const { answers } = readAnswers(await get(post(asking(""))))
      const data = answers[0]!.body.split("\n\n").filter((record) => record !== "")
      expect(data.slice(0, -1).every((record) => `${record}\n\n` === delta)).toBe(true)
      expect(JSON.parse(data.at(-1)!.slice(6))).toMatchObject({ error: { code: "worker_failed" } })
      expect(records.at(-1)!.outcome).toBe("failed")
    }
  })
})

describe("A worker", () => {
  it("is told the rank that was chosen, in place of what the client said", async () => {
    const upstream = await worker((socket) => void socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"))
    const ranks: ReadonlyArray<readonly [number | null, ReadonlyArray<string>]> = [
      [3, ["3"]],
      [0, ["0"]],
      [null, ["7", "8"]]
    ]
    for (const [rank, seen] of ranks) {
      const { port, records } = await startPath(upstream.url, "vllm", { rankOf: () => rank })
      const client = await connectRaw(port)
      client.send(post('{"model":"m","prompt":"x"}', "X-Data-Parallel-Rank: 7", "x-data-parallel-RANK: 8"))
      await until(() => records.length === 1)
      client.socket.destroy()
      const lines = upstream.requests.at(-1)!.match(/^x-data-parallel-rank: .*$/gim) ?? []
      expect(lines.map((line) => line.replace(/.*: /, ""))).toEqual(seen)
    }
  })

  it("that answers flat errors is understood by the official client", async () => {
    const body = JSON.stringify({
      object: "error",
      message: "The input is longer than the model's context.",
      type: "BadRequestError",
      param: "messages",
      code: 400
    })
    const upstream = await worker(async (socket) => {
      const text = `HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
      for (const part of [text.slice(0, 100), text.slice(100)]) {
        socket.write(part)
        await new Promise((resolve) => setImmediate(resolve))
      }
    })
    const error = async (engine: string): Promise<unknown> => {
      const { port } = await startPath(upstream.url, engine)
      const client = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: "none", maxRetries: 0 })
      return client.completions.create({ model: "m", prompt: "x" }).catch((cause: unknown) => cause)
    }
    expect(await error("sglang")).toMatchObject({
      status: 400,
      type: "BadRequestError",
      param: "messages",
      error: { message: "The input is longer than the model's context.", code: 400 }
    })
    // An engine that is not known to do so is not touched.
    expect(await error("vllm")).toMatchObject({ status: 400, error: undefined })
  })
})

describe("The official OpenAI client, streaming without asking for usage", () => {
  const model = "sim/qwen3"
  const messages = [
    { role: "user" as const, content: "Tell me everything there is to know about long trains. ".repeat(12) }
  ]
  let fleet: SimFleet.SimFleet
  let router: TestRouter.TestRouter
  let client: OpenAI
  beforeAll(async () => {
    fleet = await SimFleet.start({ engines: 2, speed: 8 })
    router = await TestRouter.start({ workers: fleet.urls.join(",") })
    client = new OpenAI({ baseURL: `${router.url}/v1`, apiKey: "none", maxRetries: 0 })
  })
  afterAll(async () => {
    await router.close()
    await fleet.close()
  })

  const reported = async (): Promise<number> => {
    const text = await (await fetch(`${router.adminUrl}/metrics`)).text()
    return Number(/^warmpath_delivered_cached_tokens_total(?:\{.*\})? (\S+)$/m.exec(text)?.[1] ?? 0)
  }

  it("sees none, while the router reads it", async () => {
    const whole = await client.chat.completions.create({ model, messages, max_tokens: 8 })
    const before = await reported()
    const body = { model, messages, max_tokens: 8, stream: true as const }
    for (const options of [{}, { stream_options: { include_usage: false } }, { stream_options: null }]) {
      let text = ""
      for await (const each of await client.chat.completions.create({ ...body, ...options })) {
        expect([each.choices.length, each.usage ?? null]).toEqual([1, null])
        text += each.choices[0]?.delta.content ?? ""
      }
      expect(text).toBe(whole.choices[0]?.message.content)
    }
    let completed = ""
    for await (const each of await client.completions.create({
      model,
      prompt: "Trains",
      max_tokens: 8,
      stream: true
    })) {
      expect([each.choices.length, each.usage ?? null]).toEqual([1, null])
      completed += each.choices[0]!.text
    }
    expect(completed).not.toBe("")
    // All of the prompt but its last block was there each of the three times.
    const cached = Math.floor((whole.usage!.prompt_tokens - 1) / 16) * 16
    expect((await reported()) - before).toBe(3 * cached)
  })

  it("sees what it asked for, in the last record or in each", async () => {
    const usages = async (options: Record<string, boolean>) => {
      const seen: Array<boolean> = []
      const stream = await client.chat.completions.create({
        model,
        messages,
        max_tokens: 4,
        stream: true,
        stream_options: options
      })
      for await (const each of stream) seen.push(each.usage != null)
      return seen
    }
    const last = await usages({ include_usage: true })
    expect([last.at(-1), last.slice(0, -1).includes(true)]).toEqual([true, false])
    expect((await usages({ include_usage: true, continuous_usage_stats: true })).includes(false)).toBe(false)
  })
})
