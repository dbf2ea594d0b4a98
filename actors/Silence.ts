/**
 * Silence: what it means that nothing was heard of a publisher.
 *
 * An idle engine publishes nothing, so silence alone proves nothing: now and then its last batch is asked for (a look),
 * ever more rarely. It means something once a request has ended that must have stored a block: then the publisher is
 * `silent` after `silenceMs`, and `absent` after `absentMs`. Pure; told the time.
 */
export interface Options {
  /**
   * A publisher silent for this long is looked at: the very last message may be the lost one. The next looks of the
   * same silence wait twice as long each, to 64 times.
   */
  readonly quietMs: number
  /** Silence, after its worker must have stored blocks, for which it is not believed any more. */
  readonly silenceMs: number
  /** The same for giving it up: its worker counts as one without events until it is heard. */
  readonly absentMs: number
}

export const defaults: Options = {
  // A stale tail costs a few misses, a look costs a replay.
  quietMs: 5_000,
  // Blocks are announced with the step that fills them; ten seconds are a long prefill's step and a stopped thread.
  silenceMs: 10_000,
  absentMs: 60_000
}

const doublingsMax = 6

export class Silence {
  silent = false
  absent = false
  /** When the next look is due. */
  lookAtMs: number
  private looks = 0
  /** -Infinity: never. */
  heardAtMs = -Infinity
  private expectedFromMs = Infinity
  private readonly options: Options

  constructor(options: Options, nowMs: number) {
    this.options = options
    this.lookAtMs = nowMs + options.quietMs
  }

  /** When time alone changes what it means; Infinity when it will not. */
  get dueMs(): number {
    const { absentMs, silenceMs } = this.options
    return this.expectedFromMs + (this.silent ? absentMs : silenceMs)
  }

  heard(nowMs: number): void {
    this.heardAtMs = nowMs
    this.lookAtMs = nowMs + this.options.quietMs
    this.looks = 0
    this.expectedFromMs = Infinity
    this.silent = false
  }

  /** A request that took so long has ended, and must have stored a block meanwhile. */
  expect(tookMs: number, nowMs: number): void {
    if (this.absent || this.heardAtMs >= nowMs - tookMs) return
    this.expectedFromMs = Math.min(this.expectedFromMs, nowMs)
  }

  /** Whether it has become silent or absent just now. */
  tick(nowMs: number): "silent" | "absent" | null {
    const { absentMs, silenceMs } = this.options
    if (nowMs >= this.expectedFromMs + absentMs) {
      this.absent = true
      this.silent = false
      this.expectedFromMs = Infinity
      return "absent"
    }
    if (this.silent || nowMs < this.expectedFromMs + silenceMs) return null
    this.silent = true
    this.lookAtMs = nowMs
    return "silent"
  }

  /** True when a look is due; the next one is put off. */
  look(nowMs: number): boolean {
    if (nowMs < this.lookAtMs) return false
    this.looks = Math.min(this.looks + 1, doublingsMax)
    this.lookAtMs = nowMs + this.options.quietMs * 2 ** this.looks
    return true
  }

  /** The next look waits as long as any. */
  postpone(nowMs: number): void {
    this.looks = doublingsMax
    this.lookAtMs = nowMs + this.options.quietMs * 2 ** doublingsMax
  }
}
