/** Traces made up, seeded: where no recorded one is at hand. Small, and like the recorded ones in what matters. */
import * as Random from "../Random.ts"
import type { Arrivals, Request, Sessions } from "./Trace.ts"

/** A long tail: most are small, some are ten times the mean. */
const skewed = (random: () => number, mean: number): number =>
  Math.ceil((mean / 2) * -Math.log(1 - random()) * (0.5 + 3 * random()))

const range = (from: number, count: number): Array<number> => Array.from({ length: count }, (_, i) => from + i)

/**
 * Tools and chat: Poisson arrivals; half of the requests share one of two long system prompts and nothing else, the
 * others are turns of conversations that grow.
 */
export const arrivals = (seed: number, durationMs: number, perSecond: number): Arrivals => {
  const blockSize = 512
  const random = Random.make(seed)
  const requests: Array<Request & { readonly atMs: number }> = []
  const chats: Array<{ readonly session: number; readonly blocks: ReadonlyArray<number> }> = []
  let begun = 0
  let ids = 1_000
  for (let atMs = 0; atMs < durationMs; atMs += (-Math.log(1 - random()) / perSecond) * 1000) {
    let session: number
    let blocks: ReadonlyArray<number>
    if (random() < 0.5) {
      const system = random() < 0.7 ? range(0, 12) : range(100, 5)
      session = begun++
      blocks = [...system, ...range(ids, skewed(random, 6))]
    } else {
      const old =
        chats.length > 0 && random() < 0.7 ? chats.splice(Math.floor(random() ** 2 * chats.length), 1)[0]! : null
      session = old?.session ?? begun++
      blocks = [...(old?.blocks ?? [200]), ...range(ids, skewed(random, 6))]
      // It may come back, if it is not too long yet.
      if (blocks.length < 120) chats.unshift({ session, blocks })
      if (chats.length > 200) chats.pop()
    }
    ids += 1_000
    const promptTokens = blocks.length * blockSize + 1 + Math.floor(random() * (blockSize - 1))
    requests.push({ session, atMs, promptTokens, outputTokens: skewed(random, 180), blocks: Float64Array.from(blocks) })
  }
  return { kind: "arrivals", blockSize, durationMs, requests }
}

/** Coding agents: sessions that grow by some thousand tokens a turn to a hundred thousand and more, with short pauses. */
export const sessions = (seed: number, count: number, turnsMax: number): Sessions => {
  const blockSize = 256
  const random = Random.make(seed)
  const session = (): Sessions["sessions"][number] => {
    // One of five sets of tools, the same for all who use it.
    const tools = Math.floor(random() * 5)
    const blocks = range(0, 40).map((i) => -1 - (tools * 4096 + i))
    const turns = range(0, 2 + Math.floor(random() * turnsMax)).map((turn) => {
      blocks.push(...range(blocks.length, turn === 0 ? skewed(random, 60) : skewed(random, 8)))
      return {
        session: null,
        promptTokens: blocks.length * blockSize + 1 + Math.floor(random() * (blockSize - 1)),
        outputTokens: skewed(random, 400),
        thinkMs: skewed(random, 20_000),
        blocks: Float64Array.from(blocks)
      }
    })
    return [{ after: null, turns }]
  }
  return { kind: "sessions", blockSize, sessions: range(0, count).map(session) }
}
