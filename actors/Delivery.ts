/** What a finished request shows of its worker's cache. Pure. */

/** One request, and what came of its prompts. Tokens; null where the engine does not say. */
export interface Finished {
  readonly prompts: number
  /** Of all prompts; estimated unless `exact`. */
  readonly promptTokens: number
  readonly exact: boolean
  /** Leading ones the worker was thought to hold. */
  readonly predictedTokens: number
  readonly deliveredTokens: number | null
  /** Blocks the worker evicted between placement and end, as its events tell. */
  readonly evictedBlocks: number
  readonly reportedPromptTokens: number | null
}

/**
 * The engine's tokens to one of ours: 1 where the prompts were tokenised as the engine does. What was estimated from bytes
 * may be off by half, and would accuse a worker of what it did not do.
 */
export const scale = ({ exact, promptTokens, reportedPromptTokens }: Finished): number =>
  exact || reportedPromptTokens === null || promptTokens === 0 ? 1 : reportedPromptTokens / promptTokens

/**
 * Whether it must have stored a block that its events tell of. `reports`: what it says it delivered means something; else
 * a prediction will do, where the picture is `complete`. The last block of a prompt that was cached whole is computed
 * again, and not every engine announces it: of two blocks one is new. Of many prompts one at least must be so long.
 */
export const stored = (finished: Finished, reports: boolean, complete: boolean, blockSize: number): boolean => {
  const { deliveredTokens, exact, predictedTokens, promptTokens, prompts, reportedPromptTokens } = finished
  const least = 2 * blockSize * prompts
  if (reports) return (reportedPromptTokens ?? 0) - (deliveredTokens ?? 0) >= least
  return exact && complete && promptTokens - predictedTokens >= least
}
