import { describe, expect, it } from "vitest"
import { WorkerAnswer } from "../../src/http/WorkerAnswer.ts"

type Head = Readonly<Record<string, string>>
const events = { "content-type": "text/event-stream; charset=utf-8" }
const json = { "content-type": "application/json" }

const begun = (engine: string, hidesUsage: boolean, status: number, head: Head) => {
  const answer = new WorkerAnswer(engine, hidesUsage)
  return { answer, verdict: answer.begin(status, (name) => head[name]) }
}

describe("A worker's answer", () => {
  it("is edited where something may have to change, and nowhere else", () => {
    const cases: ReadonlyArray<readonly [string, boolean, number, Head, "relay" | "edit"]> = [
      ["vllm", true, 200, events, "edit"],
      ["vllm", true, 200, { ...events, "content-encoding": "identity" }, "edit"],
      ["vllm", true, 200, { ...events, "content-encoding": "gzip" }, "relay"],
      ["vllm", false, 200, events, "relay"],
      ["vllm", true, 200, json, "relay"],
      ["vllm", true, 400, json, "relay"],
      ["sglang", true, 400, json, "edit"],
      ["sglang", false, 500, json, "edit"],
      ["sglang", false, 400, { ...json, "content-encoding": "br" }, "relay"],
      ["sglang", true, 400, events, "relay"],
      ["sglang", true, 302, {}, "relay"]
    ]
    for (const [engine, hidesUsage, status, head, verdict] of cases) {
      expect([engine, status, head, begun(engine, hidesUsage, status, head).verdict]).toEqual([
        engine,
        status,
        head,
        verdict
      ])
    }
  })

  it("that breaks off is told so in a record of its own, but inside a compressed one", () => {
    const wordsAfter = (text: string, head: Head): string | null => {
      const { answer } = begun("vllm", false, 200, head)
      answer.feed(Buffer.from(text))
      return answer.lastWords("w", "it closed")
    }
    expect(wordsAfter("data: {}\n\n", events)).toMatch(/^data: \{"error":\{"message":"Worker \\"w\\" broke off .*\n\n$/)
    expect(wordsAfter("data: {", events)).toMatch(/^\n\ndata: \{"error"/)
    expect(wordsAfter("data: {}\n\n", { ...events, "content-encoding": "gzip" })).toBe(null)
  })

  it("tells its tokens by its usage, else by its records, and an error or a compressed answer tells none", () => {
    const tokens = (head: Head, status: number, text: string): number | null => {
      const { answer } = begun("vllm", false, status, head)
      answer.feed(Buffer.from(text))
      answer.end()
      return answer.outputTokens
    }
    const usage = '{"choices":[],"usage":{"completion_tokens":9}}'
    expect([
      tokens(events, 200, "data: {}\n\ndata: {}\n\n"),
      tokens(events, 200, `data: {}\n\ndata: ${usage}\n\n`),
      tokens(json, 200, usage),
      tokens(json, 200, "{}"),
      tokens(json, 400, usage),
      tokens({ ...events, "content-encoding": "gzip" }, 200, "data: {}\n\n")
    ]).toEqual([2, 9, 9, null, null, null])
  })
})
