/**
 * A placement decision on one core: the choice over W workers, the bookkeeping of one request, and the overlay of what
 * is on its way. CPU nanoseconds, medians of the repeats; heap bytes a decision leaves behind.
 */
import * as Bookings from "../../src/hot/Bookings.ts"
import * as Cost from "../../src/hot/Cost.ts"
import { InFlight } from "../../src/hot/InFlight.ts"
import * as LoadTable from "../../src/hot/LoadTable.ts"
import type { Result } from "./Benches.ts"
import { type Case, collect, cpuNsPerCall, median, type Options } from "./Measure.ts"

const sizes = [8, 64, 1000]
const batch = 1000
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
  return true
}

export const run = ({ cellMs, repeats }: Options): Result => {
  const repeated = (measure: () => number): number => median(Array.from({ length: repeats }, measure))
  const cases: Array<Case> = sizes.map((workers) => ({
    name: `choose among ${workers} workers`,
    value: repeated(() => decision(workers, cellMs)),
    unit: "ns"
  }))
  cases.push(
    { name: "book, first byte, settle", value: repeated(() => bookkeeping(cellMs)), unit: "ns" },
    { name: "overlay, 1 024 on their way", value: repeated(() => overlay(cellMs)), unit: "ns" },
    { name: "heap per choice, 64 workers", value: repeated(() => garbage(64)), unit: "B" }
  )
  return { cases, agree: compare(64, 200), compared: sink === Number.MIN_VALUE ? 0 : 200 }
}
