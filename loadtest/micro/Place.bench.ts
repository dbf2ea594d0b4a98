/**
 * What choosing a worker costs once a prompt is hashed: 1 000 workers that tell of their blocks, prompts of 130 000 tokens,
 * 1 024 requests in flight. `match` and `place` are those of a router: index depths, overlaps in tokens, ledger.
 *
 * Every request is one of its own: its keys are written right before it, as by a hasher, and others are booked, answered
 * and settled in between. Each is timed by the clock, for a quantile is of single requests and the clock of CPU time ticks
 * too slowly. Where the system took the core away meanwhile (it counts when it does) the request is left out, and the
 * share of those is given: on a quiet machine none. The mean beside it is CPU time of the thread, of requests that follow
 * each other. Medians of the repeats.
 */
import * as Ledger from "../../actors/Ledger.ts"
import * as PrefixIndex from "../../actors/PrefixIndex.ts"
import type { KeyLanes } from "../../src/domain/Block.ts"
import * as Match from "../../src/http/Match.ts"
import type { Hashed } from "../../src/http/PromptBlocks.ts"
import * as Random from "../Random.ts"
import type { Result } from "./Benches.ts"
import { type Case, collect, cpuMs, median, type Options, quantile } from "./Measure.ts"
import { blockSize, type Conversation, generate, promptBlocks, renew, workers } from "./PlaceWorkload.ts"

const inFlight = 1_024
/** A request every so often: with the two seconds a prefix stays after its first token, `inFlight` are on their way. */
const everyMs = 4
/** First tokens come when this many have been sent since. */
const queued = 512
const capacityTokens = 400_000
/** Hashed beforehand and asked one after another, for CPU time and heap. */
const batch = 256

/** Keys as a hasher hands them over. */
const hashedOf = (keys: KeyLanes): Hashed => {
  const prompts = [{ keys, count: keys.length >> 1, tokens: (keys.length >> 1) * blockSize }]
  return { prompts: 1, promptTokens: prompts[0]!.tokens, exact: true, keysFor: () => prompts }
}

const setUp = (blocks: number) => {
  const index = PrefixIndex.make(
    { workersMax: workers, blocksMax: Math.floor(blocks * 1.3) + 100_000, blocksPerRun: 8 },
    (turn) => turn(),
    (error) => {
      throw error
    }
  )
  const { conversations } = generate(blocks, index.tell)
  const ledger = Ledger.make({ policy: "eta", workersMax: workers })
  for (let slot = 0; slot < workers; slot++) ledger.join(slot, capacityTokens)
  const match = Match.make({
    depths: index.depths,
    blockSizes: new Uint32Array(workers).fill(blockSize),
    workersMax: workers
  })
  const eligible = new Uint8Array(workers).fill(1)
  const random = Random.make(9)
  const bookings: Array<Ledger.Booking> = []
  let nowMs = 0
  let turn = 0

  /** The next prompt: of a conversation, with something new at its end; one in ten is new but for the system prompt, or all. */
  const next = (): { readonly conversation: Conversation; readonly keys: KeyLanes; readonly known: number } => {
    const conversation = conversations[Math.floor(random() * conversations.length)]!
    const keys = conversation.keys.slice()
    const kind = random()
    const known = kind < 0.05 ? 0 : kind < 0.1 ? 512 : Math.floor(promptBlocks * (0.95 + 0.05 * random()))
    renew(keys, known, promptBlocks, random)
    return { conversation, keys, known }
  }

  /** What happens between two requests: one is booked, one shows its first token, one is done, an engine reports. */
  const book = (slot: number, ask: Ledger.Ask): void => {
    nowMs += everyMs
    bookings.push(ledger.book(slot, ask, true, nowMs))
    if (bookings.length > queued) bookings[bookings.length - queued]!.firstByte(nowMs)
    if (bookings.length > inFlight) {
      bookings.shift()!.settle(nowMs, { outputTokens: 200, cachedTokens: null, outcome: "complete" })
    }
    turn++
    ledger.hint(turn % workers, { running: 4, waiting: 1, kvUsage: 0.5 }, nowMs)
  }

  /** Another client's request, of 64 to 8 125 blocks. */
  const another = (): void => {
    const count = Math.round(64 * (promptBlocks / 64) ** random())
    const ask = match(hashedOf(next().keys.slice(0, 2 * count)), eligible, null)
    book(ledger.place(ask, nowMs), ask)
  }
  for (let i = 0; i < 2 * inFlight; i++) another()
  return { ledger, match, eligible, next, another, book, now: () => nowMs }
}

type Fleet = ReturnType<typeof setUp>

/** Times the system took a core away from this process. */
const interruptions = (): number => process.resourceUsage().involuntaryContextSwitches

