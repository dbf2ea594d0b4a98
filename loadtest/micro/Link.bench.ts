/**
 * What replicas cost each other: telling a request's three changes (booked, first token, done), hearing them and charging
 * them to a ledger, and the bytes in between. 64 workers, 256 requests open, half of them decoding, three requests' changes a
 * message; prompts of 16, 1 250 (20 000 tokens) and 8 192 blocks, which is the most that is told of one.
 */
import * as Ledger from "../../actors/Ledger.ts"
import { ReplicaLoad } from "../../actors/ReplicaLoad.ts"
import * as ToldLedger from "../../actors/ToldLedger.ts"
import { OwnLoad } from "../../src/hot/OwnLoad.ts"
import * as Random from "../Random.ts"
import type { Result } from "./Benches.ts"
import { type Case, cpuMs, median, type Options } from "./Measure.ts"

const workers = 64
const inFlight = 256
const requestsPerMessage = 3
const changesPerRequest = 3
/** Between two requests; a prefix stays two seconds after its first token. */
const everyMs = 4

const ledgerOf = (): Ledger.Ledger["Service"] => {
  const ledger = Ledger.make({ policy: "eta", workersMax: workers })
  for (let slot = 0; slot < workers; slot++) ledger.join(slot, 400_000)
  return ledger
}

/** Requests as they come: each with a prompt of its own. */
const asksOf = (blocks: number, count: number): ReadonlyArray<Ledger.Ask> => {
  const random = Random.make(blocks)
  return Array.from({ length: count }, () => ({
    cachedTokens: new Uint32Array(workers),
    heldTokens: new Uint32Array(workers),
    promptTokens: blocks * 16 + 5,
    keys: Int32Array.from({ length: 2 * blocks }, () => (random() * 2 ** 32) | 0),
    blockSize: 16,
    priority: null,
    eligible: null
  }))
}

const done: Ledger.Outcome = { outputTokens: 200, cachedTokens: null, outcome: "complete" }

/** Books requests one after another in a ledger, with those before showing their first tokens and ending. */
const traffic = (ledger: Ledger.Ledger["Service"], asks: ReadonlyArray<Ledger.Ask>, after: (nowMs: number) => void) => {
  const open: Array<Ledger.Booking> = []
  let turn = 0
  return (requests: number): void => {
    for (let i = 0; i < requests; i++) {
      const nowMs = turn * everyMs
      open.push(ledger.book(turn % workers, asks[turn % asks.length]!, true, nowMs))
      if (open.length > inFlight / 2) open[open.length - inFlight / 2]!.firstByte(nowMs)
      if (open.length > inFlight) open.shift()!.settle(nowMs, done)
      turn++
      after(nowMs)
    }
  }
}

interface Measured {
  readonly tellNs: number
  readonly hearNs: number
  readonly bytes: number
  readonly agrees: boolean
}

const measure = (blocks: number, requests: number): Measured => {
  const asks = asksOf(blocks, 64)
  const alone = traffic(ledgerOf(), asks, () => {})
  const own = new OwnLoad(1)
  const messages: Array<{ readonly nowMs: number; readonly message: Uint8Array }> = []
  let changes = 0
  const telling = traffic(
    ToldLedger.make(
      ledgerOf(),
      own,
      (slot) => slot,
      () => void changes++
    ),
    asks,
    (nowMs) => {
      if (changes < requestsPerMessage * changesPerRequest) return
      changes = 0
      const message = own.take()
      if (message !== null) messages.push({ nowMs, message })
    }
  )
  const here = ledgerOf()
  const load = new ReplicaLoad({ charge: here.charge, slotOf: (worker) => worker })
  const hear = (): void => {
    for (const { message, nowMs } of messages.splice(0)) load.hear(message, nowMs)
  }
  // Until as many are open as shall be, and the optimiser is done.
  const warm = 2 * inFlight
  alone(warm)
  telling(warm)
  changes = 0
  const rest = own.take()
  if (rest !== null) messages.push({ nowMs: warm * everyMs, message: rest })
  hear()
  // Few at a time: what is told and not heard yet must not fill the memory.
  const slice = requestsPerMessage * Math.ceil(Math.min(requests, (16 << 20) / (blocks * 8 + 64)) / requestsPerMessage)
  let aloneMs = 0
  let tellMs = 0
  let hearMs = 0
  let bytes = 0
  let told = 0
  while (told < requests) {
    aloneMs += cpuMs(() => alone(slice))
    tellMs += cpuMs(() => telling(slice))
    bytes += messages.reduce((sum, { message }) => sum + message.length, 0)
    hearMs += cpuMs(hear)
    told += slice
  }
  const last = own.take()
  if (last !== null) load.hear(last, Number.MAX_SAFE_INTEGER)
  return {
    tellNs: (Math.max(0, tellMs - aloneMs) * 1e6) / told,
    hearNs: (hearMs * 1e6) / told,
    bytes: bytes / told,
    agrees: load.digest === own.digest && load.open === own.open && !load.broken
  }
}

export const run = ({ cellMs, repeats }: Options): Result => {
  const cases: Array<Case> = []
  let agree = true
  let compared = 0
  for (const blocks of [16, 1_250, 8_192]) {
    // As many as take about that long, by a rough guess.
    const requests = Math.ceil((cellMs * 1_000) / (4 + blocks / 100))
    const all = Array.from({ length: repeats }, () => measure(blocks, requests))
    agree &&= all.every(({ agrees }) => agrees)
    compared += all.length
    const name = `${blocks.toLocaleString("en")} blocks`
    const of = (pick: (measured: Measured) => number) => median(all.map(pick))
    cases.push(
      { name: `${name}: tell`, value: of(({ tellNs }) => tellNs) / 1_000, unit: "us/request" },
      { name: `${name}: hear and charge`, value: of(({ hearNs }) => hearNs) / 1_000, unit: "us/request" },
      {
        name: `${name}: told and heard`,
        value: of(({ hearNs, tellNs }) => 3e6 / (tellNs + hearNs)),
        unit: "k changes/s"
      },
      { name: `${name}: bytes`, value: of(({ bytes }) => bytes), unit: "B/request" }
    )
  }
  return { cases, agree, compared }
}
