import OpenAI from "openai"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import type { Json } from "../../../loadtest/fleet/Model.ts"
import type { SimEngine } from "../../../loadtest/fleet/SimEngine.ts"
import * as SimFleet from "../../../loadtest/fleet/SimFleet.ts"
import { qwen3 } from "../../support/SimModel.ts"

const question = "Which of the routers keeps the longest prefix of a conversation warm, and why does that matter?"
const messages = [{ role: "user" as const, content: question }]

let fleet: SimFleet.SimFleet
let engine: SimEngine
let client: OpenAI

beforeAll(async () => {
  fleet = await SimFleet.start({
    tokenizer: qwen3,
    models: ["sim/qwen3", "alias"],
    loras: ["sql"],
    speed: 20,
    blocks: 512,
    outputTokens: 20
  })
  engine = fleet.engines[0]!
  client = new OpenAI({ baseURL: `${engine.url}/v1`, apiKey: "none", maxRetries: 0 })
})

afterAll(() => fleet.close())

const get = async (path: string): Promise<Response> => fetch(`${engine.url}${path}`)
const post = async (path: string, body: unknown): Promise<Response> =>
  fetch(`${engine.url}${path}`, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) })
const json = async (response: Promise<Response>): Promise<Json> => (await (await response).json()) as Json

/** The records of an event stream, parsed; the last is the text `[DONE]`. */
const records = async (response: Promise<Response>): Promise<ReadonlyArray<Json>> => {
  const text = await (await response).text()
  expect(text.endsWith("data: [DONE]\n\n")).toBe(true)
  return text
    .split("\n\n")
    .filter((record) => record !== "" && record !== "data: [DONE]")
    .map((record) => JSON.parse(record.slice("data: ".length)) as Json)
}

/** The value of a series, labels ignored. */
const metric = async (name: string, having = ""): Promise<number> => {
  const lines = (await (await get("/metrics")).text()).split("\n")
  const line = lines.find((candidate) => candidate.startsWith(`${name}{`) && candidate.includes(having))
  return Number(line?.split(" ").at(-1))
}

const idle = () => vi.waitFor(() => expect(engine.state()).toMatchObject({ running: 0, waiting: 0, freeBlocks: 512 }))

