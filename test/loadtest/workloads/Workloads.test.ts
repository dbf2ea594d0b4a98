import { assert, describe, it } from "@effect/vitest"
import * as Agent from "../../../loadtest/workloads/Agent.ts"
import * as Chat from "../../../loadtest/workloads/Chat.ts"
import * as Corpus from "../../../loadtest/workloads/Corpus.ts"
import * as Mix from "../../../loadtest/workloads/Mix.ts"
import * as Rag from "../../../loadtest/workloads/Rag.ts"
import * as Random from "../../../loadtest/workloads/Random.ts"
import type { ChatRequest, Session } from "../../../loadtest/workloads/Workload.ts"

const corpus = Corpus.load()

/** All requests of a session whose engine always answers alike. */
const walk = (session: Session, answer = "Done."): ReadonlyArray<ChatRequest> => {
  const bodies: Array<ChatRequest> = []
  for (let body = session.next(null); body !== null; body = session.next(answer)) bodies.push(body)
  return bodies
}

const agent = (over: Partial<Agent.AgentOptions> = {}) =>
  Agent.make({
    corpus,
    model: "m",
    seed: 7,
    id: "agent-0",
    product: 0,
    turns: 5,
    attached: 2,
    fileChars: [3_000, 4_000],
    answerTokens: 32,
    ...over
  })

const mix = (over: Partial<Mix.MixOptions> = {}) =>
  Mix.plan({ corpus, model: "m", seed: 1, requests: 120, seconds: 20, ...over })

/** Leading messages two requests have in common. */
const common = (a: ChatRequest, b: ChatRequest): number => {
  let n = 0
  while (n < a.messages.length && JSON.stringify(a.messages[n]) === JSON.stringify(b.messages[n])) n++
  return n
}

describe("Corpus", () => {
  it("finds real source code and prose among the installed dependencies", () => {
    assert.isAtLeast(corpus.code.length, 80)
    assert.isAtLeast(corpus.prose.length, 40)
    assert.isTrue(corpus.code.some(({ name, text }) => name === "effect/src/Queue.ts" && text.includes("export")))
  })
  it("holds no text twice and no file beyond its bound", () => {
    const texts = [...corpus.code, ...corpus.prose].map(({ text }) => text)
    assert.strictEqual(new Set(texts).size, texts.length)
    assert.isTrue(texts.every((text) => text.length <= 60_000))
  })
  it("cuts a text into pieces at ends of lines and loses nothing", () => {
    const { text } = corpus.prose[0]!
    const pieces = Corpus.pieces(text, 1_300)
    assert.strictEqual(pieces.join(""), text)
    assert.isTrue(pieces.every((piece) => piece.length > 0 && piece.length <= 1_300))
  })
  it("cuts a line that is longer than a piece", () => {
    assert.deepStrictEqual(Corpus.pieces("x".repeat(25), 10), ["x".repeat(10), "x".repeat(10), "x".repeat(5)])
  })
})

describe("Random", () => {
  it("repeats itself for one seed and name, and not for another", () => {
    const draws = (seed: number, name: string) => {
      const random = Random.make(seed, name)
      return Array.from({ length: 8 }, () => random.next())
    }
    assert.deepStrictEqual(draws(1, "a"), draws(1, "a"))
    assert.notDeepEqual(draws(1, "a"), draws(2, "a"))
    assert.notDeepEqual(draws(1, "a"), draws(1, "b"))
  })
  it("stays within the range it is asked for and reaches both ends", () => {
    const random = Random.make(3)
    const seen = new Set(Array.from({ length: 500 }, () => Random.between(random, 2, 5)))
    assert.deepStrictEqual([...seen].sort(), [2, 3, 4, 5])
  })
  it("draws low ranks most often under Zipf's law", () => {
    const rank = Random.zipf(Random.make(5), 20, 1.1)
    const counts = new Array<number>(20).fill(0)
    for (let i = 0; i < 4_000; i++) counts[rank()]!++
    assert.isAbove(counts[0]!, 3 * counts[5]!)
    assert.isAbove(counts[0]!, 8 * counts[19]!)
    assert.strictEqual(
      counts.reduce((a, b) => a + b),
      4_000
    )
  })
})

