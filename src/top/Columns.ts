/** Columns: what is shown of one worker, and which of it where there is not room for all. Pure. */
import type { Colors } from "picocolors/types.js"
import type { LiveWorker } from "../domain/Live.ts"

export interface Column {
  readonly head: string
  /** Characters; at least so many where it takes what is left. */
  readonly width: number
  readonly left?: true
  readonly text: (worker: LiveWorker) => string
  readonly color?: (worker: LiveWorker, colors: Colors) => (text: string) => string
}

/** Ids and reasons come from elsewhere: nothing in them may command the terminal. */
export const clean = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\u009f]/g, "�")

export const percent = (share: number | null): string => (share === null ? "–" : `${Math.round(share * 100)} %`)

export const millis = (ms: number | null): string =>
  ms === null ? "–" : ms < 999.5 ? `${ms.toFixed(0)} ms` : `${(ms / 1_000).toFixed(ms < 99_950 ? 1 : 0)} s`

/** Four digits at most: 812, 8.1k, 812k, 8.1M. */
const short = (count: number): string => {
  if (count < 1_000) return String(count)
  const [value, unit] = count < 999_500 ? [count / 1_000, "k"] : [count / 1_000_000, "M"]
  return `${value.toFixed(value < 9.95 ? 1 : 0)}${unit}`
}

const stateColors: Readonly<Record<string, "green" | "yellow" | "red" | "cyan">> = {
  ready: "green",
  suspect: "yellow",
  halfOpen: "yellow",
  open: "red",
  joining: "cyan",
  draining: "cyan"
}

const plain = (text: string): string => text

/** From what is wanted most to what only a wide terminal has room for; shown in the order of `place`. */
const columns: ReadonlyArray<Column & { readonly place: number }> = [
  {
    ...{ place: 0, head: "worker", width: 16, left: true },
    text: ({ id, ranks }) => (ranks > 1 ? `${clean(id)} ×${ranks}` : clean(id))
  },
  {
    ...{ place: 1, head: "state", width: 8, left: true },
    text: ({ state }) => state,
    color: ({ state }, colors) => colors[stateColors[state] ?? "cyan"]
  },
  { place: 3, head: "queued", width: 6, text: ({ queued }) => short(queued) },
  { place: 4, head: "active", width: 6, text: ({ active }) => short(active) },
  { place: 5, head: "wait", width: 6, text: ({ waitMs }) => millis(waitMs) },
  { place: 8, head: "hit rate", width: 8, text: ({ hitRate }) => percent(hitRate) },
  {
    ...{ place: 2, head: "trust", width: 11, left: true },
    text: ({ trust }) => trust ?? "–",
    color: ({ trust }, colors) => (trust === "exact" ? colors.green : trust === "degraded" ? colors.yellow : plain)
  },
  { place: 6, head: "in flight", width: 9, text: ({ inFlight }) => short(inFlight) },
  {
    ...{ place: 7, head: "blocks", width: 9 },
    text: ({ blocks, blocksMax }) => (blocksMax === null ? short(blocks) : `${short(blocks)}/${short(blocksMax)}`)
  },
  { place: 9, head: "delivered", width: 9, text: ({ deliveredShare }) => percent(deliveredShare) },
  { place: 10, head: "engine", width: 8, left: true, text: ({ engine }) => clean(engine ?? "–") },
  { place: 11, head: "model", width: 24, left: true, text: ({ model }) => clean(model ?? "–") },
  { place: 12, head: "why it is so", width: 24, left: true, text: ({ why }) => clean(why) }
]

/** Between two columns. */
export const gap = 2
const nameMax = 32

/** Those that fit, with their widths. The names take what is left up to a length, the reason the rest. */
export const fitting = (width: number): ReadonlyArray<Column> => {
  const fit: Array<Column & { readonly place: number }> = []
  let left = width
  for (const column of columns) {
    const needed = column.width + (fit.length === 0 ? 0 : gap)
    if (fit.length > 0 && needed > left) break
    fit.push(column)
    left -= needed
  }
  const name = Math.min(fit[0]!.width + left, nameMax)
  left -= name - fit[0]!.width
  return fit
    .sort((a, b) => a.place - b.place)
    .map((column, i) =>
      i === 0
        ? { ...column, width: name }
        : column.place === 12
          ? { ...column, width: column.width + Math.max(0, left) }
          : column
    )
}
