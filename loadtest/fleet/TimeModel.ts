/**
 * How long one engine step takes. Pure arithmetic; all times in milliseconds.
 *
 * A step reads the weights once (the floor) while it multiplies; whichever is slower counts. The KV of every running
 * decode is read besides, and a constant overhead is added. The defaults stand for Llama-3-70B in bf16 on four H100:
 * 140 GFLOP a token at 55 % of 4 x 989 TFLOP/s, 320 KiB of KV a token read at 10 TB/s, 140 GB of weights at 10 TB/s.
 */
export interface Rates {
  /** Reading the weights once, ms. */
  readonly floorMs: number
  /** Scheduling, sampling and launch, ms a step. */
  readonly overheadMs: number
  /** Dense layers, microseconds a token. */
  readonly tokenUs: number
  /** Prefill attention, nanoseconds a token and context token. */
  readonly attentionNs: number
  /** Decode attention, nanoseconds a context token. */
  readonly kvReadNs: number
}

export const llama70: Rates = { floorMs: 14, overheadMs: 4, tokenUs: 64, attentionNs: 1.9, kvReadNs: 33 }

/** A DeepSeek-V3-like model with latent attention on eight H200: a small cache and cheap attention. */
export const mla: Rates = { floorMs: 16, overheadMs: 5, tokenUs: 25, attentionNs: 1, kvReadNs: 4 }

/** The same engine `speed` times as fast. */
export const scaled = (rates: Rates, speed: number): Rates => ({
  floorMs: rates.floorMs / speed,
  overheadMs: rates.overheadMs / speed,
  tokenUs: rates.tokenUs / speed,
  attentionNs: rates.attentionNs / speed,
  kvReadNs: rates.kvReadNs / speed
})

/** What a step has to do. */
export interface StepWork {
  /** Prompt tokens computed in this step. */
  prefillTokens: number
  /** Sum over those tokens of the context each attends to. */
  prefillContext: number
  /** Requests that get one more token. */
  decodes: number
  /** Sum of their contexts. */
  decodeContext: number
}

/** Context tokens that `tokens` new tokens after `computed` old ones attend to, in sum. */
export const attended = (computed: number, tokens: number): number => tokens * computed + (tokens * (tokens + 1)) / 2

export const stepMs = (rates: Rates, work: StepWork): number => {
  const compute =
    ((work.prefillTokens + work.decodes) * rates.tokenUs) / 1e3 + (work.prefillContext * rates.attentionNs) / 1e6
  return Math.max(rates.floorMs, compute) + (work.decodeContext * rates.kvReadNs) / 1e6 + rates.overheadMs
}

/** What a prompt takes on an idle engine with nothing cached, in steps of `stepTokens`. */
export const coldMs = (rates: Rates, stepTokens: number, promptTokens: number): number => {
  let total = 0
  for (let computed = 0; computed < promptTokens; computed += stepTokens) {
    const tokens = Math.min(stepTokens, promptTokens - computed)
    total += stepMs(rates, {
      prefillTokens: tokens,
      prefillContext: attended(computed, tokens),
      decodes: 0,
      decodeContext: 0
    })
  }
  return total
}
