/**
 * What one slot's engine delivered from its cache, beside what was predicted. Pure; O(1) per request.
 *
 * Every sum fades by 1/32 with each request it counts, so that about the last 32 weigh. The delivered share is of
 * requests with a prediction (at least one block), by tokens: min(delivered + evicted meanwhile, predicted) / predicted. A
 * long queue makes evictions between placement and admission common. A request that was
 * sent to a cold worker says nothing about what is believed of it.
 */
const fade = 1 - 1 / 32

/**
 * Samples before the share counts in full, and before anything is concluded. A block may be evicted between placement and
 * admission, so single misses are normal; eight in a row that lose half of what was predicted are not: at the
 * one-in-ten rate of a churning cache that is one in a hundred million.
 */
const samplesMin = 8
/** Below this share a picture is contradicted: it is more wrong than right. */
const contradictedBelow = 0.5
/** Above this it is confirmed: what a churning cache with a right picture delivers. Between them nothing changes. */
const confirmedAbove = 0.8

/** Errors are predicted minus delivered, in tokens; shares are of the prompt. Of about the last 32 requests. */
export interface Errors {
  /** Requests counted since the picture began. */
  readonly samples: number
  readonly meanTokens: number
  readonly meanShare: number
  /** Mean tokens predicted and not delivered; and delivered and not predicted. */
  readonly overTokens: number
  readonly underTokens: number
  /** Of the tokens predicted; null before there is any. */
  readonly deliveredShare: number | null
}

export class TrustEvidence {
  private samples = 0
  private weight = 0
  private over = 0
  private under = 0
  private prompt = 0
  private predicted = 0
  private hit = 0
  /** Requests with a prediction: in all, and since `again`. */
  private predictions = 0
  private since = 0

  /** `evictedTokens`: what the worker said it let go after the placement was predicted rightly, and is not held against it. */
  add(predictedTokens: number, deliveredTokens: number, promptTokens: number, evictedTokens: number): void {
    this.samples++
    this.weight = this.weight * fade + 1
    this.over = this.over * fade + Math.max(0, predictedTokens - deliveredTokens)
    this.under = this.under * fade + Math.max(0, deliveredTokens - predictedTokens)
    this.prompt = this.prompt * fade + promptTokens
    if (predictedTokens <= 0) return
    this.predictions++
    this.since++
    this.predicted = this.predicted * fade + predictedTokens
    this.hit = this.hit * fade + Math.min(predictedTokens, deliveredTokens + evictedTokens)
  }

  /** The picture has been renewed: it must be contradicted anew. The share is kept, as the best guess. */
  again(): void {
    this.since = 0
  }

  /** What the share of the last requests says; null while there are too few, or it lies between. */
  verdict(): "Contradicted" | "Confirmed" | null {
    if (this.since < samplesMin) return null
    const share = this.hit / this.predicted
    if (share < contradictedBelow) return "Contradicted"
    return share > confirmedAbove ? "Confirmed" : null
  }

  /**
   * What to multiply a credit with: 1 while unknown, or while what is delivered is what a right picture of a churning cache
   * delivers; below that falling with the share, once enough is known; at least `floor`.
   */
  factor(floor: number): number {
    if (this.predictions === 0) return 1
    const known = Math.min(1, this.predictions / samplesMin)
    const share = Math.min(1, this.hit / this.predicted / confirmedAbove)
    return Math.max(floor, 1 - (1 - share) * known)
  }

  errors(): Errors {
    const { over, predicted, prompt, samples, under } = this
    const weight = Math.max(1, this.weight)
    return {
      samples,
      meanTokens: (over - under) / weight,
      meanShare: prompt === 0 ? 0 : (over - under) / prompt,
      overTokens: over / weight,
      underTokens: under / weight,
      deliveredShare: predicted === 0 ? null : this.hit / predicted
    }
  }
}
