/** A thread of the judge: it does one task after the other, and keeps the traces it has read. */
import { parentPort, workerData } from "node:worker_threads"
import type { Cell } from "./Cell.ts"
import * as Job from "./Job.ts"
import type { Outcome } from "./Outcome.ts"
import { Traffic } from "./Traffic.ts"

export type Task = { readonly _tag: "Saturate"; readonly cell: Cell } | { readonly _tag: "Run"; readonly job: Job.Job }

export type Said =
  | { readonly _tag: "Share"; readonly share: number }
  | { readonly _tag: "Saturated"; readonly perSecond: number | null }
  | { readonly _tag: "Ran"; readonly outcome: Outcome }
  | { readonly _tag: "Failed"; readonly message: string }

/** `folder`: null makes traces up. */
export interface Data {
  readonly folder: string | null
}

const traffic = new Traffic((workerData as Data).folder)
const say = (said: Said): void => parentPort?.postMessage(said)

const answer = (task: Task): Said =>
  task._tag === "Saturate"
    ? { _tag: "Saturated", perSecond: traffic.saturation(task.cell) }
    : { _tag: "Ran", outcome: Job.run(task.job, traffic, (share) => say({ _tag: "Share", share })) }

parentPort?.on("message", (task: Task) => {
  try {
    say(answer(task))
  } catch (error) {
    say({ _tag: "Failed", message: error instanceof Error ? (error.stack ?? error.message) : `${error}` })
  }
})
