/** Results of a replay that nobody ran: requests drawn with a seed, summed up as a replay sums them up. */
import * as Random from "../../loadtest/Random.ts"
import { Figures } from "../../loadtest/replay/Figures.ts"
import type { Result } from "../../loadtest/replay/Result.ts"
import type { Document } from "../../loadtest/replay/report/Json.ts"

export interface Made {
  readonly strategy: string
  readonly kind: "ours" | "rival" | "bound"
  /** Of TTFT. */
  readonly medianMs: number
  readonly hitRate: number
  /** TTFT at the end over that at the beginning. */
  readonly grows?: number
  /** Workers that get the requests; all, if left out. */
  readonly busy?: number
}

const durationMs = 3_600_000

export const result = (made: Made, seed: number, workers = 4, requests = 2_000): Result => {
  const { busy = workers, grows = 1, hitRate, medianMs, strategy } = made
  const random = Random.make(Random.mix(seed, [strategy.length, medianMs]))
  const figures = new Figures(workers, durationMs)
  for (let i = 0; i < requests; i++) {
    const share = i / requests
    // The sum of three draws is about normal.
    const normal = (random() + random() + random() - 1.5) * 2
    const burst = 1 + 2 * Math.exp(-(((share - 0.6) * 30) ** 2))
    const ttftMs = medianMs * Math.exp(1.1 * normal) * grows ** share * burst
    figures.answered({
      slot: Math.floor(random() ** 1.1 * busy),
      atMs: share * durationMs,
      ttftMs,
      e2eMs: ttftMs + 10_000 + 20_000 * random(),
      promptTokens: 8_192,
      cachedTokens: Math.round(8_192 * Math.min(1, hitRate * 2 * random() * Math.min(1, share * 6 + 0.2))),
      predictedTokens: 4_096,
      coldMs: 500
    })
  }
  return figures.result(strategy, seed, durationMs)
}

export const document = (
  made: ReadonlyArray<Made>,
  seeds: ReadonlyArray<number> = [1],
  workers = 4,
  requests = 2_000
): Document => ({
  kind: "warmpath replay",
  version: 1,
  trace: "made_up",
  how: "offline",
  fleet: { workers, profile: "llama70", blockSize: 512, capacityTokens: 1_689_600 },
  load: "U 0.8 (11.2 copies), 1 h",
  seeds,
  strategies: made.map(({ kind, strategy }) => ({ name: strategy, kind, about: `what ${strategy} does` })),
  results: made.flatMap((each) => seeds.map((seed) => result(each, seed, workers, requests)))
})
