/** A thread that replays: it reads the trace once, then runs one strategy under one seed each time it is asked. */
import { parentPort, workerData } from "node:worker_threads"
import * as Choice from "./Choice.ts"
import * as Decisions from "./Decisions.ts"
import * as Plan from "./Plan.ts"
import * as Replay from "./Replay.ts"
import * as Replicas from "./Replicas.ts"
import type { Result } from "./Result.ts"
import type * as Trace from "./Trace.ts"

/** `at` comes back with what is said of it. */
export type Asked =
  | {
      readonly _tag: "Run"
      readonly at: number
      readonly plan: Plan.Plan
      readonly strategy: string
      readonly seed: number
      /** Of ours, where there are several. */
      readonly routers: Replicas.Routers | null
      /** File for its decisions; null: they are not written. */
      readonly decisions: string | null
    }
  | { readonly _tag: "Saturate"; readonly at: number; readonly setting: Plan.Setting; readonly share: number }

export type Said =
  | { readonly _tag: "Share"; readonly at: number; readonly share: number }
  | { readonly _tag: "Ran"; readonly at: number; readonly result: Result }
  | { readonly _tag: "Saturated"; readonly at: number; readonly copies: number }
  | { readonly _tag: "Failed"; readonly at: number; readonly message: string }

const source = workerData as Plan.Source
let trace: Trace.Trace | null = null

const answer = (asked: Asked): Said => {
  const { at } = asked
  trace ??= Plan.read(source)
  if (asked._tag === "Saturate") {
    if (trace.kind === "sessions") throw new Error("Sessions have no saturation.")
    return { _tag: "Saturated", at, copies: Plan.copiesAt(asked.setting, trace, asked.share) }
  }
  const { plan } = asked
  const staged = Plan.stage(plan, trace, asked.seed)
  const onProgress = (share: number) => say({ _tag: "Share", at, share })
  const { durationMs, live } = staged
  const fleet = Plan.fleetOf(plan, trace)
  const strategy = Replicas.insteadOf(Choice.byName(asked.strategy), asked.routers)
  const log = asked.decisions === null ? null : Decisions.toFile(asked.decisions)
  try {
    const told = log === null ? strategy : Decisions.recorded(strategy, log.tell)
    const { result } = Replay.run(staged.trace, told, fleet, { seed: asked.seed, live, durationMs, onProgress })
    return { _tag: "Ran", at, result }
  } finally {
    log?.close()
  }
}

const say = (said: Said): void => parentPort?.postMessage(said)

parentPort?.on("message", (asked: Asked) => {
  try {
    say(answer(asked))
  } catch (error) {
    say({ _tag: "Failed", at: asked.at, message: error instanceof Error ? (error.stack ?? error.message) : `${error}` })
  }
})
