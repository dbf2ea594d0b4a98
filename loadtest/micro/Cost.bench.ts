/**
 * A placement decision on one core: the choice over W workers, the bookkeeping of one request, and the overlay of what
 * is on its way; and what is noted of it for a receipt. CPU nanoseconds, medians of the repeats; heap bytes left behind.
 */
import * as Ledger from "../../actors/Ledger.ts"
import * as Bookings from "../../src/hot/Bookings.ts"
import * as Cost from "../../src/hot/Cost.ts"
import * as Decision from "../../src/hot/Decision.ts"
import { InFlight } from "../../src/hot/InFlight.ts"
import * as LoadTable from "../../src/hot/LoadTable.ts"
import type { Known } from "../../src/http/Trail.ts"
import type { Result } from "./Benches.ts"
import { type Case, collect, cpuNsPerCall, median, type Options } from "./Measure.ts"

const sizes = [8, 64, 1000]
const batch = 1000
/** Workers of a fleet whose placements are kept for receipts, and the most of them that are. */
const keptSizes = [4, 64, 1000]
const keptMost = 32
/** Read by nobody, written by all: so that no work is optimised away. */
let sink = 0

const random = (seed: number): (() => number) => {
  let x = seed
  return () => {
    x = (Math.imul(x, 1_664_525) + 1_013_904_223) >>> 0
    return x / 2 ** 32
  }
}

/** A fleet in use: requests queued and decoding everywhere, caches full, some engines unlike the others. */
const busyFleet = (workers: number): LoadTable.LoadTable => {
  const next = random(workers)
  const load = LoadTable.make(workers)
  for (let slot = 0; slot < workers; slot++) LoadTable.join(load, slot, 400_000)
  let nowMs = 0
  for (let i = 0; i < workers * 12; i++) {
    const slot = i % workers
    const tokens = 200 + Math.floor(next() * 20_000)
    const booking = Bookings.book(load, slot, tokens, Math.floor(next() * tokens), true, nowMs)
    nowMs += 1
    if (next() < 0.8) Bookings.firstByte(load, booking, nowMs + (slot % 3) * 40)
    LoadTable.hint(load, slot, 3, 0.5, nowMs)
  }
  return load
}

const overlaps = (workers: number): Uint32Array => {
  const next = random(7)
  return Uint32Array.from({ length: workers }, () => (next() < 0.3 ? Math.floor(next() * 8000) : 0))
}

const decision = (workers: number, cellMs: number): number => {
  const load = busyFleet(workers)
  const cached = overlaps(workers)
  const calls = Math.max(1, Math.floor((batch * 8) / workers))
  let turn = 0
  return cpuNsPerCall(cellMs, calls, () => {
    for (let i = 0; i < calls; i++)
      sink += Cost.cheapest(load, cached, 4000 + (turn & 4095), 5000 + (turn & 1023), turn++)
  })
}

const bookkeeping = (cellMs: number): number => {
  const load = busyFleet(64)
  let nowMs = 10_000
  return cpuNsPerCall(cellMs, batch, () => {
    for (let i = 0; i < batch; i++) {
      nowMs += 1
      const booking = Bookings.book(load, i & 63, 4000, 2000, true, nowMs)
      Bookings.firstByte(load, booking, nowMs + 120)
      Bookings.settle(load, booking, 100, 2000, true, nowMs + 2000)
    }
  })
}

/** A ledger of a fleet in use, and a request that half of the workers hold something of. */
const busyLedger = (workers: number) => {
  const next = random(workers)
  const ledger = Ledger.make({ policy: "eta", workersMax: workers })
  for (let slot = 0; slot < workers; slot++) ledger.join(slot, 400_000)
  const askOf = (promptTokens: number, cachedTokens: Uint32Array): Ledger.Ask => ({
    ...{ promptTokens, cachedTokens, heldTokens: cachedTokens },
    ...{ keys: new Int32Array(0), blockSize: 16, priority: null, eligible: null }
  })
  let nowMs = 0
  for (let i = 0; i < workers * 12; i++) {
    const slot = i % workers
    const tokens = 200 + Math.floor(next() * 20_000)
    const booking = ledger.book(slot, askOf(tokens, new Uint32Array(workers)), true, ++nowMs)
    if (next() < 0.8) booking.firstByte(nowMs + (slot % 3) * 40)
    ledger.hint(slot, { running: 4, waiting: 3, kvUsage: 0.5 }, nowMs)
  }
  return { ledger, ask: askOf(12_000, overlaps(workers)), nowMs }
}

