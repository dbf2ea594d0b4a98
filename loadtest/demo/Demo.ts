/**
 * Demo: a whole fleet on one machine, and what cache-aware routing does for it.
 *
 * The same traffic twice, over fresh engines each time: under Warmpath's policy, then round robin. Everything is real but
 * the GPU: text, tokens, HTTP, block caches and their events; the engines' arithmetic is a time model.
 *
 * Each engine's cache holds 30 % of what the agents keep coming back to (with fewer than four engines 1.2 times
 * its fair share, and then each is faster too): as in real fleets, all of it fits across the fleet and no engine can hold it alone.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { Agent } from "undici"
import * as Driver from "../client/Driver.ts"
import * as SseClient from "../client/SseClient.ts"
import * as Stats from "../client/Stats.ts"
import * as Corpus from "../workloads/Corpus.ts"
import * as Mix from "../workloads/Mix.ts"
import { request } from "../workloads/Workload.ts"
import * as Fleet from "./Fleet.ts"
import type * as LiveTable from "./LiveTable.ts"
import * as NextSteps from "./NextSteps.ts"
import * as Report from "./Report.ts"
import type { Screen } from "./Screen.ts"

/** A running router. The caller of `run` supplies it: this room knows no router. */
export interface RouterHandle {
  /** Where clients send requests, for example `http://127.0.0.1:40123`. */
  readonly url: string
  /** Where operators ask, or null when there is no such listener. */
  readonly adminUrl: string | null
  readonly close: () => Promise<void>
}

export type Policy = "eta" | "round-robin"

export interface RouterOptions {
  /** Base URLs of the workers. */
  readonly workers: ReadonlyArray<string>
  readonly policy: Policy
}

/** Starts a router on free ports of the loopback and resolves once it accepts requests and knows its workers. */
export type StartRouter = (options: RouterOptions) => Promise<RouterHandle>

export interface DemoOptions {
  readonly engines: number
  /** Requests sent under each policy. */
  readonly requests: number
  /** Seconds over which those requests are planned, under each policy. */
  readonly seconds: number
  readonly seed: number
  /** Stays up after the tables until the signal, with traffic running. */
  readonly keep: boolean
}

export interface Dependencies {
  readonly startRouter: StartRouter
  readonly screen: Screen
  readonly signal: AbortSignal
  /** Called with the figures as soon as they are there, before `keep` begins. */
  readonly onReport?: (report: DemoReport) => void
  /** Simulated engines in a child process, unless told otherwise. */
  readonly startFleet?: Fleet.StartFleet
}

export interface DemoReport {
  readonly options: DemoOptions
  readonly blocksPerEngine: number
  /** Part of the agents' working set that one engine's cache holds. */
  readonly cacheShare: number
  readonly warmpath: Report.Summary
  readonly roundRobin: Report.Summary
}

const blockSize = 16
/** A cache below this could not hold the longest prompt and the answers beside it. */
const blocksMin = 1_024
/** Source code and Markdown under the engines' tokenizer. */
const charsPerToken = 3.5
const thinkMs = 50
/** When a run is cut off, in seconds: with the defaults, two of them and all starting and stopping stay within 90. */
const cutSeconds = (seconds: number): number => Math.ceil(1.2 * seconds + 14)

/** Cache of each engine, in blocks, and the part of the agents' working set it holds. */
export const capacity = (options: Mix.MixOptions, engines: number): { blocks: number; share: number } => {
  const workingSet = Mix.agentWorkingSetChars(options) / charsPerToken / blockSize
  const blocks = Math.max(blocksMin, Math.ceil(workingSet * Math.max(0.3, 1.2 / engines)))
  return { blocks, share: blocks / workingSet }
}

const names: Readonly<Record<Policy, string>> = { eta: "Warmpath", "round-robin": "Round robin" }

const ways: Readonly<Record<Policy, string>> = {
  eta: "each request goes where most of its prompt is already computed",
  "round-robin": "each request goes to the next worker"
}

