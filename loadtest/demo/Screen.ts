/**
 * Screen: where the demo writes. Redrawn in place on a terminal; plain lines, a few and far between, everywhere else;
 * nothing at all when the result is asked for as JSON.
 */
import { createLogUpdate } from "log-update"
import picocolors from "picocolors"
import type { Colors } from "picocolors/types.js"
import * as LiveTable from "./LiveTable.ts"

export interface Screen {
  readonly colors: Colors
  /** Milliseconds between two frames worth drawing. */
  readonly everyMs: number
  /** Replaces the frame before. */
  readonly frame: (snapshot: LiveTable.Snapshot) => void
  /** Text that stays. Ends the frame before. */
  readonly print: (text: string) => void
  /** Gives the terminal back: the frame stays, the cursor returns. */
  readonly close: () => void
}

const terminal = (stream: NodeJS.WriteStream): Screen => {
  const colors = picocolors.createColors(true)
  const update = createLogUpdate(stream)
  return {
    colors,
    everyMs: 250,
    frame: (snapshot) => update(LiveTable.frame(snapshot, colors)),
    print: (text) => {
      update.done()
      stream.write(`${text}\n`)
    },
    close: () => update.done()
  }
}

const lines = (stream: NodeJS.WriteStream): Screen => ({
  colors: picocolors.createColors(false),
  everyMs: 5_000,
  frame: (snapshot) => void stream.write(`${LiveTable.line(snapshot)}\n`),
  print: (text) => void stream.write(`${text}\n`),
  close: () => {}
})

export const silent: Screen = {
  colors: picocolors.createColors(false),
  everyMs: 60_000,
  frame: () => {},
  print: () => {},
  close: () => {}
}

/** Redraws only where somebody watches: a terminal, without NO_COLOR or CI. */
export const make = (stream: NodeJS.WriteStream, env: Readonly<Record<string, string | undefined>>): Screen => {
  const set = (name: string) => env[name] !== undefined && env[name] !== ""
  const watched = stream.isTTY && stream.columns > 0 && stream.rows > 0 // Some pseudo-terminals have no size.
  return watched && !set("NO_COLOR") && !set("CI") && env.TERM !== "dumb" ? terminal(stream) : lines(stream)
}
