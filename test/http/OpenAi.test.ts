import { describe, expect, it } from "vitest"
import { endpointOf, parse } from "../../src/http/OpenAi.ts"
import { fromError } from "../../src/http/Problem.ts"

const chat = (body: unknown) => parse("chat", "r1", Buffer.from(typeof body === "string" ? body : JSON.stringify(body)))
const complete = (body: unknown) => parse("completions", "r1", Buffer.from(JSON.stringify(body)))
const messages = [{ role: "user", content: "hi" }]

const problemOf = (parsed: ReturnType<typeof parse>): { status: number; message: string; param: string | null } => {
  if (parsed.ok) throw new Error("expected an error")
  const problem = fromError(parsed.error)
  const { error } = JSON.parse(problem.body)
  return { status: problem.status, message: error.message, param: error.param }
}
const promptsOf = (parsed: ReturnType<typeof parse>) => {
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.error))
  return parsed.request.prompts
}

describe("OpenAi.parse", () => {
  it("knows the two generating endpoints and no other", () => {
    expect([endpointOf("/v1/chat/completions"), endpointOf("/v1/completions"), endpointOf("/v1/embeddings")]).toEqual([
      "chat",
      "completions",
      undefined
    ])
  })
  it("reads what routing needs of a chat request", () => {
    const parsed = chat({
      model: "m",
      messages,
      stream: true,
      cache_salt: "t1",
      max_completion_tokens: 9,
      max_tokens: 5
    })
    expect(parsed).toMatchObject({ ok: true, request: { model: "m", stream: true, salt: "t1", maxTokens: 9 } })
  })
  it("takes a prompt as text, texts, token ids or lists of token ids", () => {
    expect(promptsOf(complete({ model: "m", prompt: "a" })).map((p) => p._tag)).toEqual(["Text"])
    expect(promptsOf(complete({ model: "m", prompt: ["a", "b"] })).map((p) => p._tag)).toEqual(["Text", "Text"])
    expect(promptsOf(complete({ model: "m", prompt: [1, 2, 3] }))).toEqual([
      { _tag: "Tokens", ids: Uint32Array.of(1, 2, 3) }
    ])
    expect(promptsOf(complete({ model: "m", prompt: [[1], [2, 3]] })).map((p) => p._tag)).toEqual(["Tokens", "Tokens"])
  })
  it.each([
    ["{", 400, null, "not valid JSON"],
    ["", 400, null, "it is empty"],
    ["[]", 400, null, "it must be an object"],
    ['{"messages":[{"role":"user"}]}', 400, "model", '"model" is missing'],
    ['{"model":7,"messages":[]}', 400, "model", '"model" is 7'],
    ['{"model":"m","messages":[]}', 400, "messages", '"messages" is []'],
    ['{"model":"m","messages":["hi"]}', 400, "messages[0]", "an object with a role"],
    ['{"model":"m","messages":[{"role":"user"}],"stream":"yes"}', 400, "stream", "true or false"]
  ])("refuses %s and says what, the value and the fix", (body, status, param, message) => {
    const problem = problemOf(chat(body))
    expect(problem).toMatchObject({ status, param })
    expect(problem.message).toContain(message)
  })
  it("refuses prompts that are neither text nor token ids", () => {
    for (const prompt of [undefined, 5, [], [1, "a"], [1.5], [-1], [[]], {}]) {
      expect(problemOf(complete({ model: "m", prompt }))).toMatchObject({ status: 400, param: "prompt" })
    }
  })
})
