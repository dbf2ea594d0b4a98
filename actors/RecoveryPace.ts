/**
 * RecoveryPace: how often one publisher is asked to repeat itself.
 *
 * A budget of replays that fills again with time: no fault, however often it strikes, costs an engine more than one
 * replay per `regainMs` in the long run. And pauses that double with each failure of a kind; those between reconnects
 * are forgiven step by step in calm. Pure; told the time.
 */
export interface Options {
  /** Replays that may follow each other at once. */
  readonly replaysMax: number
  /** One more is allowed each time this has passed. */
  readonly regainMs: number
  /** Pause after a first failure; doubles up to the second number. */
  readonly backoffMsMin: number
  readonly backoffMsMax: number
  /** This long without a reconnect forgives one. */
  readonly calmMs: number
}

export const defaults: Options = {
  // A replay costs the engine's publisher thread a scan of its ring (10 000 entries: milliseconds) and holds back its
  // next batch by as much. Eight cover a burst of holes or a restart that comes up in pieces; one in five seconds for
  // ever is below a thousandth of that thread.
  replaysMax: 8,
  regainMs: 5_000,
  // An engine's replay thread looks at its queue every 100 ms.
  backoffMsMin: 250,
  // The budget gives one in five seconds for ever; a longer pause would only keep a healed stream in doubt.
  backoffMsMax: 5_000,
  calmMs: 10_000
}

export class RecoveryPace {
  private readonly options: Options
  private tokens: number
  private filledAtMs = 0
  private reconnects = 0
  private calmFromMs = 0

  constructor(options: Options) {
    this.options = options
    this.tokens = options.replaysMax
  }

  /** Replays that may start now. */
  left(nowMs: number): number {
    const { regainMs, replaysMax } = this.options
    const regained = Math.floor((nowMs - this.filledAtMs) / regainMs)
    if (regained > 0) {
      this.tokens = Math.min(replaysMax, this.tokens + regained)
      this.filledAtMs += regained * regainMs
    }
    return this.tokens
  }

  /** When as many will be left, if none is spent meanwhile; 0 when they are. */
  readyAtMs(count: number): number {
    const missing = count - this.tokens
    return missing <= 0 ? 0 : this.filledAtMs + missing * this.options.regainMs
  }

  spend(nowMs: number): void {
    // The first one of a full budget starts its clock.
    if (this.left(nowMs) === this.options.replaysMax) this.filledAtMs = nowMs
    this.tokens--
  }

  /** A replay that was allowed did not begin. */
  refund(): void {
    this.tokens = Math.min(this.options.replaysMax, this.tokens + 1)
  }

  /** The publisher came back: how long to wait before it is asked; 0 for the first time in a while. */
  reconnect(nowMs: number): number {
    const forgiven = Math.max(0, Math.floor((nowMs - this.calmFromMs) / this.options.calmMs))
    const before = Math.max(0, this.reconnects - forgiven)
    const pauseMs = this.pauseMs(before)
    this.reconnects = before + 1
    this.calmFromMs = nowMs + pauseMs
    return pauseMs
  }

  /** After so many failures in a row. */
  pauseMs(failures: number): number {
    const { backoffMsMax, backoffMsMin } = this.options
    return failures === 0 ? 0 : Math.min(backoffMsMax, backoffMsMin * 2 ** (failures - 1))
  }
}
