/**
 * From what was noted of a request to its receipt. Pure: the terms of each cost come from `Decision.again`, the worker from
 * what production chose; nothing is decided here.
 */
import * as Delivery from "../../actors/Delivery.ts"
import type { Candidate } from "../domain/Placement.ts"
import type { Phases, Receipt, ReceiptCandidate, ReceiptLine, ReceiptOutcome, ReceiptTry } from "../domain/Receipt.ts"
import { tiers } from "../domain/Tier.ts"
import { whyLost } from "../domain/WhyLost.ts"
import * as Decision from "../hot/Decision.ts"
import type { Settled } from "./Request.ts"
import type { Known, Trail, Try } from "./Trail.ts"

/** What is known of a try once its worker was chosen. */
export type Placed = Omit<ReceiptTry, "atMs" | "deliveredTokens" | "firstByteMs" | "endMs" | "end">

const rounded = (ms: number): number => Math.round(ms * 1_000) / 1_000

/** NaN, where it never came so far, is null. */
const orNull = (ms: number): number | null => (Number.isNaN(ms) ? null : rounded(ms))

export const outcomeOf = ({
  outcome,
  status,
  worker
}: Pick<Settled, "outcome" | "status" | "worker">): ReceiptOutcome => {
  if (outcome === "clientGone") return "cancelled"
  if (status >= 500) return worker === null ? "missing" : "worker_error"
  if (status >= 400) return "client_error"
  return outcome === "failed" ? "died" : "ok"
}

/** Of several prompts some engines report the first, or the last. */
const deliveredOf = ({ deliveredTokens, prompts }: Settled): number | null => (prompts === 1 ? deliveredTokens : null)

/**
 * Prefill given away, in tokens. `choiceTokens`: the most that any eligible worker held, less what the one chosen did.
 * `pictureTokens`: what it was thought to hold, less what it delivered; null where it did not report, or of several prompts.
 */
export const regretOf = (settled: Settled): Receipt["regret"] => {
  const last = settled.trail.tries.at(-1)
  if (last === undefined) return null
  const delivered = deliveredOf(settled)
  return {
    choiceTokens: last.bestTokens - last.heldTokens,
    pictureTokens: delivered === null ? null : Math.round(last.heldTokens * Delivery.scale(settled)) - delivered
  }
}

const candidateOf = (
  found: Candidate,
  at: number,
  decision: Decision.Decision,
  known: Known
): Omit<ReceiptCandidate, "lost"> => {
  const { load } = decision
  const heldTokens = (layer: number): number => known.blocks[layer]! * known.blockSize
  const [device, host, disk, external] = tiers.map((_, layer) => heldTokens(layer)) as [number, number, number, number]
  return {
    ...found,
    worker: known.name,
    trust: known.trust,
    credit: load.credit[at]!,
    heardAgoMs: known.heardAgoMs === null ? null : Math.round(known.heardAgoMs),
    heldTokens: { device, host, disk, external, guess: heldTokens(tiers.length) },
    queued: load.queued[at]!,
    active: load.active[at]!
  }
}

/** Every candidate that was kept, the cheapest first, the one chosen before those that cost the same. */
const candidatesOf = (
  decision: Decision.Decision,
  known: ReadonlyArray<Known>,
  slot: number,
  policy: string,
  found: ReadonlyArray<Candidate> = Decision.again(decision).candidates
): ReadonlyArray<ReceiptCandidate> => {
  const judged = found.map((candidate) => {
    const at = decision.slots.indexOf(candidate.slot)
    return candidateOf(candidate, at, decision, known[at]!)
  })
  judged.sort((a, b) => a.costMs - b.costMs || Number(b.slot === slot) - Number(a.slot === slot))
  const chosen = judged.find((candidate) => candidate.slot === slot)
  return judged.map((candidate) => ({
    ...candidate,
    lost: candidate === chosen || chosen === undefined ? null : whyLost(candidate, chosen, policy)
  }))
}

/** What of a try is known when it is placed, and what an explanation has of one. */
export type Step = Pick<
  Try,
  "worker" | "slot" | "decision" | "candidates" | "eligible" | "states" | "heldTokens" | "bestTokens"
>