/** Milliseconds of single requests that were not interrupted: match, place, both; and the share that was, %. */
const timed = ({ another, book, eligible, ledger, match, next, now }: Fleet, requests: number) => {
  const matchMs = new Float64Array(requests)
  const placeMs = new Float64Array(requests)
  const bothMs = new Float64Array(requests)
  let whole = 0
  for (let i = 0; i < requests; i++) {
    const hashed = hashedOf(next().keys)
    const atMs = now()
    const before = interruptions()
    const started = performance.now()
    const ask = match(hashed, eligible, null)
    const matched = performance.now()
    const slot = ledger.place(ask, atMs)
    const placed = performance.now()
    if (interruptions() === before) {
      matchMs[whole] = matched - started
      placeMs[whole] = placed - matched
      bothMs[whole++] = placed - started
    }
    if (i % 4 === 0) book(slot, ask)
    else another()
  }
  const interrupted = 100 * (1 - whole / requests)
  return {
    matchMs: matchMs.subarray(0, whole),
    placeMs: placeMs.subarray(0, whole),
    bothMs: bothMs.subarray(0, whole),
    interrupted
  }
}

/** Requests hashed before, asked one after the other: the CPU time of each, us, and the heap it leaves behind, bytes. */
const followed = ({ eligible, ledger, match, next, now }: Fleet, batches: number) => {
  let ms = 0
  let bytes = 0
  for (let i = 0; i < batches; i++) {
    const requests = Array.from({ length: batch }, () => hashedOf(next().keys))
    collect()
    const before = process.memoryUsage().heapUsed
    ms += cpuMs(() => {
      for (const hashed of requests) ledger.place(match(hashed, eligible, null), now())
    })
    bytes += Math.max(0, process.memoryUsage().heapUsed - before)
  }
  return { us: (1_000 * ms) / batches / batch, bytes: bytes / batches / batch }
}

/** Requests whose overlaps are those the workload was made with, and whose worker is the cheapest of the explanation. */
const compare = ({ another, eligible, ledger, match, next, now }: Fleet, requests: number): number => {
  let right = 0
  for (let i = 0; i < requests; i++) {
    const { conversation, keys, known } = next()
    const ask = match(hashedOf(keys), eligible, null)
    // An engine computes the last token: never all of the prompt.
    const most = Math.min(known, promptBlocks - 1)
    const isHeld = ask.heldTokens.every(
      (tokens, slot) => tokens === Math.min(most, conversation.held[slot]!) * blockSize
    )
    const { candidates, slot: explained } = ledger.explain(ask, now())
    const slot = ledger.place(ask, now())
    const least = Math.min(...candidates.map(({ costMs }) => costMs))
    if (isHeld && slot === explained && candidates[slot]!.costMs === least) right++
    another()
  }
  return right
}

export const run = ({ blocks, cellMs, repeats }: Pick<Options, "blocks" | "cellMs" | "repeats">): Result => {
  const isTiny = cellMs < 100
  const requests = isTiny ? 100 : 5_000
  const compared = isTiny ? 50 : 200
  const fleet = setUp(blocks / 2)
  const right = compare(fleet, compared)
  if (!isTiny) timed(fleet, 2_000) // Until the optimiser is done.
  const parts = Array.from({ length: repeats }, () => timed(fleet, requests))
  const one = (name: string, value: (part: (typeof parts)[number]) => number, gate?: Case["gate"]): Case => {
    const values = parts.map((part) => 1_000 * value(part))
    const figure = { name, value: median(values), best: Math.min(...values), unit: "us" }
    return gate === undefined ? figure : { ...figure, gate }
  }
  const sums = Array.from({ length: repeats }, () => followed(fleet, isTiny ? 1 : 10))
  return {
    cases: [
      one("match, median", ({ matchMs }) => quantile(matchMs, 0.5)),
      one("match, p99", ({ matchMs }) => quantile(matchMs, 0.99)),
      one("place, median", ({ placeMs }) => quantile(placeMs, 0.5)),
      one("place, p99", ({ placeMs }) => quantile(placeMs, 0.99)),
      one("match + place, median", ({ bothMs }) => quantile(bothMs, 0.5)),
      one("match + place, p99", ({ bothMs }) => quantile(bothMs, 0.99), { atMost: 50 }),
      { name: "interrupted, left out", value: median(parts.map(({ interrupted }) => interrupted)), unit: "%" },
      { name: "match + place, CPU, mean", value: median(sums.map(({ us }) => us)), unit: "us" },
      { name: "heap per request", value: median(sums.map(({ bytes }) => bytes)), unit: "B" }
    ],
    agree: right === compared,
    compared
  }
}
