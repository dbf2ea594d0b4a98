/**
 * Trust: how far each slot's picture is believed, and how much of its overlap counts.
 *
 * Owns     per slot: a state (`TrustTable`) and what was delivered against what was predicted (`TrustEvidence`).
 * Hears    the health of the slot's event stream, restarts, and every request's prediction and delivery: synchronously.
 * Answers  `of`, synchronously; `onChange`; `onSuspect`, when a whole stream is contradicted and should be read again.
 * Loses    everything, when the process ends: all slots begin as `approximate`.
 *
 * credit = base of the state · share delivered of what was predicted, where that is below 0.8 (at least 0.1).
 */
import { Clock, Context, Effect, Layer } from "effect"
import type { Trust as Shown } from "../src/domain/Worker.ts"
import type { Health } from "./Followed.ts"
import { type Errors, TrustEvidence } from "./TrustEvidence.ts"
import * as Table from "./TrustTable.ts"

/** One slot, as shown. */
export interface View {
  readonly trust: Shown
  readonly state: Table.State
  /** Why it is not exact; a fragment, empty when there is nothing to say. */
  readonly why: string
  /** When this state began, ms since the epoch. */
  readonly sinceMs: number
  /** Share of the slot's overlap to believe, 0 to 1. */
  readonly credit: number
  readonly error: Errors
}

export interface Interface {
  /** A slot begins: nothing is known. `name` is for logs. */
  readonly join: (slot: number, name: string) => void
  readonly leave: (slot: number) => void
  /** What its event stream has become. */
  readonly health: (slot: number, health: Health, why: string) => void
  /** Its engine's process is another one. */
  readonly restarted: (slot: number) => void
  /**
   * One request: leading prompt tokens it was thought to hold, and those the engine says it took from its cache. False
   * when that means nothing: some fronts say 0 whatever happens. Events prove that there is a cache, and in a cache what
   * is sent twice is found, be the picture of it right or wrong: so a slot with events that has never told of a hit does
   * not report. Without events 0 may be the truth (caching is off), and counts.
   */
  readonly delivered: (
    slot: number,
    predictedTokens: number,
    deliveredTokens: number,
    promptTokens: number,
    evictedTokens?: number
  ) => boolean
  /** Null for a slot that has not joined. */
  readonly of: (slot: number) => View | null
  /** Calls back on every change of state, and when the credit has moved by more than 0.02. */
  readonly onChange: (listener: (slot: number, view: View) => void) => void
  /** Calls back when the slot's cache should be read again. */
  readonly onSuspect: (listener: (slot: number) => void) => void
}

/** An engine that reports nothing from its cache, ever, is told apart from a cold one by a little. */
const creditMin = 0.1
const creditStep = 0.02
/** First pause between two suspicions of one slot; doubles, up to the second, until it is confirmed. */
const suspectMsMin = 60_000
const suspectMsMax = 3_600_000

/**
 * A picture is degraded for so long before it is said: a planned change of who reads the events proves itself by a replay in
 * less, and so do most holes. What heals in that time is counted, and no news to an operator.
 */
const sayMs = 1_000

interface Entry {
  readonly name: string
  /** What was said of it last. */
  said: string
  state: Table.State
  why: string
  sinceMs: number
  evidence: TrustEvidence
  /** It has told of a hit, so its zeros are reports, too. */
  reports: boolean
  creditTold: number
  suspectAtMs: number
  suspectPauseMs: number
}

const healthEvents: { readonly [H in Health]: Table.Event } = { whole: "Whole", broken: "Broken", absent: "Absent" }

