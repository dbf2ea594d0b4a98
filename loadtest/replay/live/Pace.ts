/** Pace: an agenda in the time of a trace, kept in real time: so many of its milliseconds in one of ours. */
import { Agenda } from "../Agenda.ts"

export class Pace {
  readonly #agenda = new Agenda()
  readonly #speed: number
  readonly #fromMs = performance.now()
  #timer: NodeJS.Timeout | undefined
  #armedFor = Number.POSITIVE_INFINITY
  #ended = false

  constructor(speed: number) {
    this.#speed = speed
  }

  /** Now, in the time of the trace. */
  get nowMs(): number {
    return (performance.now() - this.#fromMs) * this.#speed
  }

  /** What is due is done on a turn of its own, in order, never before its time. */
  add(atMs: number, act: (atMs: number) => void): void {
    this.#agenda.add(atMs, act)
    this.#arm()
  }

  /** Nothing more is done. */
  end(): void {
    this.#ended = true
    clearTimeout(this.#timer)
  }

  #arm(): void {
    const { nextAt } = this.#agenda
    if (this.#ended || nextAt >= this.#armedFor) return
    clearTimeout(this.#timer)
    this.#armedFor = nextAt
    // Node cuts fractions off, and would be early.
    this.#timer = setTimeout(() => this.#act(), Math.max(0, Math.ceil((nextAt - this.nowMs) / this.#speed)))
  }

  #act(): void {
    this.#armedFor = Number.POSITIVE_INFINITY
    while (!this.#ended && this.#agenda.nextAt <= this.nowMs) this.#agenda.next()
    this.#arm()
  }
}
