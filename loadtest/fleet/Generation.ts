/** One prompt, the answer it will get, and the tokens of both as blocks see them. */
import type { MmKey } from "./CacheEvent.ts"

/** A picture in a prompt: what names it, and the tokens that stand for it. */
export interface Picture {
  readonly identifier: string
  readonly offset: number
  readonly length: number
}

export interface Generation {
  readonly prompt: ReadonlyArray<number>
  readonly output: ReadonlyArray<number>
  readonly lora: string | null
  readonly salt: string | null
  readonly pictures?: ReadonlyArray<Picture>
  /** The lowest enters first. */
  readonly priority?: number
  /** Announce the reused prefix again. */
  readonly reportsAll?: boolean
  /** Called for each token, with the count so far; the last when it equals `output.length`. */
  readonly onToken: (generated: number, cachedTokens: number) => void
}

/** Tokens `[from, to)` of prompt and answer. */
export const tokens = ({ output, prompt }: Generation, from: number, to: number): ReadonlyArray<number> => {
  const out: Array<number> = []
  for (let i = from; i < to; i++) out.push(i < prompt.length ? prompt[i]! : output[i - prompt.length]!)
  return out
}

/** Pictures that touch tokens `[from, to)`, as the keys of a block of these. */
export const mmKeys = ({ pictures = [] }: Generation, from: number, to: number): ReadonlyArray<MmKey> =>
  pictures
    .filter(({ length, offset }) => offset < to && offset + length > from)
    .map(({ identifier, offset }) => [identifier, offset - from])
