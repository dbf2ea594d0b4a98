/** A way to route that a replay can run: the router's own, a rival's, or a bound that no router can reach. */
import type { Ledger } from "../../actors/Ledger.ts"
import type { Request } from "./Trace.ts"

export interface Strategy {
  /** As named on the command line and in tables. */
  readonly name: string
  /** One line: what it does, and with which settings. */
  readonly about: string
  readonly kind: "ours" | "rival" | "bound"
  /** A rival as its own project sets it, not as we tuned it in its favour. */
  readonly isDefault?: boolean
  /** A rival as nobody ships it: see `Rival.Setting`. */
  readonly isOurs?: boolean
  /** How often it reads the engines' `/metrics`, ms; null when it does not. */
  readonly scrapeMs: number | null
  /** All engines share one cache, as large as theirs together. */
  readonly pooled?: boolean
  readonly ledger: (setup: Setup) => Ledger["Service"]
}

export interface Setup {
  readonly workers: number
  readonly blockSize: number
  readonly capacityTokens: number
  readonly seed: number
  readonly truth: Truth
}

/** The engines as they are, now: what only a bound may look at. */
export interface Truth {
  /** The request that is being placed. */
  readonly asked: () => Request
  /** Its first token would come after so many ms, were it sent there now and nothing else after it. */
  readonly ttftMs: (slot: number, nowMs: number) => number
}
