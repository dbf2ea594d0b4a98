import OpenAI, { APIError } from "openai"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import * as TestRouter from "./support/TestRouter.ts"

const model = "sim/qwen3"
const user = (content: string) => [{ role: "user" as const, content }]
const long = "Tell me, slowly and at length, everything there is to know about trains. ".repeat(8)

describe("the official OpenAI client", () => {
  let fleet: SimFleet.SimFleet
  let router: TestRouter.TestRouter
  let client: OpenAI
  beforeAll(async () => {
    fleet = await SimFleet.start({ engines: 2, speed: 4, loras: ["poet"] })
    router = await TestRouter.start({
      workers: fleet.urls.join(","),
      modelAliases: { "gpt-4o": model },
      bodyBytesMax: 100_000,
      probeIntervalMs: 50,
      breakerOpenMsMin: 50
    })
    client = new OpenAI({ baseURL: `${router.url}/v1`, apiKey: "none", maxRetries: 0 })
  })
  afterAll(async () => {
    await router.close()
    await fleet.close()
  })

  /** Both sides hold nothing: the router's ledger and the engines' schedulers. */
  const idle = async () => {
    const workers = await router.workers()
    return (
      workers.every(
        ({ inFlight, ranks: [rank] }) => inFlight === 0 && rank?.ledger?.queued === 0 && rank.ledger.active === 0
      ) && fleet.engines.every((engine) => engine.state().running === 0 && engine.state().waiting === 0)
    )
  }

  const failure = async (call: Promise<unknown>): Promise<APIError> => {
    const error = await call.then(
      () => undefined,
      (cause: unknown) => cause
    )
    expect(error).toBeInstanceOf(APIError)
    return error as APIError
  }

  it("chats, whole and streamed, with usage", async () => {
    const whole = await client.chat.completions.create({ model, messages: user(long), max_tokens: 12 })
    expect(whole.choices[0]?.message.content).not.toBe("")
    expect(whole.usage?.completion_tokens).toBe(12)
    const stream = await client.chat.completions.create({
      model,
      messages: user(long),
      max_tokens: 12,
      stream: true,
      stream_options: { include_usage: true }
    })
    let text = ""
    let usage: OpenAI.CompletionUsage | null | undefined
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? ""
      usage = chunk.usage ?? usage
    }
    expect(text).toBe(whole.choices[0]?.message.content)
    // The second time, the whole prompt but its last, partial block was there already.
    expect(usage?.prompt_tokens_details?.cached_tokens).toBe(Math.floor((usage!.prompt_tokens - 1) / 16) * 16)
  })

  it("completes texts, token ids, and several prompts at once, whole and streamed", async () => {
    const text = await client.completions.create({ model, prompt: long, max_tokens: 5 })
    expect(text.usage?.completion_tokens).toBe(5)
    const ids = await client.completions.create({ model, prompt: [9707, 11, 1879, 0], max_tokens: 5 })
    expect(ids.usage?.prompt_tokens).toBe(4)
    const both = await client.completions.create({
      model,
      prompt: ["Once upon a time", "In the beginning"],
      max_tokens: 5
    })
    expect(both.choices.map((choice) => choice.index)).toEqual([0, 1])
    const lists = await client.completions.create({ model, prompt: [[9707], [1879, 0]], max_tokens: 5 })
    expect(lists.choices).toHaveLength(2)
    let streamed = ""
    for await (const chunk of await client.completions.create({ model, prompt: long, max_tokens: 5, stream: true })) {
      streamed += chunk.choices[0]?.text ?? ""
    }
    expect(streamed).toBe(text.choices[0]?.text)
  })

  it("lists the models of the fleet with adapters and aliases, and reaches each by name", async () => {
    const names: Array<string> = []
    for await (const each of client.models.list()) names.push(each.id)
    expect(names.sort()).toEqual(["gpt-4o", "poet", model])
    expect((await client.models.retrieve("poet")).id).toBe("poet")
    for (const name of names) {
      const answer = await client.chat.completions.create({ model: name, messages: user("hello"), max_tokens: 2 })
      expect(answer.usage?.completion_tokens).toBe(2)
    }
  })

  it("keeps the caller's request id, or makes one", async () => {
    const body = { model, messages: user("hello"), max_tokens: 1 }
    const { response } = await client.chat.completions
      .create(body, { headers: { "x-request-id": "mine-1" } })
      .withResponse()
    expect(response.headers.get("x-request-id")).toBe("mine-1")
    const { request_id } = await client.chat.completions.create(body).withResponse()
    expect(request_id).toMatch(/^[0-9a-f-]{36}$/)
  })

  it("aborts in the middle of a stream, and both sides come back to nothing", async () => {
    for (let i = 0; i < 4; i++) {
      const stream = await client.chat.completions.create({
        model,
        messages: user(`${long} ${i}`),
        max_tokens: 5_000,
        stream: true
      })
      for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break
      stream.controller.abort()
    }
    await expect.poll(idle, { timeout: 5_000 }).toBe(true)
  })

  it("gets an error it understands for bad JSON", async () => {
    const response = await fetch(`${router.url}/v1/chat/completions`, { method: "POST", body: "{" })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { type: "invalid_request_error", code: "bad_json" } })
  })

  it("gets an error it understands for an unknown model", async () => {
    const error = await failure(client.chat.completions.create({ model: "nope", messages: user("hi") }))
    expect(error).toMatchObject({ status: 404, code: "model_not_found", param: "model" })
    expect(error.message).toContain(model)
  })

  it("gets an error it understands for a body over the limit", async () => {
    const error = await failure(client.chat.completions.create({ model, messages: user("x".repeat(200_000)) }))
    expect(error).toMatchObject({ status: 413, type: "invalid_request_error" })
  })

  it("gets the engine's own error, status and body", async () => {
    const error = await failure(client.chat.completions.create({ model, messages: user("hi"), max_tokens: 10_000_000 }))
    expect(error.status).toBe(400)
    expect(error.message).toContain("maximum context length")
    for (const engine of fleet.engines) engine.setFaults({ error: { next: 1, status: 500 } })
    const internal = await failure(client.chat.completions.create({ model, messages: user("hi"), max_tokens: 2 }))
    expect(internal).toMatchObject({ status: 500 })
    for (const engine of fleet.engines) engine.setFaults({ error: { next: 0 } })
  })

  it("is served by another worker when the first dies before its first byte", async () => {
    for (const engine of fleet.engines) engine.setFaults({ die: { next: 0, bytes: 0 } })
    fleet.engines[0]!.setFaults({ die: { next: 1, bytes: 0 } })
    fleet.engines[1]!.setFaults({ die: { next: 0 } })
    for (let i = 0; i < 4; i++) {
      const answer = await client.chat.completions.create({ model, messages: user(`hi ${i}`), max_tokens: 2 })
      expect(answer.usage?.completion_tokens).toBe(2)
    }
    expect(fleet.engines[0]!.faults.standing.die.next).toBe(0)
  })

  it("gets an error it understands when every worker dies before its first byte", async () => {
    for (const engine of fleet.engines) engine.setFaults({ die: { next: 2, bytes: 0 } })
    const error = await failure(client.chat.completions.create({ model, messages: user("hi"), max_tokens: 2 }))
    expect(error).toMatchObject({ status: 502, code: "worker_failed" })
    expect(error.message).toContain("safe to try again")
    for (const engine of fleet.engines) engine.setFaults({ die: { next: 0 } })
  })

  const streaming = async (onChunk: () => void): Promise<number> => {
    const stream = await client.chat.completions.create({ model, messages: user(long), max_tokens: 400, stream: true })
    let chunks = 0
    for await (const _ of stream) if (chunks++ === 5) onChunk()
    return chunks
  }

  it("gets an error it understands when a worker dies after its first byte", async () => {
    const error = await failure(
      streaming(() => {
        for (const engine of fleet.engines) engine.crash({ restartAfterMs: 10 })
      })
    )
    expect(error.message).toContain("broke off in the middle")
    await expect.poll(idle, { timeout: 5_000 }).toBe(true)
  })

  it("never takes a stream cut in the middle of a record for a whole one", async () => {
    for (const engine of fleet.engines) engine.setFaults({ die: { next: 1, bytes: 2_000 } })
    await expect(streaming(() => undefined)).rejects.toThrow()
    for (const engine of fleet.engines) engine.setFaults({ die: { next: 0 } })
  })

  it("gets an error it understands when no worker is there", async () => {
    for (const engine of fleet.engines) engine.crash()
    await expect.poll(async () => (await fetch(`${router.url}/ready`)).status, { timeout: 10_000 }).toBe(503)
    const error = await failure(client.chat.completions.create({ model, messages: user("hi"), max_tokens: 2 }))
    expect(error).toMatchObject({ status: 503, code: "no_worker" })
    await Promise.all(fleet.engines.map((engine) => engine.restart()))
    await expect
      .poll(async () => (await fetch(`${router.url}/ready`)).status, { timeout: 15_000, interval: 100 })
      .toBe(200)
    const answer = await client.chat.completions.create({ model, messages: user("hi"), max_tokens: 2 })
    expect(answer.usage?.completion_tokens).toBe(2)
  })
})
