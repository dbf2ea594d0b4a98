/**
 * Sessions with long prompts: each has a beginning that an engine holds, and every request of it goes on in another way.
 * Token ids, so that nothing is measured of tokenizers.
 */
import { Agent, request } from "undici"
import * as Random from "../Random.ts"
import { model } from "./Processes.ts"

/** Tokens per block, as simulated engines have it. */
const blockSize = 16
/** Of a session's beginning: eight pages of text. */
export const sessionBlocks = 256
/** What is new in a request. */
const newTokens = 64

export interface Answered {
  readonly sentMs: number
  readonly totalMs: number
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly error: string | null
}

interface Body {
  readonly usage: {
    readonly prompt_tokens: number
    readonly prompt_tokens_details: { readonly cached_tokens: number } | null
  }
}

const tokensOf = (seed: number, count: number): string => {
  const random = Random.make(seed)
  return Array.from({ length: count }, () => 1_000 + Math.floor(random() * 100_000)).join()
}

export interface Sessions {
  readonly count: number
  /** All beginnings, computed where they belong: one engine after the other. */
  readonly fill: (engines: ReadonlyArray<string>, progress: (done: number) => void) => Promise<void>
  /** Requests in open loop to a router, sessions at random, until it is stopped. */
  readonly play: (url: string, perSecond: number) => Play
  readonly close: () => Promise<void>
}

interface Play {
  readonly answered: ReadonlyArray<Answered>
  /** No more; done when all that were sent are answered. */
  readonly stop: () => Promise<ReadonlyArray<Answered>>
}

export const make = (count: number, seed: number): Sessions => {
  const dispatcher = new Agent({ pipelining: 1, headersTimeout: 0, bodyTimeout: 0, connections: 256 })
  const random = Random.make(seed)
  const beginningOf = (session: number) => tokensOf(Random.mix(seed, [0, session]), sessionBlocks * blockSize)
  let turns = 0

  const ask = async (url: string, prompt: string): Promise<Answered> => {
    const sentMs = performance.now()
    const answered = (promptTokens: number, cachedTokens: number, error: string | null): Answered => ({
      ...{ sentMs, promptTokens, cachedTokens, error },
      totalMs: performance.now() - sentMs
    })
    try {
      const { body, statusCode } = await request(`${url}/v1/completions`, {
        dispatcher,
        method: "POST",
        headers: { "content-type": "application/json" },
        body: `{"model":"${model}","max_tokens":1,"prompt":[${prompt}]}`
      })
      if (statusCode !== 200) return answered(0, 0, `${statusCode} ${await body.text()}`)
      const { usage } = (await body.json()) as Body
      return answered(usage.prompt_tokens, usage.prompt_tokens_details?.cached_tokens ?? 0, null)
    } catch (cause) {
      return answered(0, 0, String(cause))
    }
  }

  return {
    count,
    fill: async (engines, progress) => {
      let next = 0
      const fillOne = async (): Promise<void> => {
        while (next < count) {
          const session = next++
          const { error } = await ask(engines[session % engines.length]!, beginningOf(session))
          if (error !== null) throw new Error(`An engine could not be filled: ${error}`)
          progress(session)
        }
      }
      await Promise.all(Array.from({ length: 2 * engines.length }, fillOne))
    },
    play: (url, perSecond) => {
      const answered: Array<Answered> = []
      const open = new Set<Promise<void>>()
      const startedMs = performance.now()
      let sent = 0
      const send = (): void => {
        for (; sent < ((performance.now() - startedMs) / 1_000) * perSecond; sent++) {
          const session = Math.floor(random() * count)
          const prompt = `${beginningOf(session)},${tokensOf(Random.mix(seed, [1, turns++]), newTokens)}`
          const asked = ask(url, prompt).then((answer) => {
            answered.push(answer)
            open.delete(asked)
          })
          open.add(asked)
        }
      }
      const timer = setInterval(send, 2)
      return {
        answered,
        stop: async () => {
          clearInterval(timer)
          await Promise.all(open)
          return answered
        }
      }
    },
    close: () => dispatcher.destroy()
  }
}
