/**
 * Mix: agent, RAG and chat traffic together, with a timetable.
 *
 * Half of the requests come from coding agents, three in ten are RAG questions, two in ten chat. The timetable says when
 * each request is due at the earliest; a session that waits for an answer is late by as much. So the offered traffic is
 * the same whatever serves it.
 */
import * as Agent from "./Agent.ts"
import * as Chat from "./Chat.ts"
import type { Corpus } from "./Corpus.ts"
import * as Rag from "./Rag.ts"
import * as Random from "./Random.ts"
import type { Session } from "./Workload.ts"

export interface Plan {
  readonly session: Session
  /** When each turn is due, in milliseconds from the start, ascending. One per turn. */
  readonly dueMs: ReadonlyArray<number>
}

export interface MixOptions {
  readonly corpus: Corpus
  readonly model: string
  readonly seed: number
  readonly requests: number
  readonly seconds: number
}

const agentTurns = 8
const subAgentTurns = 3
const chatTurns = 4
/**
 * A session starts near 5 000 tokens, adds about 850 a turn and ends near 11 000; 1 000 of them it shares. Real sessions
 * are ten times as long, with the same proportions: p50 of 100 000 tokens, 96 % of it seen before.
 */
const attached = 4
const attachedToSub = 1
const fileChars = [2_700, 3_700] as const
const ragDocuments = 16

/** `turns` due times from `start`, on average `gap` apart, each up to a third early or late. */
const times = (random: Random.Random, turns: number, startMs: number, gapMs: number): ReadonlyArray<number> =>
  Array.from({ length: turns }, (_, i) => startMs + i * gapMs + (i === 0 ? 0 : (random.next() - 0.5) * gapMs * 0.66))

/** Exactly `requests` requests. */
export const plan = (options: MixOptions): ReadonlyArray<Plan> => {
  const { corpus, model, requests, seed } = options
  const spanMs = options.seconds * 1_000
  const random = Random.make(seed, "mix")
  const rag = Math.round(requests * 0.3)
  const chat = Math.round(requests * 0.2)
  const plans: Array<Plan> = []

  for (let left = requests - rag - chat, i = 0; left > 0; i++) {
    const sub = i % 3 === 2 // Every third is a sub-agent of the session before it.
    const turns = Math.min(left, sub ? subAgentTurns : agentTurns)
    const product = (sub ? i - 1 : i) % Agent.productCount
    const id = `agent-${i}${sub ? "-sub" : ""}`
    const startMs = sub ? spanMs * (0.3 + 0.3 * random.next()) : spanMs * 0.3 * random.next()
    const gapMs = sub ? spanMs / 10 : (spanMs * 0.95 - startMs) / agentTurns
    plans.push({
      session: Agent.make({
        corpus,
        model,
        seed,
        id,
        product,
        turns,
        attached: sub ? attachedToSub : attached,
        fileChars,
        answerTokens: 32
      }),
      dueMs: times(random, turns, startMs, gapMs)
    })
    left -= turns
  }

  for (let left = chat, i = 0; left > 0; i++) {
    const turns = Math.min(left, chatTurns)
    plans.push({
      session: Chat.make({ corpus, model, seed, id: `chat-${i}`, turns, answerTokens: 40 }),
      dueMs: times(random, turns, spanMs * 0.6 * random.next(), spanMs / 12)
    })
    left -= turns
  }

  const questions = Rag.make({ corpus, model, seed, count: rag, documents: ragDocuments, answerTokens: 24 })
  for (const session of questions) plans.push({ session, dueMs: [spanMs * 0.95 * random.next()] })
  return plans
}

/**
 * Characters that agent sessions keep coming back to: what a cache must hold for every agent request to find its past.
 * The sessions are walked with empty answers, so this is a slight underestimate.
 */
export const agentWorkingSetChars = (options: MixOptions): number => {
  let chars = 0
  const shared = new Set<string>()
  for (const { session } of plan(options)) {
    if (session.label !== "agent") continue
    let last = session.next(null)
    for (let body = last; body !== null; body = session.next("")) last = body
    if (last === null) continue
    const [system, ...rest] = last.messages
    if (system !== undefined && !shared.has(system.content)) {
      shared.add(system.content)
      chars += system.content.length + JSON.stringify(last.tools ?? []).length
    }
    for (const message of rest) chars += message.content.length
  }
  return chars
}
