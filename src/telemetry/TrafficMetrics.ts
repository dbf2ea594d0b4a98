/**
 * What each worker was sent, and what came of it: requests, time, and its cache as it was thought to be beside what it
 * delivered. A request that was tried at several workers counts at each of them.
 *
 * Series are made with a worker's first request, and taken out when it has left.
 */
import type { ReceiptOutcome } from "../domain/Receipt.ts"
import { counter, type Described, histogram } from "./Described.ts"
import type { Counter, Histogram, Registry } from "./Metrics.ts"

/** Looking through a fleet takes time: with each doubling, so that a worker's first request costs the same in any. */
const sweepAtLeast = 64
const bounds = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
const by = ["worker", "model"] as const
const tokens = (name: string, help: string) => counter(`warmpath_worker_${name}_tokens_total`, help, by)

const requests = counter(
  "warmpath_worker_requests_total",
  "Requests by the worker that had them and how they ended; worker_error also for one that was then tried elsewhere",
  [...by, "outcome"]
)
const regret = counter(
  "warmpath_worker_regret_tokens_total",
  "Prefill given away: by the choice (most held by any eligible worker, less that of the one chosen), by the picture (predicted, less delivered)",
  [...by, "cause"]
)
const counters = {
  prompt: tokens("prompt", "Prompt tokens of its requests"),
  best: tokens("best_cached", "The most that any eligible worker was thought to hold of them"),
  predicted: tokens("predicted_cached", "What it was thought to hold of them"),
  delivered: tokens("delivered_cached", "What its engine says it took from its cache"),
  predictedForDelivered: tokens("predicted_for_delivered", "What was predicted for the requests of which it says so"),
  unpredicted: tokens("unpredicted", "Delivered, though not predicted")
}
const durations = histogram(
  "warmpath_worker_request_duration_seconds",
  "From sent to the end of its answer",
  bounds,
  by
)
const ttfts = histogram("warmpath_worker_time_to_first_token_seconds", "From sent to its first token", bounds, by)

export const described: ReadonlyArray<Described> = [...[requests, durations, ttfts, ...Object.values(counters), regret]]

/** One request as its workers had it. Tokens are of its last try; null where unknown. */
export interface Ended {
  readonly model: string
  readonly promptTokens: number
  readonly trail: {
    readonly tries: ReadonlyArray<{
      readonly worker: string
      readonly heldTokens: number
      readonly bestTokens: number
      readonly sentMs: number
      readonly firstByteMs: number
      readonly endMs: number
    }>
  }
  readonly deliveredTokens: number | null
}

type Handles = Readonly<Record<keyof typeof counters, Counter>> & {
  readonly choice: Counter
  readonly picture: Counter
  readonly duration: Histogram
  readonly ttft: Histogram
  readonly requests: Partial<Record<ReceiptOutcome, Counter>>
}

export interface TrafficMetrics {
  /** `pictureTokens`: predicted less delivered, as its receipt has it. */
  readonly record: (ended: Ended, outcome: ReceiptOutcome, pictureTokens: number | null) => void
  /** Takes out the series of workers that left, and of models that are served no more. */
  readonly sweep: () => void
}

/** `isPresent`: whether a worker is listed; `served`: the models that are, by their canonical names. */
export const make = (
  registry: Registry,
  isPresent: (worker: string) => boolean,
  served: () => ReadonlySet<string>
): TrafficMetrics => {
  const workers = new Map<string, Map<string, Handles>>()
  /** Of a worker and a model; and how many there are when those that left are let go of, unless a scrape does it before. */
  let pairs = 0
  let sweepAt = sweepAtLeast

  const sweep = (): void => {
    const present = served()
    for (const [worker, models] of workers) {
      const stays = isPresent(worker)
      for (const [model, { requests, ...rest }] of models) {
        if (stays && present.has(model)) continue
        models.delete(model)
        pairs--
        for (const handle of [...Object.values(requests), ...Object.values(rest)]) handle.remove()
      }
      if (!stays) workers.delete(worker)
    }
  }

  const handlesOf = (worker: string, model: string): Handles => {
    let models = workers.get(worker)
    let handles = models?.get(model)
    if (handles === undefined) {
      // Also where nobody scrapes: what came and went must not pile up. Before the new one, whose worker may have left with
      // this request still out: the next sweep takes that out.
      if (pairs >= sweepAt) {
        sweep()
        sweepAt = Math.max(sweepAtLeast, 2 * pairs)
      }
      models = workers.get(worker)
      if (models === undefined) {
        models = new Map()
        workers.set(worker, models)
      }
      const labels = { worker, model }
      const made = Object.entries(counters).map(([key, each]) => [key, registry.counter(each, labels)])
      handles = {
        ...(Object.fromEntries(made) as Record<keyof typeof counters, Counter>),
        choice: registry.counter(regret, { ...labels, cause: "choice" }),
        picture: registry.counter(regret, { ...labels, cause: "picture" }),
        duration: registry.histogram(durations, labels),
        ttft: registry.histogram(ttfts, labels),
        requests: {}
      }
      models.set(model, handles)
      pairs++
    }
    return handles
  }

  return {
    record: ({ deliveredTokens, model, promptTokens, trail }, outcome, pictureTokens) => {
      const { tries } = trail
      for (const [at, { bestTokens, endMs, firstByteMs, heldTokens, sentMs, worker }] of tries.entries()) {
        const isLast = at === tries.length - 1
        const handles = handlesOf(worker, model)
        const how = isLast ? outcome : "worker_error"
        handles.requests[how] ??= registry.counter(requests, { worker, model, outcome: how })
        handles.requests[how].add(1)
        handles.duration.record(endMs - sentMs)
        handles.ttft.record(firstByteMs - sentMs)
        if (!isLast) continue
        handles.prompt.add(promptTokens)
        handles.best.add(bestTokens)
        handles.predicted.add(heldTokens)
        handles.choice.add(Math.max(0, bestTokens - heldTokens))
        if (deliveredTokens === null) continue
        handles.delivered.add(deliveredTokens)
        handles.predictedForDelivered.add(heldTokens)
        if (pictureTokens === null) continue
        if (pictureTokens > 0) handles.picture.add(pictureTokens)
        else handles.unpredicted.add(-pictureTokens)
      }
    },
    sweep
  }
}
