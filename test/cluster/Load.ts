/**
 * Conversations in open loop over several routers in turn, as a balancer without health checks deals them: a router that
 * refuses the connection is passed over, and where none lives, one is waited for. Keeps what became of every request, and which router had it.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { Agent } from "undici"
import * as SseClient from "../../loadtest/client/SseClient.ts"
import * as Random from "../../loadtest/Random.ts"
import type { Message } from "../../loadtest/workloads/Workload.ts"
import * as Workload from "../../loadtest/workloads/Workload.ts"
import { model, type Replica } from "./Cluster.ts"

export interface Sent {
  readonly replica: Replica
  readonly startedMs: number
  /** When the router that had it was sent it, and from then to its first token; null when none came. */
  readonly sentMs: number
  readonly ttftMs: number | null
  readonly endedMs: number
  readonly error: string | null
  readonly promptTokens: number
  readonly cachedTokens: number
}

export interface Load {
  readonly sent: ReadonlyArray<Sent>
  /** No more requests; done when all are answered. */
  readonly stop: () => Promise<ReadonlyArray<Sent>>
}

export interface Options {
  readonly living: () => ReadonlyArray<Replica>
  readonly perSecond: number
  readonly seed: number
  /** Requests come so many at a time, of one conversation's branches, which share all but their ends. */
  readonly burst?: number
}

/** Conversations open at once, and messages after which one ends. */
const openMax = 24
const messagesMax = 11
const waitMs = 20

export const start = ({ burst = 1, living, perSecond, seed }: Options): Load => {
  const random = Random.make(seed)
  const below = (count: number): number => Math.floor(random() * count)
  const dispatcher = new Agent({ pipelining: 1, headersTimeout: 0, bodyTimeout: 0 })
  const systems = Array.from({ length: 6 }, (_, i) => `You are assistant ${i} of ${seed}. `.repeat(6 + 2 * i))
  const conversations: Array<Array<Message>> = []
  const sent: Array<Sent> = []
  const open = new Set<Promise<void>>()
  let count = 0
  let turn = 0

  const next = (): ReadonlyArray<Message> => {
    count++
    if (conversations.length < openMax) {
      conversations.push([{ role: "system", content: systems[below(systems.length)]! }])
    }
    const messages = conversations[below(conversations.length)]!
    messages.push({ role: "user", content: `Question ${count}: ${"and why? ".repeat(1 + below(25))}` })
    if (messages.length > messagesMax) conversations.splice(conversations.indexOf(messages), 1)
    return [...messages]
  }

  const oneOf = async (): Promise<Replica> => {
    while (living().length === 0) await sleep(waitMs)
    return living()[turn++ % living().length]!
  }

  const ask = async (messages: ReadonlyArray<Message>): Promise<void> => {
    const startedMs = performance.now()
    const body = Workload.request(model, 1 + below(30), messages)
    let replica = await oneOf()
    let sentMs = performance.now()
    let outcome = await SseClient.send(replica.url, body, { dispatcher })
    for (let tries = 0; tries < 4 && outcome.status === 0 && outcome.error?.includes("ECONNREFUSED"); tries++) {
      replica = await oneOf()
      sentMs = performance.now()
      outcome = await SseClient.send(replica.url, body, { dispatcher })
    }
    const { error, ok, status, ttftMs, usage } = outcome
    sent.push({
      replica,
      startedMs,
      sentMs,
      ttftMs,
      endedMs: performance.now(),
      error: ok ? null : `${status} ${error}`,
      promptTokens: usage?.promptTokens ?? 0,
      cachedTokens: usage?.cachedTokens ?? 0
    })
  }

  const timer = setInterval(
    () => {
      const messages = next()
      for (let i = 0; i < burst; i++) {
        const branch =
          i === 0 ? messages : [...messages.slice(0, -1), { role: "user" as const, content: `Branch ${count}.${i}` }]
        const asked = ask(branch).finally(() => open.delete(asked))
        open.add(asked)
      }
    },
    (1_000 * burst) / perSecond
  )
  return {
    sent,
    stop: async () => {
      clearInterval(timer)
      await Promise.all(open)
      await dispatcher.destroy()
      return sent
    }
  }
}

/** Failures that no kill explains: the router that had the request lived until after it ended. */
export const unexplained = (sent: ReadonlyArray<Sent>): ReadonlyArray<Sent> =>
  sent.filter(
    ({ endedMs, error, replica, startedMs }) =>
      error !== null && !(startedMs <= replica.killedMs && replica.killedMs <= endedMs + 50)
  )
