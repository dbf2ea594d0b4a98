/** Online: a trace against a router that runs somewhere, in real time. */
import * as TimeModel from "../fleet/TimeModel.ts"
import * as Live from "./live/Live.ts"
import * as Plan from "./Plan.ts"
import { profiles } from "./Profiles.ts"
import type { Result } from "./Result.ts"
import type * as Trace from "./Trace.ts"

export interface Options {
  readonly plan: Plan.Plan
  readonly trace: Trace.Trace
  readonly url: string
  /** Of the router's admin API, which names its workers; null: load by worker is not known. */
  readonly admin: string | null
  /** As the router serves it; null: the first it serves. */
  readonly model: string | null
  readonly speed: number
  readonly seeds: ReadonlyArray<number>
  readonly onProgress: (share: number) => void
}

export interface Played {
  readonly results: ReadonlyArray<Result>
  /** How late requests were sent, and what went wrong first, if anything did. */
  readonly notes: ReadonlyArray<string>
}

/** What its results are named. */
export const strategy = { name: "live", about: "the router at that address", kind: "ours" } as const

export const run = async (options: Options): Promise<Played> => {
  const { plan, seeds, speed, trace, url } = options
  const model = options.model ?? (await firstModel(url))
  const workers = options.admin === null ? [] : await workersOf(options.admin)
  const { rates, stepTokens } = profiles[plan.profile]
  const played: Array<Live.Played> = []
  for (const [i, seed] of seeds.entries()) {
    const staged = Plan.stage(plan, trace, seed)
    const one = await Live.replay(staged.trace, {
      ...{ url, model, workers, seed, speed, durationMs: staged.durationMs, live: staged.live },
      strategy: strategy.name,
      coldMs: (promptTokens) => TimeModel.coldMs(rates, stepTokens, promptTokens),
      onProgress: (share) => options.onProgress((i + share) / seeds.length)
    })
    played.push(one)
  }
  const lateMs = Math.max(...played.map(({ lateMsP99 }) => lateMsP99))
  const problem = played.find((each) => each.problem !== null)?.problem
  return {
    results: played.map(({ result }) => result),
    notes: [
      `99 % of the requests were sent at most ${lateMs.toFixed(0)} ms late.`,
      ...(problem == null ? [] : [`What failed first: ${problem}`])
    ]
  }
}

const json = async (base: string, path: string): Promise<unknown> => {
  const address = new URL(path, base)
  const response = await fetch(address).catch((error: Error) => {
    throw new Error(`Nothing answers at ${address}: ${(error.cause as Error | undefined)?.message ?? error.message}.`)
  })
  if (!response.ok) throw new Error(`${address} answered ${response.status}.`)
  return response.json()
}

const firstModel = async (url: string): Promise<string> => {
  const { data } = (await json(url, "/v1/models")) as { readonly data?: ReadonlyArray<{ readonly id: string }> }
  if (data?.[0] === undefined) throw new Error(`${url} serves no model. Name one by --model.`)
  return data[0].id
}

const workersOf = async (admin: string): Promise<ReadonlyArray<string>> => {
  const { workers } = (await json(admin, "/admin/workers")) as {
    readonly workers?: ReadonlyArray<{ readonly id: string }>
  }
  if (workers === undefined) throw new Error(`${admin} is not the admin address of a router: it lists no workers.`)
  return workers.map(({ id }) => id)
}