/** Name of the model the engines serve. */
const servedModel = async (url: string): Promise<string> => {
  const answer = (await (await fetch(`${url}/v1/models`)).json()) as { data?: ReadonlyArray<{ id: string }> }
  const model = answer.data?.[0]?.id
  if (model === undefined) throw new Error(`The engine at ${url} lists no model on /v1/models.`)
  return model
}

/** One short request through the router: compiles the code paths, and fails here if anything is wrong at all. */
const warmUp = async (url: string, model: string, dispatcher: Agent, signal: AbortSignal): Promise<void> => {
  const outcome = await SseClient.send(url, request(model, 1, [{ role: "user", content: "Are you there?" }]), {
    dispatcher,
    signal
  })
  if (!outcome.ok) throw new Error(`The router at ${url} did not answer a first request: ${outcome.error}.`)
}

interface Stage {
  readonly fleet: Fleet.FleetHandle
  readonly router: RouterHandle
  readonly model: string
  /** Blocks in each engine's cache. */
  readonly blocks: number
}

interface RunOptions {
  readonly stage: Stage
  readonly policy: Policy
  readonly plans: ReadonlyArray<Mix.Plan>
  readonly seconds: number
  /** Seconds of the demo that follow this run; null when there is no end. */
  readonly afterSeconds: number | null
}

/** Drives one plan and draws it. The summary counts only what happened in it. */
const runPlan = async (options: RunOptions, deps: Dependencies): Promise<Report.Summary> => {
  const { afterSeconds, plans, policy, seconds, stage } = options
  const dispatcher = new Agent()
  const read = () => Promise.all(stage.fleet.urls.map((url) => Fleet.state(url, dispatcher)))
  const workerNames = stage.fleet.urls.map((url, i) => `${i + 1}  ${new URL(url).host}`)
  const planned = Stats.sum(plans.map(({ dueMs }) => dueMs.length))
  const results: Array<Driver.Result> = []
  const ended = new AbortController()
  const cut = new AbortController()
  const cutTimer = setTimeout(() => {
    cut.abort(new Error(`cut off: the run took more than ${cutSeconds(seconds)} s`))
  }, cutSeconds(seconds) * 1_000)
  const start = performance.now()
  const elapsed = () => (performance.now() - start) / 1_000

  try {
    const before = await read()
    let now = before
    const since = (i: number) => ({
      requests: now[i]!.finished - before[i]!.finished,
      promptTokens: now[i]!.queriedTokens - before[i]!.queriedTokens,
      cachedTokens: now[i]!.cachedTokens - before[i]!.cachedTokens
    })

    const snapshot = (): LiveTable.Snapshot => {
      const { all, byLabel } = Report.summarise({ policy, seconds: 0, planned, results, workers: [] })
      return {
        name: names[policy],
        way: ways[policy],
        done: results.length,
        planned,
        failed: results.filter((result) => !result.ok).length,
        elapsedSeconds: elapsed(),
        leftSeconds: afterSeconds === null ? null : Math.max(1, seconds - elapsed()) + afterSeconds,
        hitRate: all.hitRate,
        agentHitRate: byLabel.agent.hitRate,
        ttftMsP50: all.ttftMs.p50,
        ttftMsP90: all.ttftMs.p90,
        workers: workerNames.map((worker, i) => {
          const { cachedTokens, promptTokens, requests } = since(i)
          return {
            worker,
            inFlight: now[i]!.running + now[i]!.waiting,
            requests,
            hitRate: Stats.ratio(cachedTokens, promptTokens),
            cacheUsed: now[i]!.cachedBlocks / stage.blocks
          }
        })
      }
    }

    const draw = async (): Promise<void> => {
      while (!ended.signal.aborted) {
        now = await read().catch(() => now) // A missed reading is an old frame, never a failed demo.
        deps.screen.frame(snapshot())
        await sleep(deps.screen.everyMs, undefined, { signal: ended.signal }).catch(() => {})
      }
    }
    const drawing = draw()

    await Driver.drive(plans, {
      url: stage.router.url,
      signal: AbortSignal.any([deps.signal, cut.signal]),
      thinkMs,
      onResult: (result) => void results.push(result)
    })
    ended.abort()
    await drawing
    deps.signal.throwIfAborted()
    const took = elapsed()
    now = await read()
    deps.screen.frame(snapshot())
    const workers = workerNames.map((worker, i) => ({ worker, ...since(i) }))
    return Report.summarise({ policy, seconds: took, planned, results, workers })
  } finally {
    clearTimeout(cutTimer)
    ended.abort()
    await dispatcher.destroy()
  }
}

