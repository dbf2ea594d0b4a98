/** Fallback: the first of several tokenizers that knows the answer; null when none does. */
import type { Tokenizer } from "../../ports/Tokenizer.ts"

/** Asks each in turn, synchronously for as long as they answer so. Closing it closes them all. */
export const make = (sources: ReadonlyArray<Tokenizer>): Tokenizer => {
  const from = (at: number, prompt: Parameters<Tokenizer["encode"]>[0]): ReturnType<Tokenizer["encode"]> => {
    for (let i = at; i < sources.length; i++) {
      const answer = sources[i]!.encode(prompt)
      if (answer instanceof Promise) return answer.then((ids) => ids ?? from(i + 1, prompt))
      if (answer !== null) return answer
    }
    return null
  }
  return {
    encode: (prompt) => from(0, prompt),
    close: async () => {
      await Promise.all(sources.map((source) => source.close()))
    }
  }
}