/** The actor without its runtime. `now`: ms since the epoch; `after`: calls back after so many ms, at once unless given. */
export const make = (
  now: () => number,
  log: (level: "info" | "warning", message: string) => void,
  after: (ms: number, run: () => void) => void = (_, run) => run()
): Interface => {
  const slots = new Map<number, Entry>()
  const changed = new Set<(slot: number, view: View) => void>()
  const suspected = new Set<(slot: number) => void>()

  const creditOf = ({ evidence, state }: Entry) => Table.baseCredit[state] * evidence.factor(creditMin)

  const viewOf = (entry: Entry): View => ({
    trust: Table.shown[entry.state],
    state: entry.state,
    why: entry.why,
    sinceMs: entry.sinceMs,
    credit: creditOf(entry),
    error: entry.evidence.errors()
  })

  const tell = (slot: number, entry: Entry) => {
    const view = viewOf(entry)
    entry.creditTold = view.credit
    for (const listener of changed) listener(slot, view)
  }

  const say = (slot: number, entry: Entry) => {
    const sentence = sentenceOf(entry)
    if (slots.get(slot) !== entry || sentence === entry.said) return
    entry.said = sentence
    log(levelOf[entry.state], sentence)
  }

  const sayOf = (slot: number, entry: Entry) => {
    if (entry.state !== "degraded") say(slot, entry)
    else after(sayMs, () => entry.state === "degraded" && say(slot, entry))
  }

  const move = (slot: number, entry: Entry, event: Table.Event, why: string) => {
    const before = entry.state
    entry.state = Table.next(before, event)
    if (entry.state === before) {
      // A picture contradicted stays so for that reason, whatever is said of the stream.
      if (before !== "contradicted") entry.why = why
      return
    }
    entry.why = why
    entry.sinceMs = now()
    // Another kind of picture: what was delivered tells nothing about it.
    if (before === "approximate" || entry.state === "approximate") entry.evidence = new TrustEvidence()
    else if (event === "Whole") entry.evidence.again()
    sayOf(slot, entry)
    tell(slot, entry)
  }

  return {
    join: (slot, name) => {
      const entry: Entry = {
        name,
        said: "",
        state: "approximate",
        why: "no events",
        sinceMs: now(),
        evidence: new TrustEvidence(),
        reports: false,
        creditTold: Table.baseCredit.approximate,
        suspectAtMs: 0,
        suspectPauseMs: suspectMsMin
      }
      slots.set(slot, entry)
      tell(slot, entry)
    },
    leave: (slot) => void slots.delete(slot),
    health: (slot, health, why) => {
      const entry = slots.get(slot)
      if (entry !== undefined) move(slot, entry, healthEvents[health], why)
    },
    restarted: (slot) => {
      const entry = slots.get(slot)
      if (entry === undefined) return
      entry.evidence = new TrustEvidence()
      entry.reports = false
      move(slot, entry, "Restarted", entry.state === "contradicted" ? "" : entry.why)
      if (Math.abs(creditOf(entry) - entry.creditTold) > creditStep) tell(slot, entry)
    },
    delivered: (slot, predictedTokens, deliveredTokens, promptTokens, evictedTokens = 0) => {
      const entry = slots.get(slot)
      if (entry === undefined) return false
      const { evidence } = entry
      if (deliveredTokens > 0) entry.reports = true
      const reports = entry.reports || entry.state === "approximate"
      if (!reports && predictedTokens > 0) return false
      evidence.add(predictedTokens, deliveredTokens, promptTokens, evictedTokens)
      const verdict = evidence.verdict()
      if (verdict === "Confirmed") {
        entry.suspectPauseMs = suspectMsMin
        if (entry.state === "contradicted") move(slot, entry, verdict, "")
      } else if (verdict === "Contradicted") {
        const percent = Math.round((evidence.errors().deliveredShare ?? 0) * 100)
        if (entry.state === "exact") {
          move(slot, entry, verdict, `its engine takes from its cache ${percent} % of what was predicted`)
        }
        const nowMs = now()
        if (entry.state === "contradicted" && nowMs >= entry.suspectAtMs) {
          entry.suspectAtMs = nowMs + entry.suspectPauseMs
          entry.suspectPauseMs = Math.min(suspectMsMax, entry.suspectPauseMs * 2)
          for (const listener of suspected) listener(slot)
        }
      }
      if (Math.abs(creditOf(entry) - entry.creditTold) > creditStep) tell(slot, entry)
      return reports
    },
    of: (slot) => {
      const entry = slots.get(slot)
      return entry === undefined ? null : viewOf(entry)
    },
    onChange: (listener) => void changed.add(listener),
    onSuspect: (listener) => void suspected.add(listener)
  }
}

const levelOf: { readonly [S in Table.State]: "info" | "warning" } = {
  approximate: "info",
  exact: "info",
  degraded: "warning",
  contradicted: "warning"
}

const sentenceOf = ({ name, state, why }: Entry): string => {
  const reason = why === "" ? "" : `: ${why}`
  switch (state) {
    case "exact":
      return `The cache of worker "${name}" is known exactly${why === "" ? "" : `, though not all of it (${why})`}`
    case "approximate":
      return `The cache of worker "${name}" is known approximately${reason}`
    default:
      return `The cache of worker "${name}" is degraded${reason}`
  }
}

export class Trust extends Context.Service<Trust, Interface>()("warmpath/actors/Trust") {
  static readonly layer: Layer.Layer<Trust> = Layer.effect(
    this,
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const fork = Effect.runForkWith(yield* Effect.context<never>())
      return Trust.of(
        make(
          () => clock.currentTimeMillisUnsafe(),
          (level, message) => void fork(level === "info" ? Effect.logInfo(message) : Effect.logWarning(message)),
          (ms, run) => void fork(Effect.andThen(Effect.sleep(ms), Effect.sync(run)))
        )
      )
    })
  )
}