/** What is being started, unless the signal comes first; then it is closed as soon as it is there, and not waited for. */
const unlessAborted = async <A extends { readonly close: () => Promise<void> }>(
  starting: Promise<A>,
  signal: AbortSignal
): Promise<A> => {
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => {
    starting.then((late) => late.close()).catch(() => {})
    aborted.reject(signal.reason)
  }
  signal.addEventListener("abort", onAbort, { once: true })
  try {
    return await Promise.race([starting, aborted.promise])
  } finally {
    signal.removeEventListener("abort", onAbort)
  }
}

/** Starts fresh engines and a router over them, lends them to `use`, and stops both, whatever happens. */
const onStage = async <A>(
  fleetOptions: Fleet.FleetOptions,
  policy: Policy,
  deps: Dependencies,
  use: (stage: Stage) => Promise<A>
): Promise<A> => {
  deps.signal.throwIfAborted()
  const fleet = await unlessAborted((deps.startFleet ?? Fleet.start)(fleetOptions), deps.signal)
  try {
    const model = await servedModel(fleet.urls[0]!)
    const router = await unlessAborted(deps.startRouter({ workers: fleet.urls, policy }), deps.signal)
    try {
      const dispatcher = new Agent()
      try {
        for (let i = 0; i < fleet.urls.length; i++) await warmUp(router.url, model, dispatcher, deps.signal)
      } finally {
        await dispatcher.destroy()
      }
      return await use({ fleet, router, model, blocks: fleetOptions.blocks })
    } finally {
      await router.close()
    }
  } finally {
    await fleet.close()
  }
}

/**
 * Rejects with the signal's reason when it fires. By then everything that ran has stopped; what was just starting stops as
 * soon as it has started.
 */
export const run = async (options: DemoOptions, deps: Dependencies): Promise<DemoReport> => {
  const { engines, requests, seconds, seed } = options
  const { screen } = deps
  const corpus = Corpus.load()
  const mix = (model: string, mixSeed: number) => ({ corpus, model, seed: mixSeed, requests, seconds })
  const { blocks, share } = capacity(mix("", seed), engines)
  const fleetOptions = { engines, blocks, blockSize, speed: Math.max(1, 4 / engines), seed }
  screen.print(
    `${engines} simulated engines with ${blocks} blocks of ${blockSize} tokens each: one cache holds ` +
      `${Math.round(share * 100)} % of what the coding agents come back to.\n` +
      `${requests} requests of agent, RAG and chat traffic from real text, seed ${seed}, over about ${seconds} s; ` +
      "then the same again, over fresh engines, under round robin.\n"
  )

  const measure = (policy: Policy, afterSeconds: number) =>
    onStage(fleetOptions, policy, deps, (stage) =>
      runPlan({ stage, policy, plans: Mix.plan(mix(stage.model, seed)), seconds, afterSeconds }, deps)
    )
  const warmpath = await measure("eta", seconds + 2)
  const roundRobin = await measure("round-robin", 0)
  const report = { options, blocksPerEngine: blocks, cacheShare: share, warmpath, roundRobin }
  screen.print(Report.text(warmpath, roundRobin, screen.colors))
  deps.onReport?.(report)

  if (options.keep) {
    // Never returns: it ends by the signal.
    await onStage(fleetOptions, "eta", deps, async (stage) => {
      const { fleet, model, router } = stage
      const addresses = { router: router.url, admin: router.adminUrl, engines: fleet.urls, model }
      screen.print(NextSteps.addresses(addresses, screen.colors))
      for (let again = seed + 1; ; again++) {
        const plans = Mix.plan(mix(model, again))
        await runPlan({ stage, policy: "eta", plans, seconds, afterSeconds: null }, deps)
      }
    })
  }
  screen.print(NextSteps.text(screen.colors))
  return report
}
