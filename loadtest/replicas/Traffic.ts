/** Requests booked in a ledger as a router books them: 256 open, of which half have shown their first token. */
import { setTimeout as sleep } from "node:timers/promises"
import type { Ask, Booking, Ledger } from "../../actors/Ledger.ts"
import * as Random from "../Random.ts"
import { type Bookings, nowMs } from "./Words.ts"

const inFlight = 256
/** Prompts that are used in turn. */
const promptsMax = 64
const slice = 32

const asksOf = (workers: number, blocks: number): ReadonlyArray<Ask> => {
  const random = Random.make(blocks)
  return Array.from({ length: promptsMax }, () => ({
    cachedTokens: new Uint32Array(workers),
    heldTokens: new Uint32Array(workers),
    promptTokens: blocks * 16 + 5,
    keys: Int32Array.from({ length: 2 * blocks }, () => (random() * 2 ** 32) | 0),
    blockSize: 16,
    priority: null,
    eligible: null
  }))
}

/** `mayGo`: resolves when so many requests may have been booked in all. Answers when each was, when all have ended. */
export const book = async (
  ledger: Ledger["Service"],
  workers: number,
  { blocks, rate, requests }: Bookings,
  mayGo: (booked: number) => Promise<void>
): Promise<Float64Array> => {
  const asks = asksOf(workers, blocks)
  const open: Array<Booking> = []
  const bookedMs = new Float64Array(requests)
  const startedMs = performance.now()
  const end = () =>
    open.shift()!.settle(performance.now(), { outputTokens: 200, cachedTokens: null, outcome: "complete" })
  for (let i = 0; i < requests; i++) {
    if (rate !== null) await sleep(Math.max(0, startedMs + (i * 1_000) / rate - performance.now()))
    else if (i % slice === 0) await mayGo(i)
    bookedMs[i] = nowMs()
    open.push(ledger.book(i % workers, asks[i % promptsMax]!, true, performance.now()))
    if (open.length > inFlight / 2) open[open.length - 1 - inFlight / 2]!.firstByte(performance.now())
    if (open.length > inFlight) end()
  }
  while (open.length > 0) end()
  return bookedMs
}
