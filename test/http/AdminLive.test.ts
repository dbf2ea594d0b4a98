import { EventEmitter } from "node:events"
import type { IncomingMessage, ServerResponse } from "node:http"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import type { LiveFleet, LiveWorker } from "../../src/domain/Live.ts"
import type { ReceiptLine } from "../../src/domain/Receipt.ts"
import * as AdminLive from "../../src/http/AdminLive.ts"
import type { Reply, Room } from "../../src/http/AdminReply.ts"
import { Pulse } from "../../src/http/Pulse.ts"
import { worker } from "../support/LiveRig.ts"

/** Takes what is written, or lets it pile up. */
class Reader extends EventEmitter {
  writableLength = 0
  gone = false
  readonly events: Array<{ readonly name: string; readonly data: unknown }> = []
  stuck = false
  write(text: string): void {
    if (this.stuck) this.writableLength += text.length
    for (const [, name, data] of text.matchAll(/event: (\w+)\ndata: (.*)\n\n/g)) {
      this.events.push({ name: name!, data: JSON.parse(data!) })
    }
  }
  destroy(): void {
    this.gone = true
    this.emit("close")
  }
  fleets(): ReadonlyArray<LiveFleet> {
    return this.events.filter(({ name }) => name === "fleet").map(({ data }) => data as LiveFleet)
  }
  last(): LiveFleet {
    return this.fleets().at(-1)!
  }
}

let workers: ReadonlyArray<LiveWorker>
let looks: number
let heard: Set<(line: () => ReceiptLine) => void>
let room: Room

const watch = (): Reader => {
  const reader = new Reader()
  const request = { method: "GET", headers: {} } as IncomingMessage
  const reply = room(request, new URL("http://admin/admin/live"), []) as Extract<Reply, { live: unknown }>
  reply.live(reader as unknown as ServerResponse)
  return reader
}
const at = (path: string, rest: ReadonlyArray<string>) =>
  room({ method: "GET", headers: {} } as IncomingMessage, new URL(`http://admin${path}`), rest) as Reply
const over = (id: string): void => {
  for (const each of heard) each(() => ({ id }) as ReceiptLine)
}

beforeEach(() => {
  vi.useFakeTimers()
  workers = [worker(1), worker(2)]
  looks = 0
  heard = new Set()
  room = AdminLive.make({
    workers: () => {
      looks++
      return workers
    },
    pulse: new Pulse(() => true),
    inFlight: () => 3,
    listen: (each) => {
      heard.add(each)
      return () => void heard.delete(each)
    },
    now: Date.now
  })
})
afterEach(() => {
  vi.useRealTimers()
})

describe("the feed of the page", () => {
  it("are at one path, and nowhere under it", () => {
    expect(at("/admin/live/x", ["x"]).status).toBe(404)
    expect(at("/admin/live", [])).toMatchObject({ status: 200, live: expect.any(Function) })
  })

  it("tells of all workers first, then each second only what changed of them", () => {
    const reader = watch()
    expect(reader.last()).toMatchObject({ whole: true, workers, totals: { inFlight: 3 } })
    vi.advanceTimersByTime(1_000)
    expect(reader.last()).toMatchObject({ whole: false, workers: [], gone: [] })
    workers = [worker(1, { queued: 9, ttftsMs: [5] }), worker(3)]
    vi.advanceTimersByTime(1_000)
    expect(reader.last().workers).toEqual([{ id: "gpu-1", queued: 9, ttftsMs: [5] }, worker(3)])
    expect(reader.last().gone).toEqual(["gpu-2"])
  })

  it("looks once a second, however many watch, and not at all when nobody does", () => {
    expect(vi.getTimerCount()).toBe(0)
    const readers = [watch(), watch(), watch()]
    const before = looks
    vi.advanceTimersByTime(5_000)
    expect(looks - before).toBe(5)
    for (const reader of readers) reader.destroy()
    expect(vi.getTimerCount()).toBe(0)
    expect(heard.size).toBe(0)
  })

  it("brings one who joins later to where the others are", () => {
    const first = watch()
    workers = [worker(1, { queued: 9 }), worker(2)]
    vi.advanceTimersByTime(1_000)
    const second = watch()
    workers = [worker(1, { queued: 9 }), worker(2, { state: "open" })]
    vi.advanceTimersByTime(1_000)
    expect(second.fleets()[0]!.workers).toEqual([worker(1, { queued: 9 }), worker(2)])
    expect(second.last()).toEqual(first.last())
    expect(second.last().workers).toEqual([{ id: "gpu-2", state: "open" }])
  })

  it("tells of 50 requests a second one by one, and of the others how many", () => {
    const reader = watch()
    for (let i = 0; i < 70; i++) over(`r-${i}`)
    expect(reader.events.filter(({ name }) => name === "receipt")).toHaveLength(50)
    vi.advanceTimersByTime(1_000)
    expect(reader.last().skipped).toBe(20)
    over("next")
    expect(reader.events.at(-1)).toEqual({ name: "receipt", data: { id: "next" } })
    vi.advanceTimersByTime(1_000)
    expect(reader.last().skipped).toBe(0)
  })

  it("cuts off who does not read, after some megabytes, and nobody else", () => {
    const [quick, slow] = [watch(), watch()]
    slow.stuck = true
    for (let second = 0; second < 200 && !slow.gone; second++) {
      workers = Array.from({ length: 500 }, (_, i) => worker(i, { why: `second ${second}` }))
      vi.advanceTimersByTime(1_000)
    }
    expect(slow.gone).toBe(true)
    expect(slow.writableLength).toBeLessThan(4 * 1024 * 1024)
    expect(quick.gone).toBe(false)
  })

  it("lets so many watch, and tells others why not", () => {
    for (let i = 0; i < 64; i++) watch()
    const reply = room({ method: "GET", headers: {} } as IncomingMessage, new URL("http://admin/admin/live"), [])
    expect(reply).toMatchObject({ status: 503, json: { error: { code: "too_many" } } })
  })
})
