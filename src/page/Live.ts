/** What the router tells, followed as it comes: signals that the parts of the page read. Comes back by itself when it is lost. */
import { computed, signal } from "@preact/signals"
import type { LiveFleet, LiveSecond, LiveTotals, LiveWorker } from "../domain/Live.ts"
import type { ReceiptLine } from "../domain/Receipt.ts"

export type Connection = "connecting" | "live" | "lost"

export const connection = signal<Connection>("connecting")
export const workers = signal<ReadonlyMap<string, LiveWorker>>(new Map())
export const totals = signal<LiveTotals | null>(null)
export const seconds = signal<ReadonlyArray<LiveSecond>>([])
/** Requests that are over, the newest first. */
export const lines = signal<ReadonlyArray<ReceiptLine>>([])
/** Those of the last seconds that there were too many of to be told one by one. */
export const skipped = signal(0)
/** While paused, what comes waits here. */
export const paused = signal(false)
const waiting = signal<ReadonlyArray<ReceiptLine>>([])
export const waitingCount = computed(() => waiting.value.length)
/** The router keeps no receipts. */
export const noReceipts = signal(false)

const linesMax = 200
const secondsMax = 300
/** The router speaks each second. */
const silentMs = 5_000
const againMs = 2_000

const merge = (fresh: ReadonlyArray<ReceiptLine>, known: ReadonlyArray<ReceiptLine>): ReadonlyArray<ReceiptLine> => {
  const ids = new Set(fresh.map(({ id }) => id))
  return [...fresh, ...known.filter(({ id }) => !ids.has(id))].slice(0, linesMax)
}

export const pause = (on: boolean): void => {
  paused.value = on
  if (on) return
  lines.value = merge(waiting.value, lines.value)
  waiting.value = []
}

const onFleet = (fleet: LiveFleet): void => {
  connection.value = "live"
  const next = new Map(fleet.whole ? [] : workers.value)
  for (const change of fleet.workers) next.set(change.id, { ...next.get(change.id), ...change } as LiveWorker)
  for (const id of fleet.gone) next.delete(id)
  if (fleet.whole || fleet.workers.length > 0 || fleet.gone.length > 0) workers.value = next
  totals.value = fleet.totals
  skipped.value = fleet.skipped
  seconds.value = [...(fleet.whole ? [] : seconds.value), ...fleet.seconds].slice(-secondsMax)
  if (fleet.whole) void catchUp()
}

/** Came since the table was last made: it is made anew twice a second at most, however many come. */
let fresh: Array<ReceiptLine> = []
const freshEveryMs = 500

const onReceipt = (line: ReceiptLine): void => {
  fresh.unshift(line)
  if (fresh.length > 1) return
  setTimeout(() => {
    const into = paused.value ? waiting : lines
    into.value = merge(fresh, into.value)
    fresh = []
  }, freshEveryMs)
}

/** What was over before one looked. */
const catchUp = async (): Promise<void> => {
  const answer = await fetch("/admin/receipts?limit=100").catch(() => null)
  noReceipts.value = answer?.status === 404
  if (answer?.ok !== true) return
  const { receipts } = (await answer.json()) as { receipts: ReadonlyArray<ReceiptLine> }
  if (!paused.value)
    lines.value = merge(
      lines.value.filter(({ at }) => at > (receipts[0]?.at ?? "")),
      receipts
    )
}

export const follow = (): void => {
  const source = new EventSource("/admin/live")
  let silent = 0
  const again = (afterMs: number): void => {
    clearTimeout(silent)
    source.close()
    connection.value = "lost"
    setTimeout(follow, afterMs)
  }
  const heard = (): void => {
    clearTimeout(silent)
    silent = window.setTimeout(() => again(0), silentMs)
  }
  heard()
  source.addEventListener("fleet", ({ data }: MessageEvent<string>) => {
    heard()
    onFleet(JSON.parse(data))
  })
  source.addEventListener("receipt", ({ data }: MessageEvent<string>) => onReceipt(JSON.parse(data)))
  source.addEventListener("error", () => again(againMs))
}
