/** Kept: outcomes in a file, as they come, so that a run that was cut off goes on where it was. JSON lines. */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs"
import type { Job } from "./Job.ts"
import type { Outcome } from "./Outcome.ts"

export interface Kept {
  readonly of: (job: Job) => Outcome | undefined
  readonly add: (job: Job, outcome: Outcome) => void
}

interface Line {
  readonly job: string
  readonly outcome: Outcome
}

export const nothing: Kept = { of: () => undefined, add: () => {} }

/** Throws when the file has a line that is none of ours; its last one may have been cut off. */
export const open = (file: string): Kept => {
  const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n") : []
  // What follows the last line's end was being written when the run was cut off.
  const outcomes = new Map(
    lines.slice(0, -1).map((line, at) => {
      try {
        const { job, outcome } = JSON.parse(line) as Line
        return [job, outcome] as const
      } catch {
        throw new Error(`${file}, line ${at + 1}, is no outcome of a judge. Give --keep a file of its own.`)
      }
    })
  )
  if (lines.length > 0 && lines.at(-1) !== "") writeFileSync(file, lines.with(-1, "").join("\n"))
  return {
    of: (job) => outcomes.get(JSON.stringify(job)),
    add: (job, outcome) => {
      const line: Line = { job: JSON.stringify(job), outcome }
      appendFileSync(file, `${JSON.stringify(line)}\n`)
    }
  }
}