/** What is noted for a receipt beside the placement, as the request path does: the decision, and what is known of each. */
const keep = ({ ask, ledger, nowMs }: ReturnType<typeof busyLedger>) => {
  const decision = ledger.decision(ask, nowMs, keptMost)
  const candidates = decision.slots.map((slot): Known => {
    const blocks = ask.cachedTokens[slot]! >> 4
    return {
      ...{ name: "10.0.0.4:8000", trust: "exact", heardAgoMs: nowMs - slot, blockSize: 16 },
      blocks: [blocks, blocks, blocks, blocks, 0]
    }
  })
  return { decision, candidates }
}

const kept = (workers: number, cellMs: number): number => {
  const fleet = busyLedger(workers)
  const calls = Math.max(1, Math.floor((batch * 4) / workers))
  return cpuNsPerCall(cellMs, calls, () => {
    for (let i = 0; i < calls; i++) sink += keep(fleet).candidates.length
  })
}

/** Heap that a receipt's candidates hold while it is kept, bytes. */
const keptBytes = (workers: number): number => {
  const fleet = busyLedger(workers)
  const receipts = Array.from({ length: 500 }, () => keep(fleet))
  collect()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < 1_000; i++) receipts.push(keep(fleet))
  collect()
  const bytes = process.memoryUsage().heapUsed - before
  sink += receipts.length
  return Math.max(0, bytes / 1_000)
}

/** 1 024 requests on their way, all with one common block, as a chat service's; a prompt of 512 blocks. */
const overlay = (cellMs: number): number => {
  const flight = new InFlight()
  const next = random(3)
  const fresh = (count: number): Int32Array =>
    Int32Array.from({ length: 2 * count }, (_, i) => (i < 2 ? 42 : Math.floor(next() * 2 ** 32) | 0))
  const prompts = Array.from({ length: 64 }, () => fresh(512))
  for (let i = 0; i < 1024; i++) flight.add(i & 63, i < 64 ? prompts[i]! : fresh(512), 512, 0)
  const depth = new Uint32Array(64)
  let turn = 0
  return cpuNsPerCall(cellMs, 10, () => {
    for (let i = 0; i < 10; i++) {
      depth.fill(1)
      flight.raise(prompts[turn++ & 63]!, 512, 16, 512 * 16, 0, depth)
      sink += depth[turn & 63]!
    }
  })
}

/** Heap a decision leaves behind, bytes. */
const garbage = (workers: number): number => {
  const load = busyFleet(workers)
  const cached = overlaps(workers)
  const decide = (calls: number): void => {
    for (let i = 0; i < calls; i++) sink += Cost.cheapest(load, cached, 4000 + (i & 4095), 5000 + (i & 1023), i)
  }
  decide(60_000) // Until the optimiser is done: its notes are on the heap too.
  collect()
  const before = process.memoryUsage().heapUsed
  decide(20_000)
  return Math.max(0, process.memoryUsage().heapUsed - before) / 20_000
}

const compare = (workers: number, requests: number): boolean => {
  const load = busyFleet(workers)
  const cached = overlaps(workers)
  for (let i = 0; i < requests; i++) {
    const slot = Cost.cheapest(load, cached, 1 + i * 37, 4000 + i, i)
    const costs = Cost.explain(load, cached, 1 + i * 37, 4000 + i, i).candidates
    if (costs[slot]!.costMs !== Math.min(...costs.map((candidate) => candidate.costMs))) return false
  }
  const fleet = busyLedger(workers)
  for (let i = 0; i < requests; i++) {
    const ask = { ...fleet.ask, promptTokens: 8_000 + i * 37 }
    const { decision } = keep({ ...fleet, ask })
    if (Decision.again(decision).slot !== fleet.ledger.place(ask, fleet.nowMs)) return false
  }
  return true
}

export const run = ({ cellMs, repeats }: Options): Result => {
  const repeated = (measure: () => number): number => median(Array.from({ length: repeats }, measure))
  const cases: Array<Case> = sizes.map((workers) => ({
    name: `choose among ${workers} workers`,
    value: repeated(() => decision(workers, cellMs)),
    unit: "ns"
  }))
  for (const workers of keptSizes) {
    const name = `for a receipt, ${workers} workers`
    cases.push({ name, value: repeated(() => kept(workers, cellMs)), unit: "ns" })
  }
  cases.push(
    { name: "heap of it, 4 workers", value: keptBytes(4), unit: "B" },
    { name: "heap of it, 1000 workers", value: keptBytes(1000), unit: "B" },
    { name: "book, first byte, settle", value: repeated(() => bookkeeping(cellMs)), unit: "ns" },
    { name: "overlay, 1 024 on their way", value: repeated(() => overlay(cellMs)), unit: "ns" },
    { name: "heap per choice, 64 workers", value: repeated(() => garbage(64)), unit: "B" }
  )
  return { cases, agree: compare(64, 200), compared: sink === Number.MIN_VALUE ? 0 : 200 }
}
