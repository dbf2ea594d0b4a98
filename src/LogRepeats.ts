/**
 * LogRepeats: what is said over and over is written a few times, and then counted. So a worker that comes and goes, or a
 * defect that every request meets, costs a few lines a minute, and the last of it is still told. Pure.
 *
 * Lines are the same when level and message are; what is beside the message (a request's id) does not count.
 */
import type { LogLine } from "./LogLine.ts"

/** Times that the same line is written within a window. */
const most = 5
export const windowMs = 60_000
/** Distinct lines remembered. Beyond it nothing is held back: memory is bounded, and so much news is no repetition. */
const linesMax = 10_000

interface Seen {
  readonly fromMs: number
  times: number
  last: LogLine
}

export interface LogRepeats {
  /** Whether to write it. When it is not, `due` tells of it later. */
  readonly take: (line: LogLine) => boolean
  /** When to ask `due` next; null when nothing is held back. */
  readonly dueMs: () => number | null
  /** Lines for what was held back in windows that are over, the latest last. `all`: in the others, too. */
  readonly due: (nowMs: number, all?: boolean) => ReadonlyArray<LogLine>
}

export const make = (): LogRepeats => {
  /** The oldest window first. */
  const seen = new Map<string, Seen>()
  /** Forgets windows that are over; those that held something back are given. */
  const over = (nowMs: number, all: boolean): Array<Seen> => {
    const held: Array<Seen> = []
    for (const [key, one] of seen) {
      if (!all && nowMs - one.fromMs < windowMs) break
      seen.delete(key)
      if (one.times > most) held.push(one)
    }
    return held
  }
  /** Closed on the way, not told yet. */
  let closed: Array<Seen> = []
  return {
    take: (line) => {
      closed.push(...over(line.atMs, false))
      const key = `${line.level} ${line.message}`
      const one = seen.get(key)
      if (one === undefined) {
        if (seen.size < linesMax) seen.set(key, { fromMs: line.atMs, times: 1, last: line })
        return true
      }
      one.times++
      one.last = line
      return one.times <= most
    },
    dueMs: () => {
      if (closed.length > 0) return 0
      for (const { fromMs, times } of seen.values()) if (times > most) return fromMs + windowMs
      return null
    },
    due: (nowMs, all = false) => {
      const held = [...closed, ...over(nowMs, all)].sort((a, b) => a.last.atMs - b.last.atMs)
      closed = []
      return held.map(({ last, times }) => ({
        ...last,
        message: `${last.message} (said ${times - most} times more within a minute, this the last of them)`
      }))
    }
  }
}
