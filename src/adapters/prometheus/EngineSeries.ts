/**
 * An engine's own series in a scrape. Each is spelled `engine:name`, or `engine_name` where a registry allows no colon
 * (Ray, some builds); and only those a router uses are read: a scrape has a thousand lines of histograms besides.
 *
 * What is missing is null, never zero: an engine whose statistics are off answers 200 with nothing in it.
 */
import type { Answer } from "../http/HttpJson.ts"
import * as PrometheusText from "./PrometheusText.ts"

export interface EngineSeries {
  /** Finite samples of the first of these names that has any: new names go before old ones. */
  readonly named: (...names: ReadonlyArray<string>) => ReadonlyArray<PrometheusText.Sample>
  /** Start of the engine's process, ms since the epoch; null in the multi-process mode, where the client library omits it. */
  readonly startedAtMs: number | null
}

const startName = "process_start_time_seconds"

export const read = (answer: Answer, engine: string, names: ReadonlyArray<string>): EngineSeries => {
  const kept = new Set([startName, ...names.flatMap((name) => [`${engine}:${name}`, `${engine}_${name}`])])
  const samples = answer.status === 200 ? PrometheusText.parse(answer.text, (name) => kept.has(name)).samples : []
  const seconds = samples.find((sample) => sample.name === startName)?.value
  return {
    named: (...wanted) => {
      for (const name of wanted) {
        const found = samples.filter(
          (sample) =>
            (sample.name === `${engine}:${name}` || sample.name === `${engine}_${name}`) &&
            Number.isFinite(sample.value)
        )
        if (found.length > 0) return found
      }
      return []
    },
    startedAtMs: seconds === undefined || !(seconds > 0) ? null : Math.round(seconds * 1000)
  }
}

/** The largest of these samples; null where there is none. One engine's processes may each repeat a gauge. */
export const largest = (samples: ReadonlyArray<PrometheusText.Sample>): number | null =>
  samples.length === 0 ? null : samples.reduce((most, { value }) => Math.max(most, value), -Infinity)

/** A number of blocks or tokens, as a label or a value tells it; null when it is none. */
export const positiveInt = (told: unknown): number | null => {
  const count = typeof told === "string" && /^\d{1,10}$/.test(told) ? Number(told) : told
  return typeof count === "number" && Number.isSafeInteger(count) && count > 0 ? count : null
}