describe("SimEngine", () => {
  it("answers a chat whole, and serves the follow-up turn from its cache, answer included", async () => {
    const first = await client.chat.completions.create({ model: "sim/qwen3", messages, seed: 1 })
    const choice = first.choices[0]!
    expect(choice.message.role).toBe("assistant")
    expect(choice.finish_reason).toBe("stop")
    expect(first.model).toBe("sim/qwen3")
    expect(first.id).toMatch(/^chatcmpl-/)
    const used = first.usage!
    expect(used.total_tokens).toBe(used.prompt_tokens + used.completion_tokens)
    const next = [...messages, choice.message as { role: "assistant"; content: string }]
    const second = await client.chat.completions.create({
      model: "alias",
      messages: [...next, { role: "user", content: "And then? ".repeat(20) }]
    })
    // All but the last token of the answer was computed, and whole blocks of it are found.
    const computed = used.prompt_tokens + used.completion_tokens - 1
    expect(second.usage!.prompt_tokens_details!.cached_tokens).toBe(Math.floor(computed / 16) * 16)
    expect(second.model).toBe("sim/qwen3")
  })

  it("streams a chat: role first, then text a token at a time, the finish, and usage when asked", async () => {
    const whole = await client.chat.completions.create({ model: "sim/qwen3", messages, seed: 2 })
    const stream = await client.chat.completions.create({
      model: "sim/qwen3",
      messages,
      seed: 2,
      stream: true,
      stream_options: { include_usage: true }
    })
    const chunks = []
    for await (const chunk of stream) chunks.push(chunk)
    expect(chunks[0]!.choices[0]!.delta).toEqual({ role: "assistant", content: "" })
    const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")
    expect(text).toBe(whole.choices[0]!.message.content)
    const last = chunks.at(-1)!
    expect(last.choices).toEqual([])
    expect(last.usage).toMatchObject({
      prompt_tokens: whole.usage!.prompt_tokens,
      completion_tokens: whole.usage!.completion_tokens
    })
    expect(chunks.at(-2)!.choices[0]!.finish_reason).toBe("stop")
    expect(chunks.filter((chunk) => chunk.choices[0]?.finish_reason != null)).toHaveLength(1)
    expect(new Set(chunks.map((chunk) => chunk.id)).size).toBe(1)
    // Role, one chunk a token, usage.
    expect(chunks).toHaveLength(whole.usage!.completion_tokens + 2)
  })

  it("cuts an answer at max_tokens, sixteen for completions unless told otherwise", async () => {
    const chat = await client.chat.completions.create({ model: "sim/qwen3", messages, max_completion_tokens: 3 })
    expect(chat.choices[0]!.finish_reason).toBe("length")
    expect(chat.usage!.completion_tokens).toBe(3)
    const text = await json(post("/v1/completions", { model: "sim/qwen3", prompt: question, ignore_eos: true }))
    expect(text["usage"]).toMatchObject({ completion_tokens: 16 })
    expect(text["object"]).toBe("text_completion")
  })

  it("takes completions as text, as token ids, and as lists of either", async () => {
    const { tokens } = (await json(post("/tokenize", { model: "sim/qwen3", prompt: question }))) as { tokens: number[] }
    const ask = (prompt: unknown) =>
      client.completions.create({ model: "sim/qwen3", prompt: prompt as string, max_tokens: 5 })
    const [text, ids, texts, lists] = await Promise.all([
      ask(question),
      ask(tokens),
      ask([question, "Another one."]),
      ask([tokens, [1, 2, 3]])
    ])
    expect(ids.choices[0]!.text).toBe(text.choices[0]!.text)
    expect(texts.choices.map(({ index }) => index)).toEqual([0, 1])
    expect(texts.choices[0]!.text).toBe(text.choices[0]!.text)
    expect(lists.choices[0]!.text).toBe(text.choices[0]!.text)
    expect(lists.usage!.prompt_tokens).toBe(tokens.length + 3)
    const streamed = await records(
      post("/v1/completions", { prompt: [question, [1, 2, 3]], max_tokens: 4, stream: true })
    )
    const counts = [0, 1].map(
      (at) => streamed.filter((r) => (r["choices"] as [{ index: number }])[0].index === at).length
    )
    expect(counts).toEqual([4, 4])
  })

  it("streams several tokens a record where it is told to, the first one by itself", async () => {
    const slow = await SimFleet.start({ tokenizer: qwen3, speed: 20, blocks: 64, streamInterval: 4 })
    try {
      const asked = { prompt: question, max_tokens: 10, ignore_eos: true, stream: true, return_token_ids: true }
      const answer = fetch(`${slow.urls[0]}/v1/completions`, { method: "POST", body: JSON.stringify(asked) })
      const choices = (await records(answer)).map((record) => (record["choices"] as ReadonlyArray<Json>)[0]!)
      expect(choices.map((choice) => (choice["token_ids"] as ReadonlyArray<number>).length)).toEqual([1, 4, 4, 1])
      const whole = await json(
        fetch(`${slow.urls[0]}/v1/completions`, { method: "POST", body: JSON.stringify({ ...asked, stream: false }) })
      )
      const text = (whole["choices"] as ReadonlyArray<Json>)[0]!["text"]
      expect(choices.map((choice) => choice["text"]).join("")).toBe(text)
    } finally {
      await slow.close()
    }
  })

  it("lets running requests hold only a part of its cache, where it is told to", async () => {
    const small = await SimFleet.start({ tokenizer: qwen3, speed: 2, blocks: 64, runningBlocks: 8 })
    try {
      const ask = (from: number) =>
        fetch(`${small.urls[0]}/v1/completions`, {
          method: "POST",
          body: JSON.stringify({ prompt: Array.from({ length: 100 }, (_, i) => from + i), max_tokens: 20 })
        })
      const answers = Promise.all([ask(1_000), ask(2_000)])
      await vi.waitFor(() => expect(small.engines[0]!.state()).toMatchObject({ running: 1, waiting: 1 }))
      expect((await answers).map(({ status }) => status)).toEqual([200, 200])
      // Both are still held: the cache is larger than what may run.
      expect(small.engines[0]!.cache()).toHaveLength(14)
      expect((await ask(1_000)).status).toBe(200)
      const tooLong = { prompt: Array.from({ length: 8 * 16 }, () => 1), max_tokens: 1 }
      const refused = fetch(`${small.urls[0]}/v1/completions`, { method: "POST", body: JSON.stringify(tooLong) })
      expect((await refused).status).toBe(400)
      // What it says its size is goes with the usage it reports: running requests' part.
      const metrics = await (await fetch(`${small.urls[0]}/metrics`)).text()
      expect(metrics).toMatch(/num_gpu_blocks="8"/)
    } finally {
      await small.close()
    }
  })

  it("returns token ids and running usage when asked", async () => {
    const body = { messages, max_tokens: 4, return_token_ids: true, stream: true }
    const options = { include_usage: true, continuous_usage_stats: true }
    const chunks = await records(post("/v1/chat/completions", { ...body, stream_options: options }))
    const { tokens } = (await json(post("/tokenize", { messages }))) as { tokens: number[] }
    expect(chunks[0]!["prompt_token_ids"]).toEqual(tokens)
    const ids = chunks.flatMap((chunk) => (chunk["choices"] as Array<{ token_ids?: number[] }>)[0]?.token_ids ?? [])
    expect(ids).toHaveLength(4)
    expect(chunks[2]!["usage"]).toEqual({
      prompt_tokens: tokens.length,
      completion_tokens: 2,
      total_tokens: tokens.length + 2
    })
    const whole = await json(post("/v1/chat/completions", { ...body, stream: false }))
    expect(whole["prompt_token_ids"]).toEqual(tokens)
    expect((whole["choices"] as [{ token_ids: number[] }])[0].token_ids).toEqual(ids)
  })

  it("keeps salts, adapters and the base apart in its cache, and says so in its dump", async () => {
    const cached = async (extra: Json) => {
      const answer = await json(post("/v1/chat/completions", { model: "sim/qwen3", messages, max_tokens: 1, ...extra }))
      return (answer["usage"] as { prompt_tokens_details: { cached_tokens: number } }).prompt_tokens_details
        .cached_tokens
    }
    expect(await cached({ cache_salt: "tenant" })).toBe(0)
    expect(await cached({ cache_salt: "tenant" })).toBe(16)
    expect(await cached({ model: "sql" })).toBe(0)
    expect(await cached({ model: "sql" })).toBe(16)
    const dump = (await (await get("/sim/cache")).json()) as ReadonlyArray<{
      hash: string
      parentHash: string
      salt: string
      lora: string
    }>
    expect(dump.some(({ salt }) => salt === "tenant")).toBe(true)
    expect(dump.some(({ lora }) => lora === "sql")).toBe(true)
    const seen = new Set<string>()
    for (const { hash, parentHash } of dump) {
      if (parentHash !== null) expect(seen.has(parentHash)).toBe(true)
      seen.add(hash)
    }
    expect(seen.size).toBe(dump.length)
  })

  it("lists its names and adapters, and tells what it is", async () => {
    const { data } = await client.models.list()
    const cards = data as unknown as ReadonlyArray<Json>
    expect(cards.map(({ id, parent, max_model_len }) => [id, parent, max_model_len])).toEqual([
      ["sim/qwen3", null, 8192],
      ["alias", null, 8192],
      ["sql", "sim/qwen3", null]
    ])
    expect((await get("/health")).status).toBe(200)
    expect((await get("/ping")).status).toBe(200)
    expect(await json(get("/version"))).toEqual({ version: "0.26.0" })
    expect(await json(get("/load"))).toEqual({ server_load: 0 })
    expect(await json(get("/kv_event_sources"))).toEqual({
      "0": expect.objectContaining({
        publisher: "zmq",
        endpoint: engine.eventEndpoint,
        replay_endpoint: engine.replayEndpoint,
        topic: "kv-events"
      }) as unknown
    })
  })

  it("tokenises prompts and chats as it computes them, and back", async () => {
    const answer = await json(post("/tokenize", { model: "alias", prompt: "Hello world", return_token_strs: true }))
    expect(answer).toEqual({ count: 2, max_model_len: 8192, tokens: [9707, 1879], token_strs: ["Hello", "Ġworld"] })
    expect(await json(post("/detokenize", { tokens: [9707, 1879] }))).toEqual({ prompt: "Hello world" })
    const chat = await json(post("/tokenize", { messages }))
    const used = await client.chat.completions.create({ model: "sim/qwen3", messages, max_tokens: 1 })
    expect(chat["count"]).toBe(used.usage!.prompt_tokens)
    expect((await post("/tokenize", { model: "nobody", prompt: "a" })).status).toBe(404)
    expect((await post("/detokenize", { tokens: ["x"] })).status).toBe(400)
  })

  it("refuses with OpenAI-shaped errors: bad JSON, unknown model, too long, no messages, bad limits, unknown path", async () => {
    const error = async (path: string, body: unknown) => {
      const response = await post(path, body)
      const { error } = (await response.json()) as {
        error: { message: string; type: string; param: string; code: number }
      }
      expect(error.code).toBe(response.status)
      return { status: response.status, ...error }
    }
    const chat = "/v1/chat/completions"
    expect(await error(chat, "{oops")).toMatchObject({
      status: 400,
      message: expect.stringContaining("JSON") as unknown
    })
    expect(await error(chat, "[]")).toMatchObject({ status: 400 })
    expect(await error(chat, { model: "nobody", messages })).toMatchObject({
      status: 404,
      type: "NotFoundError",
      message: "The model `nobody` does not exist."
    })
    expect(await error(chat, { messages: [] })).toMatchObject({ status: 400, param: "messages" })
    expect(await error(chat, { messages, max_tokens: 0 })).toMatchObject({ status: 400, param: "max_tokens" })
    expect(await error(chat, { messages, cache_salt: "" })).toMatchObject({ status: 400, param: "cache_salt" })
    const long = expect.stringContaining("maximum context length is 8192") as unknown
    expect(await error(chat, { messages, max_tokens: 9000 })).toMatchObject({ status: 400, message: long })
    const prompt = new Array<number>(8192).fill(11)
    expect(await error("/v1/completions", { prompt, max_tokens: 1 })).toMatchObject({ status: 400, message: long })
    expect(await error("/v1/completions", { prompt: [[1], [9e9]] })).toMatchObject({ status: 400, param: "prompt" })
    expect(await error("/v1/completions", {})).toMatchObject({ status: 400, param: "prompt" })
    expect(await error("/v1/nothing", {})).toMatchObject({ status: 404 })
    expect((await get(chat)).status).toBe(405)
    const failed = client.chat.completions.create({ model: "nobody", messages })
    await expect(failed).rejects.toBeInstanceOf(OpenAI.NotFoundError)
  })

  it("lets a client that goes away abort its request, and frees its blocks", async () => {
    await idle()
    const before = engine.state().aborted
    const stream = await client.chat.completions.create({
      model: "sim/qwen3",
      messages,
      max_tokens: 8000,
      stream: true,
      ...{ ignore_eos: true }
    })
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break
    await idle()
    expect(engine.state().aborted).toBe(before + 1)
    const controller = new AbortController()
    const whole = client.chat.completions.create(
      { model: "sim/qwen3", messages, max_tokens: 8000, ...{ ignore_eos: true } },
      { signal: controller.signal }
    )
    const gone = expect(whole).rejects.toThrow()
    await vi.waitFor(() => expect(engine.state().running).toBe(1))
    expect(await json(get("/load"))).toEqual({ server_load: 1 })
    controller.abort()
    await gone
    await idle()
    expect(engine.state().aborted).toBe(before + 2)
    expect(await metric("vllm:request_success_total", 'finished_reason="abort"')).toBe(before + 2)
  })

  it("counts in vLLM's series what it did", async () => {
    await idle()
    const names = ["prompt_tokens", "generation_tokens", "prefix_cache_queries", "prefix_cache_hits"]
    const read = () => Promise.all(names.map((name) => metric(`vllm:${name}_total`)))
    const before = await read()
    const answer = await client.chat.completions.create({ model: "sim/qwen3", messages, max_tokens: 5 })
    const after = await read()
    const { prompt_tokens: prompt, completion_tokens: out, prompt_tokens_details: details } = answer.usage!
    expect(after.map((value, i) => value - before[i]!)).toEqual([prompt, out, prompt, details!.cached_tokens])
    expect(await metric("vllm:cache_config_info", 'num_gpu_blocks="512"')).toBe(1)
    expect(await metric("vllm:cache_config_info", 'block_size="16"')).toBe(1)
    expect(await metric("vllm:kv_cache_usage_perc")).toBe(0)
    expect(await metric("vllm:num_requests_running")).toBe(0)
    expect(await metric("vllm:time_to_first_token_seconds_count")).toBeGreaterThan(0)
    const start = /^process_start_time_seconds ([\d.]+)$/m.exec(await (await get("/metrics")).text())
    expect(Number(start![1])).toBeGreaterThan(1.7e9)
  })

  it("forgets its cache when told to, but not while a request holds blocks", async () => {
    const stream = await client.chat.completions.create({
      model: "sim/qwen3",
      messages,
      max_tokens: 8000,
      stream: true,
      ...{ ignore_eos: true }
    })
    for await (const chunk of stream) {
      if (!chunk.choices[0]?.delta.content) continue
      expect((await post("/reset_prefix_cache", "")).status).toBe(400)
      break
    }
    await idle()
    expect(engine.cache().length).toBeGreaterThan(0)
    expect((await post("/reset_prefix_cache", "")).status).toBe(200)
    expect(engine.cache()).toEqual([])
  })

  it("puts the client's request id into its own, and leaves unknown fields and ranks alone", async () => {
    const response = await fetch(`${engine.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "X-Request-Id": "mine", "X-data-parallel-rank": "0" },
      body: JSON.stringify({ messages, max_tokens: 1, n: 4, nonsense: { a: 1 } })
    })
    const answer = (await response.json()) as { id: string; choices: ReadonlyArray<unknown> }
    expect(answer.id).toBe("chatcmpl-mine")
    expect(answer.choices).toHaveLength(1)
  })
})
