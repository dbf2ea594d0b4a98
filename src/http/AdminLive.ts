/**
 * `GET /admin/live`: what the page follows, as server-sent events. `fleet` each second: all workers first, then what changed of them,
 * field by field. `receipt` as requests end, so many a second at most; the others are counted in `skipped` of the next `fleet`.
 *
 * All who look share one timer and one comparison; nobody looking costs nothing. Who reads too slowly is cut off: its page
 * comes back and is told everything anew.
 */
import type { ServerResponse } from "node:http"
import type { LiveChange, LiveFleet, LiveWorker } from "../domain/Live.ts"
import type { ReceiptLine } from "../domain/Receipt.ts"
import { fault, type Room } from "./AdminReply.ts"
import type { Pulse } from "./Pulse.ts"

export interface Deps {
  readonly workers: () => ReadonlyArray<LiveWorker>
  readonly pulse: Pick<Pulse, "seconds" | "totals">
  readonly inFlight: () => number
  /** Calls back with the line of each request that is over, until told to stop. */
  readonly listen: (heard: (line: () => ReceiptLine) => void) => () => void
  /** Ms since the epoch. */
  readonly now: () => number
}

const everyMs = 1_000
const receiptsPerTick = 50
/** Told of a fleet of 1 000 at once, and a few seconds more. */
const unsentBytesMax = 2 * 1024 * 1024
const watchersMax = 64

const isSame = (a: unknown, b: unknown): boolean =>
  a === b || (Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((each, i) => each === b[i]))

/** Fields of a worker that are not as before; null when all are. */
export const changeOf = (before: LiveWorker, after: LiveWorker): LiveChange | null => {
  const change: Record<string, unknown> = { id: after.id }
  let any = false
  for (const [name, value] of Object.entries(after)) {
    if (isSame(before[name as keyof LiveWorker], value)) continue
    change[name] = value
    any = true
  }
  return any ? (change as unknown as LiveChange) : null
}

const event = (name: string, data: unknown): string => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`

export const make = (deps: Deps): Room => {
  const { now, pulse } = deps
  const watchers = new Set<ServerResponse>()
  let told = new Map<string, LiveWorker>()
  let toldMs = 0
  let receipts = 0
  let skipped = 0
  let stop: (() => void) | null = null

  const send = (text: string): void => {
    for (const watcher of watchers) {
      if (watcher.writableLength > unsentBytesMax) watcher.destroy()
      else watcher.write(text)
    }
  }

  const fleetEvent = (
    whole: boolean,
    workers: ReadonlyArray<LiveChange>,
    gone: ReadonlyArray<string>,
    sinceMs: number
  ): string => {
    const fleet: LiveFleet = {
      atMs: toldMs,
      whole,
      workers,
      gone,
      totals: { ...pulse.totals(toldMs), inFlight: deps.inFlight() },
      seconds: pulse.seconds(sinceMs, toldMs),
      skipped
    }
    return event("fleet", fleet)
  }

  /** Looks once, and answers with what is new since the last look. */
  const look = (): string => {
    const sinceMs = toldMs
    toldMs = now()
    const changes: Array<LiveChange> = []
    const next = new Map<string, LiveWorker>()
    for (const worker of deps.workers()) {
      const before = told.get(worker.id)
      const change = before === undefined ? worker : changeOf(before, worker)
      if (change !== null) changes.push(change)
      next.set(worker.id, worker)
      told.delete(worker.id)
    }
    const gone = [...told.keys()]
    told = next
    return fleetEvent(false, changes, gone, sinceMs)
  }

  const begin = (): void => {
    const stopListening = deps.listen((line) => {
      if (receipts >= receiptsPerTick) skipped++
      else {
        receipts++
        send(event("receipt", line()))
      }
    })
    const timer = setInterval(() => {
      send(look())
      receipts = skipped = 0
    }, everyMs)
    stop = () => {
      clearInterval(timer)
      stopListening()
      stop = null
      told = new Map()
      receipts = skipped = 0
    }
    look()
  }

  return (request, { pathname }, rest) => {
    const { method = "GET" } = request
    if (rest.length > 0) return fault(404, "unknown_path", `There is no ${pathname} here.`, "Use GET /admin/live.")
    if (method !== "GET" && method !== "HEAD") {
      return fault(405, "wrong_method", `${pathname} does not take ${method}.`, "Use GET.", { allow: "GET" })
    }
    if (watchers.size >= watchersMax) {
      return fault(503, "too_many", `${watchersMax} pages follow this router already.`, "Close one of them.")
    }
    return {
      status: 200,
      live: (response) => {
        response.once("close", () => {
          watchers.delete(response)
          if (watchers.size === 0) stop?.()
        })
        if (stop === null) begin()
        watchers.add(response)
        // As the others know it: what has changed since reaches all at once.
        response.write(`retry: 1000\n\n${fleetEvent(true, [...told.values()], [], 0)}`)
      }
    }
  }
}
