/** A fleet behind one rival: requests are named by the contents of their prompt's blocks, and end when told. */
import * as Random from "../../loadtest/Random.ts"
import * as Rival from "../../loadtest/replay/rivals/Rival.ts"

export interface Prompt {
  /** What its full blocks contain. */
  readonly blocks: ReadonlyArray<number>
  /** All of it; the full blocks and one more token unless told. */
  readonly tokens?: number
  /** Leading tokens held, by slot, as events say. */
  readonly held?: ReadonlyArray<number>
  readonly session?: number
  readonly eligible?: ReadonlyArray<number>
}

export interface Sent {
  readonly slot: number
  readonly firstToken: () => void
  readonly end: () => void
}

/** `count` contents from `from` on. */
export const range = (from: number, count: number): Array<number> => Array.from({ length: count }, (_, i) => from + i)

/** Keys that name a block and all before it. */
export const keysOf = (blocks: ReadonlyArray<number>): Int32Array => {
  const keys = new Int32Array(2 * blocks.length)
  let [low, high] = [0, 0]
  for (const [i, block] of blocks.entries()) {
    ;[low, high] = [Random.mix(1, [low, high, block]), Random.mix(2, [low, high, block])]
    keys.set([low, high], 2 * i)
  }
  return keys
}

export class RivalRig {
  nowMs = 0
  readonly #options: Rival.Options
  readonly #ledger: ReturnType<typeof Rival.ledger>
  #fresh = 1_000_000

  constructor(setting: Rival.Setting, options: Partial<Rival.Options> = {}) {
    this.#options = { workers: 4, blockSize: 16, capacityTokens: 1_000_000, seed: 1, ...options }
    this.#ledger = Rival.ledger(setting.make, this.#options)
    for (let slot = 0; slot < this.#options.workers; slot++) this.#ledger.join(slot, this.#options.capacityTokens)
  }

  /** Where it would go. */
  place(prompt: Prompt): number {
    return this.#ledger.place(this.#ask(prompt), this.nowMs)
  }

  /** Sends it there, or to the worker named. */
  send(prompt: Prompt, to: number | null = null): Sent {
    const ask = this.#ask(prompt)
    const slot = to ?? this.#ledger.place(ask, this.nowMs)
    const booking = this.#ledger.book(slot, ask, true, this.nowMs)
    return {
      slot,
      firstToken: () => booking.firstByte(this.nowMs),
      end: () => booking.settle(this.nowMs, { outputTokens: 1, cachedTokens: null, outcome: "complete" })
    }
  }

  /** Sends a worker requests that have nothing in common. */
  load(slot: number, requests: number): ReadonlyArray<Sent> {
    return range(0, requests).map(() => this.send({ blocks: [this.#fresh++] }, slot))
  }

  #ask({ blocks, eligible, held, session, tokens }: Prompt): Rival.Ask {
    const { blockSize, workers } = this.#options
    const heldTokens = Uint32Array.from({ length: workers }, (_, slot) => held?.[slot] ?? 0)
    return {
      cachedTokens: heldTokens,
      heldTokens,
      promptTokens: tokens ?? blocks.length * blockSize + 1,
      keys: keysOf(blocks),
      blockSize,
      priority: null,
      eligible: eligible === undefined ? null : Uint8Array.from(eligible),
      session: session ?? null
    }
  }
}