describe("Agent", () => {
  it("begins every turn with all messages of the turn before, then the engine's own answer and a tool result", () => {
    const session = agent()
    let last = session.next(null)!
    for (let turn = 1; turn < 5; turn++) {
      const body = session.next(`answer ${turn}`)!
      assert.deepStrictEqual(body.messages.slice(0, last.messages.length), last.messages)
      const [answer, result, ...more] = body.messages.slice(last.messages.length)
      assert.deepStrictEqual(more, [])
      assert(answer?.role === "assistant" && result?.role === "tool")
      assert.strictEqual(answer.content, `answer ${turn}`)
      assert.strictEqual(answer.tool_calls?.[0]?.id, result.tool_call_id)
      last = body
    }
    assert.isNull(session.next("more"))
  })
  it("returns the very lines of the file that its tool call names", () => {
    const [, second] = walk(agent())
    const [call, result] = second!.messages.slice(-2)
    assert(call?.role === "assistant" && result?.role === "tool")
    const args = JSON.parse(call.tool_calls![0]!.function.arguments) as { path: string; offset: number; limit: number }
    const document = corpus.code.find(({ name }) => name === args.path)!
    const lines = document.text.split("\n").slice(args.offset - 1, args.offset - 1 + args.limit)
    assert.isTrue(lines.join("\n").startsWith(result.content))
    assert.isAtLeast(result.content.length, 100)
  })
  it("shares system prompt and tools within a product, and neither task nor files", () => {
    const [a] = walk(agent({ id: "agent-0" }))
    const [b] = walk(agent({ id: "agent-1" }))
    assert.deepStrictEqual(a!.tools, b!.tools)
    assert.strictEqual(common(a!, b!), 1)
  })
  it("gives each product a system prompt of its own", () => {
    const prompts = Array.from({ length: Agent.productCount }, (_, product) => walk(agent({ product }))[0]!.messages[0])
    assert.strictEqual(new Set(prompts.map((prompt) => prompt!.content)).size, Agent.productCount)
  })
})

describe("Rag", () => {
  const sessions = Rag.make({ corpus, model: "m", seed: 1, count: 60, documents: 24, answerTokens: 24 })
  const bodies = sessions.flatMap((session) => walk(session))
  const user = (body: ChatRequest) => body.messages[1]!.content

  it("asks once per session", () => {
    assert.strictEqual(bodies.length, 60)
  })
  it("puts the passages of a document in one order, so that questions about it share a prefix", () => {
    const byFirst = Map.groupBy(bodies, (body) => user(body).split("\n\nPassage [2]")[0]!)
    const popular = [...byFirst.values()].sort((a, b) => b.length - a.length)[0]!
    assert.isAtLeast(popular.length, 5)
    const passages = popular.map((body) => user(body).split("\n\nQuestion: ")[0]!).sort((a, b) => a.length - b.length)
    for (const text of passages) assert.isTrue(passages.at(-1)!.startsWith(text))
  })
  it("asks about several documents", () => {
    assert.isAtLeast(new Set(bodies.map((body) => user(body).slice(0, 200))).size, 10)
  })
})

describe("Chat", () => {
  it("repeats the conversation so far and adds the answer and the next question", () => {
    const bodies = walk(Chat.make({ corpus, model: "m", seed: 1, id: "chat-0", turns: 4, answerTokens: 40 }))
    assert.strictEqual(bodies.length, 4)
    for (let i = 1; i < bodies.length; i++) {
      assert.strictEqual(common(bodies[i - 1]!, bodies[i]!), bodies[i - 1]!.messages.length)
      assert.strictEqual(bodies[i]!.messages.length, bodies[i - 1]!.messages.length + 2)
    }
  })
})

describe("Mix", () => {
  it("makes the same traffic from the same seed, byte for byte, and other traffic from another", () => {
    const all = (seed: number) =>
      JSON.stringify(mix({ seed }).map(({ dueMs, session }) => [session.id, dueMs, walk(session)]))
    assert.strictEqual(all(1), all(1))
    assert.notStrictEqual(all(1), all(2))
  })
  it("makes exactly as many requests as asked for, half of them from agents", () => {
    for (const requests of [1, 7, 40, 121, 240]) {
      const plans = mix({ requests })
      assert.strictEqual(plans.flatMap(({ session }) => walk(session)).length, requests)
      assert.strictEqual(
        plans.reduce((total, { dueMs }) => total + dueMs.length, 0),
        requests
      )
    }
    const agents = mix({ requests: 240 }).filter(({ session }) => session.label === "agent")
    assert.strictEqual(
      agents.reduce((total, { session }) => total + session.turns, 0),
      120
    )
  })
  it("gives sessions names of their own and due times that ascend within the span", () => {
    const plans = mix({ requests: 240, seconds: 10 })
    assert.strictEqual(new Set(plans.map(({ session }) => session.id)).size, plans.length)
    for (const { dueMs } of plans) {
      dueMs.forEach((due, i) => {
        assert.isAtLeast(due, i === 0 ? 0 : dueMs[i - 1]!)
        assert.isAtMost(due, 10_000)
      })
    }
  })
  it("counts a shared system prompt once in the agents' working set", () => {
    const options = { corpus, model: "m", seed: 1, requests: 120, seconds: 20 }
    const sent = Mix.plan(options)
      .filter(({ session }) => session.label === "agent")
      .flatMap(({ session }) => walk(session, ""))
    const all = sent.flatMap(({ messages }) => messages.map(({ content }) => content))
    const distinct = [...new Set(all)].reduce((total, content) => total + content.length, 0)
    const chars = Mix.agentWorkingSetChars(options)
    assert.isAtLeast(chars, distinct)
    assert.isAtMost(chars, distinct * 1.1)
  })
})
