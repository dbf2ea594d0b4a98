/**
 * A trace, sent to whatever speaks OpenAI's API at an address: in real time, or `speed` times as fast over engines that
 * are as much faster.
 *
 * Arrivals are an open loop: each is sent when it is due, however late the answers before it are. Sessions wait for their
 * answers; one goes on after a failure as after an answer. Times in the result are the trace's: what was measured, times
 * `speed`. What the router thought was cached no client can see: `tooMany` and `tooFew` are 0.
 */
import { Agent } from "undici"
import * as SseClient from "../../client/SseClient.ts"
import { percentile } from "../../client/Stats.ts"
import { Figures, warmShare } from "../Figures.ts"
import type { Result } from "../Result.ts"
import * as Sessions from "../Sessions.ts"
import type { Request, Trace } from "../Trace.ts"
import { Pace } from "./Pace.ts"
import * as Prompt from "./Prompt.ts"

export interface Options {
  /** Where requests go, and the model they name. */
  readonly url: string
  readonly model: string
  /** As `x-warmpath-worker` names them, by slot. */
  readonly workers: ReadonlyArray<string>
  /** Named in the result. */
  readonly strategy: string
  readonly seed: number
  readonly speed: number
  /** Of the trace's time. Arrivals due later are left out; sessions end where they are. */
  readonly durationMs: number
  /** Sessions alive at once. */
  readonly live: number
  /** What a prompt of so many tokens takes to prefill on an idle engine with nothing cached. */
  readonly coldMs: (promptTokens: number) => number
  readonly onProgress?: (shareOfTime: number) => void
}

export interface Played {
  readonly result: Result
  /** What went wrong first, if anything did. */
  readonly problem: string | null
  /** How late requests were sent, in real ms: above a few, the sender was not keeping up. */
  readonly lateMsP99: number
}

/** Sends it all, and resolves once every answer is there. Sessions under way at the end are broken off. */
export const replay = async (trace: Trace, options: Options): Promise<Played> => {
  const { durationMs, speed, workers } = options
  const figures = new Figures(workers.length, durationMs)
  const promptOf = Prompt.make(trace.blockSize)
  const address = new URL("/v1/completions", options.url)
  const dispatcher = new Agent({ pipelining: 1, headersTimeout: 0, bodyTimeout: 0 })
  const end = new AbortController()
  const lateMs: Array<number> = []
  const open = new Set<Promise<void>>()
  let problem: string | null = null
  let finishedMs = 0
  let sent = 0

  const pace = new Pace(speed)
  const ask = async (request: Request, dueMs: number, done: (atMs: number) => void): Promise<void> => {
    const payload =
      `{"model":${JSON.stringify(options.model)},"max_tokens":${request.outputTokens},"ignore_eos":true,"stream":true,` +
      `"stream_options":{"include_usage":true},"prompt":[${promptOf(request, sent++)}]}`
    lateMs.push((pace.nowMs - dueMs) / speed)
    const { error, totalMs, ttftMs, usage, worker } = await SseClient.post(address, payload, {
      dispatcher,
      signal: end.signal
    })
    const slot = workers.indexOf(worker ?? "")
    if (end.signal.aborted) {
      figures.unfinished(slot, dueMs)
      return
    }
    if (error !== null || ttftMs === null || usage === null) {
      problem ??= error ?? "the answer had no token, or no usage"
      figures.failed(dueMs)
    } else {
      figures.answered({
        slot,
        // Which requests count must not depend on how late this machine was.
        atMs: dueMs,
        ttftMs: ttftMs * speed,
        e2eMs: totalMs * speed,
        promptTokens: usage.promptTokens,
        cachedTokens: usage.cachedTokens,
        predictedTokens: 0,
        coldMs: options.coldMs(usage.promptTokens)
      })
    }
    finishedMs = pace.nowMs
    done(finishedMs)
  }
  const send = (request: Request, dueMs: number, done: (atMs: number) => void): void => {
    const asked = ask(request, dueMs, done).finally(() => open.delete(asked))
    open.add(asked)
  }

  if (trace.kind === "arrivals") {
    for (const request of trace.requests) {
      if (request.atMs < durationMs) pace.add(request.atMs, (dueMs) => send(request, dueMs, () => {}))
    }
  } else Sessions.start(trace, pace, { ...options, meetWithinMs: durationMs * warmShare * 0.75 }, send)
  for (let share = 0; share < 1; share += 0.01) pace.add(share * durationMs, () => options.onProgress?.(share))
  await new Promise<void>((resolve) => pace.add(durationMs, () => resolve()))
  if (trace.kind === "sessions") {
    pace.end()
    end.abort()
    finishedMs = durationMs
  }
  await Promise.all(open)
  await dispatcher.destroy()
  return {
    result: figures.result(options.strategy, options.seed, finishedMs),
    problem,
    lateMsP99: percentile(lateMs, 0.99) ?? 0
  }
}
