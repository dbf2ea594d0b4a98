/**
 * Where the time of requests goes: by model, under the names of OpenTelemetry's GenAI conventions as Prometheus spells them,
 * and by phase. Made from the record of a request that is over.
 *
 * Buckets are those of the conventions, extended upwards: prompts may be long, and so may answers.
 */
import type { ReceiptOutcome } from "../domain/Receipt.ts"
import { type Described, histogram } from "./Described.ts"
import type { Histogram, Registry } from "./Metrics.ts"

/** Of one request: ms of one clock; NaN where it never came so far. */
export interface Times {
  readonly receivedMs: number
  readonly hashMs: number
  readonly hashedMs: number
  readonly settledMs: number
  readonly tries: ReadonlyArray<{
    readonly matchMs: number
    readonly placeMs: number
    readonly bookMs: number
    readonly sentMs: number
    readonly firstByteMs: number
    readonly endMs: number
  }>
}

export interface Ended {
  readonly trail: Times
  readonly endpoint: "chat" | "completions"
  readonly model: string
  /** Answers asked for at once. */
  readonly choices: number
  readonly outputTokens: number | null
  readonly ttftMs: number | null
  readonly totalMs: number
}

export const phases = ["receive", "hash", "match", "place", "book", "forward", "settle"] as const

const durationBounds = [
  0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68
]
const ttftBounds = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80]
const tokenBounds = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5]
/** From the microseconds of a placement to the minutes of an answer. */
const phaseBounds = [
  ...[0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03],
  ...[0.1, 0.3, 1, 3, 10, 30, 100]
]

const ofModel = ["gen_ai_operation_name", "gen_ai_request_model"] as const
const names = {
  duration: histogram(
    "gen_ai_server_request_duration_seconds",
    "From the request read to its end; error_type only where it was no success",
    durationBounds,
    [...ofModel, "error_type"]
  ),
  ttft: histogram(
    "gen_ai_server_time_to_first_token_seconds",
    "From the request read to its first token, of streams",
    ttftBounds,
    ofModel
  ),
  perToken: histogram(
    "gen_ai_server_time_per_output_token_seconds",
    "Between two tokens after the first, mean of one stream",
    tokenBounds,
    ofModel
  ),
  phase: histogram("warmpath_phase_seconds", "Time of one request in each of its phases", phaseBounds, ["phase"])
}

export const described: ReadonlyArray<Described> = Object.values(names)

const operations = { chat: "chat", completions: "text_completion" }

/** One operation on one model. */
interface Handles {
  readonly ttft: Histogram
  readonly perToken: Histogram
  readonly durations: Partial<Record<ReceiptOutcome, Histogram>>
}

export interface RequestMetrics {
  readonly record: (ended: Ended, outcome: ReceiptOutcome) => void
  /** Takes out the series of models that are not served any more. */
  readonly sweep: () => void
}

/** `served`: the models that are, by their canonical names. */
export const make = (registry: Registry, served: () => ReadonlySet<string>): RequestMetrics => {
  const models = new Map<string, Partial<Record<Ended["endpoint"], Handles>>>()
  const [receive, hash, match, place, book, forward, settle] = phases.map((phase) =>
    registry.histogram(names.phase, { phase })
  ) as [Histogram, Histogram, Histogram, Histogram, Histogram, Histogram, Histogram]

  const labelsOf = (model: string, endpoint: Ended["endpoint"]) => ({
    ...{ gen_ai_operation_name: operations[endpoint], gen_ai_request_model: model }
  })

  const sweep = (): void => {
    const present = served()
    for (const [model, both] of models) {
      if (present.has(model)) continue
      models.delete(model)
      for (const { durations, perToken, ttft } of Object.values(both)) {
        for (const each of [ttft, perToken, ...Object.values(durations)]) each.remove()
      }
    }
  }

  const handlesOf = (model: string, endpoint: Ended["endpoint"]): Handles => {
    let both = models.get(model)
    if (both === undefined) {
      // Also where nobody scrapes: what came and went must not pile up.
      sweep()
      both = {}
      models.set(model, both)
    }
    const labels = labelsOf(model, endpoint)
    both[endpoint] ??= {
      ttft: registry.histogram(names.ttft, labels),
      perToken: registry.histogram(names.perToken, labels),
      durations: {}
    }
    return both[endpoint]
  }

  const recordPhases = ({ hashMs, hashedMs, receivedMs, settledMs, tries }: Times): void => {
    receive.record(hashMs - receivedMs)
    hash.record(hashedMs - hashMs)
    if (tries.length === 0) return
    let [matchMs, placeMs, bookMs, forwardMs] = [tries[0]!.matchMs - hashedMs, 0, 0, 0]
    for (const step of tries) {
      matchMs += step.placeMs - step.matchMs
      placeMs += step.bookMs - step.placeMs
      bookMs += step.sentMs - step.bookMs
      forwardMs += step.endMs - step.sentMs
    }
    match.record(matchMs)
    place.record(placeMs)
    book.record(bookMs)
    forward.record(forwardMs)
    settle.record(settledMs - tries.at(-1)!.endMs)
  }

  return {
    record: (ended, outcome) => {
      const { choices, endpoint, model, outputTokens, totalMs, trail, ttftMs } = ended
      const handles = handlesOf(model, endpoint)
      handles.durations[outcome] ??= registry.histogram(names.duration, {
        ...labelsOf(model, endpoint),
        error_type: outcome === "ok" ? "" : outcome
      })
      handles.durations[outcome].record(totalMs)
      recordPhases(trail)
      if (outcome !== "ok" || ttftMs === null) return
      handles.ttft.record(ttftMs)
      // Tokens of several answers at once say nothing about the pace of one.
      if (choices !== 1 || outputTokens === null || outputTokens < 2) return
      const last = trail.tries.at(-1)!
      handles.perToken.record((last.endMs - last.firstByteMs) / (outputTokens - 1))
    },
    sweep
  }
}
