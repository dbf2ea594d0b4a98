/** Offline: strategies under seeds, in virtual time, on as many cores as there are. The same results whatever their number. */
import { availableParallelism } from "node:os"
import { Worker } from "node:worker_threads"
import type { Plan, Setting } from "./Plan.ts"
import type { Routers } from "./Replicas.ts"
import type { Result } from "./Result.ts"
import { ours } from "./Strategies.ts"
import type { Asked, Said } from "./Thread.ts"

export interface Options {
  readonly plan: Plan
  /** By name. */
  readonly strategies: ReadonlyArray<string>
  readonly seeds: ReadonlyArray<number>
  /** Of ours; null: one. */
  readonly routers: Routers | null
  /** File for what our router decides under the first seed; null: it is not written. */
  readonly decisions: string | null
  readonly signal: AbortSignal
  readonly onProgress: (share: number) => void
}

/** By strategy, then by seed, in the order given. */
export const run = async (options: Options): Promise<ReadonlyArray<Result>> => {
  const { onProgress, plan, routers, seeds, signal, strategies } = options
  const asked = strategies.flatMap((strategy) =>
    seeds.map((seed) => {
      const first = strategy === ours.name && seed === seeds[0]
      return { strategy, seed, decisions: first ? options.decisions : null }
    })
  )
  const said = await all(
    plan,
    asked.map((each, at): Asked => ({ _tag: "Run", at, plan, routers, ...each })),
    signal,
    onProgress
  )
  return said.map((each) => {
    if (each._tag !== "Ran") throw new Error(`A thread was asked for a result, and said ${each._tag}.`)
    return each.result
  })
}

/** Copies of a trace of arrivals at which the fleet is at so much of what it could serve at most. */
export const copiesAt = async (setting: Setting, share: number, signal: AbortSignal): Promise<number> => {
  const [said] = await all(setting, [{ _tag: "Saturate", at: 0, setting, share }], signal, () => {})
  if (said?._tag !== "Saturated") throw new Error(`A thread was asked for copies, and said ${said?._tag}.`)
  return said.copies
}

const file = new URL(import.meta.url.endsWith(".ts") ? "./Thread.ts" : "./Thread.js", import.meta.url)

/** Answers in the order of what was asked. Rejects with the first failure, and when the signal fires; then none runs on. */
const all = async (
  setting: Setting,
  asked: ReadonlyArray<Asked>,
  signal: AbortSignal,
  onProgress: (share: number) => void
): Promise<ReadonlyArray<Said>> => {
  const answers: Array<Said> = []
  const shares = new Float64Array(asked.length)
  const waiting = [...asked]
  const threads = Array.from(
    { length: Math.min(asked.length, availableParallelism()) },
    () => new Worker(file, { workerData: setting, name: "warmpath-replay" })
  )
  try {
    await Promise.race([
      new Promise<never>((_, reject) => {
        const stop = () => reject(new Error("interrupted"))
        if (signal.aborted) stop()
        signal.addEventListener("abort", stop, { once: true })
      }),
      Promise.all(
        threads.map(
          (thread) =>
            new Promise<void>((resolve, reject) => {
              const next = () => {
                const each = waiting.shift()
                if (each === undefined) resolve()
                else thread.postMessage(each)
              }
              thread.on("error", reject)
              thread.on("message", (said: Said) => {
                if (said._tag === "Failed") return reject(new Error(said.message))
                shares[said.at] = said._tag === "Share" ? said.share : 1
                onProgress(shares.reduce((sum, share) => sum + share, 0) / asked.length)
                if (said._tag === "Share") return
                answers[said.at] = said
                next()
              })
              next()
            })
        )
      )
    ])
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()))
  }
  return answers
}
