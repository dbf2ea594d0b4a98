/**
 * Log: where the lines of the log go, and how they look: `logFormat`, `logLevel`. All on standard error; standard output is
 * for what was asked for. Warnings of the process are lines, too: Node's own, and defects of single requests.
 */
import { Effect, Layer, Logger, References } from "effect"
import picocolors from "picocolors"
import type { Config } from "./Config.ts"
import { Defect } from "./http/Defect.ts"
import * as LogLine from "./LogLine.ts"
import * as LogRepeats from "./LogRepeats.ts"

type Knobs = Pick<Config, "logFormat" | "logLevel">

/** The knobs that every long-lived command has. */
export const hasKnob = (name: string): boolean => name === "logFormat" || name === "logLevel"

const levels = { debug: "Debug", info: "Info", warn: "Warn", error: "Error" } as const

const write = (text: string): void => console.error(text)

const formatOf = ({ logFormat }: Knobs, stream: NodeJS.WriteStream): ((line: LogLine.LogLine) => string) => {
  const isPretty = logFormat === "pretty" || (logFormat === "auto" && stream.isTTY)
  if (!isPretty) return LogLine.json
  const colors = picocolors.createColors(stream.isTTY && (process.env["NO_COLOR"] ?? "") === "")
  return (line) => LogLine.pretty(line, colors)
}

/** Writes lines, and less often those that are the same. */
const logger = (format: (line: LogLine.LogLine) => string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const repeats = LogRepeats.make()
      let timer: NodeJS.Timeout | null = null
      const tell = (all = false): void => {
        timer = null
        for (const line of repeats.due(Date.now(), all)) write(format(line))
        arm()
      }
      const arm = (): void => {
        const dueMs = repeats.dueMs()
        if (timer === null && dueMs !== null) timer = setTimeout(tell, Math.max(0, dueMs - Date.now())).unref()
      }
      const made = Logger.make<unknown, void>((options) => {
        const line = LogLine.of(options)
        if (repeats.take(line)) write(format(line))
        arm()
      })
      const close = (): void => {
        if (timer !== null) clearTimeout(timer)
        tell(true)
      }
      return { made, close }
    }),
    ({ close }) => Effect.sync(close)
  ).pipe(Effect.map(({ made }) => made))

const said = (warning: Error) =>
  warning instanceof Defect
    ? Effect.logError(`A request failed by a bug in the router, please report it: ${warning.message}`, warning).pipe(
        Effect.annotateLogs({
          ...(warning.requestId === null ? {} : { requestId: warning.requestId }),
          ...(warning.traceId === null ? {} : { traceId: warning.traceId })
        })
      )
    : Effect.logWarning(`${warning.name}: ${warning.message}`)

/** In place of what Node would print. */
const warnings = Effect.gen(function* () {
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const hear = (warning: Error): void => void fork(said(warning))
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const before = process.listeners("warning")
      process.removeAllListeners("warning").on("warning", hear)
      return before
    }),
    (before) =>
      Effect.sync(() => {
        process.off("warning", hear)
        for (const listener of before) process.on("warning", listener)
      })
  )
})

/** For the whole of a command, from the moment its knobs are known. */
export const layer = (knobs: Knobs): Layer.Layer<never> =>
  Layer.effectDiscard(warnings).pipe(
    Layer.provideMerge(
      Layer.mergeAll(
        Logger.layer([logger(formatOf(knobs, process.stderr))]),
        Layer.succeed(References.MinimumLogLevel, levels[knobs.logLevel])
      )
    )
  )