export const placedOf = (step: Step, policy: string): Placed => {
  const { bestTokens, candidates: known, decision, eligible, heldTokens, slot, states } = step
  const again = decision === null ? null : Decision.again(decision)
  const at = decision?.slots.indexOf(slot) ?? -1
  const candidates = decision === null ? [] : candidatesOf(decision, known, slot, policy, again!.candidates)
  return {
    worker: known[at]?.name ?? step.worker,
    slot,
    policy,
    price: again?.price ?? 0,
    arrivalsPerMs: again?.arrivalsPerMs ?? 0,
    candidates,
    others: Math.max(0, eligible - candidates.length),
    states,
    predictedTokens: heldTokens,
    bestTokens,
    decision
  }
}

const endOf = ({ end }: Try): string => {
  switch (end?.kind) {
    case undefined:
      return "did not end"
    case "complete":
      return `answered ${end.status}`
    case "held":
      return `answered ${end.status}, and another was tried`
    case "clientGone":
      return end.sent ? "its client left in the middle of the answer" : "its client left before the first byte"
    case "failed":
      return `failed ${end.sent ? "in the middle of the answer" : "before its first byte"}: ${end.reason}`
  }
}

const tryOf = (step: Try, { receivedMs }: Trail, prompts: number, policy: string): ReceiptTry => ({
  ...placedOf(step, policy),
  atMs: rounded(step.matchMs - receivedMs),
  deliveredTokens: prompts === 1 ? (step.usage?.cachedTokens ?? null) : null,
  firstByteMs: orNull(step.firstByteMs - receivedMs),
  endMs: orNull(step.endMs - receivedMs),
  end: endOf(step)
})

/** Phases that tries repeat are added up; the wait for a store belongs to `match`, that for its turn to `place`. */
const phasesOf = ({ hashMs, hashedMs, receivedMs, settledMs, tries }: Trail): Phases => {
  const sum = (of: (step: Try) => number): number | null =>
    tries.length === 0 ? null : orNull(tries.reduce((total, step) => total + of(step), 0))
  const waitMs = tries.length === 0 ? 0 : tries[0]!.matchMs - hashedMs
  return {
    receive: orNull(hashMs - receivedMs),
    hash: orNull(hashedMs - hashMs),
    match: sum((step) => step.placeMs - step.matchMs + (step === tries[0] ? waitMs : 0)),
    place: sum((step) => step.bookMs - step.placeMs),
    book: sum((step) => step.sentMs - step.bookMs),
    forward: sum((step) => step.endMs - step.sentMs),
    settle: tries.length === 0 ? null : orNull(settledMs - tries.at(-1)!.endMs)
  }
}

/** `policy`: what chose its workers. */
export const receiptOf = (settled: Settled, policy: string): Receipt => {
  const { trail } = settled
  return {
    version: 1,
    id: trail.id,
    at: new Date(trail.epochMs).toISOString(),
    traceId: trail.trace?.traceId ?? null,
    endpoint: settled.endpoint,
    asked: settled.asked,
    model: settled.model,
    stream: settled.stream,
    prompts: settled.prompts,
    promptTokens: settled.promptTokens,
    exact: settled.exact,
    phases: phasesOf(trail),
    waitedMs: rounded(trail.waitedMs),
    outcome: outcomeOf(settled),
    status: settled.status,
    missing: trail.missing,
    ttftMs: settled.ttftMs === null ? null : rounded(settled.ttftMs),
    totalMs: rounded(settled.totalMs),
    outputTokens: settled.outputTokens,
    tries: trail.tries.map((step) => tryOf(step, trail, settled.prompts, policy)),
    regret: regretOf(settled)
  }
}

/** The name of the worker that had the last try, as in its candidates. */
const workerOf = ({ trail, worker }: Settled): string | null => {
  const last = trail.tries.at(-1)
  return last?.candidates[last.decision?.slots.indexOf(last.slot) ?? -1]?.name ?? last?.worker ?? worker
}

export const lineOf = (settled: Settled): ReceiptLine => ({
  id: settled.trail.id,
  at: new Date(settled.trail.epochMs).toISOString(),
  model: settled.model,
  worker: workerOf(settled),
  promptTokens: settled.promptTokens,
  predictedTokens: settled.trail.tries.at(-1)?.heldTokens ?? 0,
  deliveredTokens: deliveredOf(settled),
  ttftMs: settled.ttftMs === null ? null : rounded(settled.ttftMs),
  totalMs: rounded(settled.totalMs),
  outcome: outcomeOf(settled)
})
