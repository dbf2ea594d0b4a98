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
import * as Stats from "../client/Stats.ts"
import * as Corpus from "../workloads/Corpus.ts"
import * as Mix from "../workloads/Mix.ts"
import * as Fleet from "./Fleet.ts"
import type * as LiveTable from "./LiveTable.ts"
import * as NextSteps from "./NextSteps.ts"
import * as Report from "./Report.ts"
import type { Screen } from "./Screen.ts"
import * as Stage from "./Stage.ts"

export type { StartRouter } from "./Stage.ts"

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
  readonly startRouter: Stage.StartRouter
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

const names: Readonly<Record<Stage.Policy, string>> = { eta: "Warmpath", "round-robin": "Round robin" }

const ways: Readonly<Record<Stage.Policy, string>> = {
  eta: "each request goes where most of its prompt is already computed",
  "round-robin": "each request goes to the next worker"
}

interface RunOptions {
  readonly stage: Stage.Stage
  readonly policy: Stage.Policy
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

  const { signal, startFleet = Fleet.start, startRouter } = deps
  const onStage = <A>(policy: Stage.Policy, work: (stage: Stage.Stage) => Promise<A>) =>
    Stage.use({ fleet: fleetOptions, policy, startFleet, startRouter, signal }, work)
  const measure = (policy: Stage.Policy, afterSeconds: number) =>
    onStage(policy, (stage) =>
      runPlan({ stage, policy, plans: Mix.plan(mix(stage.model, seed)), seconds, afterSeconds }, deps)
    )
  const warmpath = await measure("eta", seconds + 2)
  const roundRobin = await measure("round-robin", 0)
  const report = { options, blocksPerEngine: blocks, cacheShare: share, warmpath, roundRobin }
  screen.print(Report.text(warmpath, roundRobin, screen.colors))
  deps.onReport?.(report)

  if (options.keep) {
    // Never returns: it ends by the signal.
    await onStage("eta", async (stage) => {
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
