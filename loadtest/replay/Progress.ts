/** Progress: how far long work is, on one line that is drawn again and again; nothing where nobody watches. */
import { createLogUpdate } from "log-update"
import { bar } from "../demo/LiveTable.ts"

export interface Progress {
  /** What is being done; starts anew. */
  readonly begin: (what: string) => void
  /** 0 to 1. */
  readonly at: (share: number) => void
  /** Takes the line away. */
  readonly close: () => void
}

export const silent: Progress = { begin: () => {}, at: () => {}, close: () => {} }

const everyMs = 200

const drawn = (stream: NodeJS.WriteStream): Progress => {
  const update = createLogUpdate(stream)
  let what = ""
  let fromMs = 0
  let nextMs = 0
  const draw = (share: number) => update(line(what, share, performance.now() - fromMs))
  return {
    begin: (text) => {
      what = text
      fromMs = performance.now()
      draw(0)
    },
    at: (share) => {
      if (performance.now() < nextMs) return
      nextMs = performance.now() + everyMs
      draw(share)
    },
    close: () => {
      if (what === "") return
      what = ""
      update.clear()
      // Gives the cursor back.
      update.done()
    }
  }
}

/** What is left, from what it took so far; not said before there is something to judge by. */
export const line = (what: string, share: number, elapsedMs: number): string => {
  const leftMs = (elapsedMs / share) * (1 - share)
  const left = share < 0.01 || elapsedMs < 1_000 ? "" : ` · about ${duration(leftMs)} left`
  return `${bar(share, 30)} ${Math.floor(share * 100)} % of ${what}${left}`
}

const duration = (ms: number): string =>
  ms < 90_000
    ? `${Math.ceil(ms / 1_000)} s`
    : ms < 5_400_000
      ? `${Math.ceil(ms / 60_000)} min`
      : `${(ms / 3_600_000).toFixed(1)} h`

/** On a terminal, without CI. */
export const make = (stream: NodeJS.WriteStream, env: Readonly<Record<string, string | undefined>>): Progress =>
  stream.isTTY && stream.columns > 0 && (env.CI ?? "") === "" && env.TERM !== "dumb" ? drawn(stream) : silent
