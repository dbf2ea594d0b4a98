/**
 * How much the terms of the cost count. Constants: sources and what each is worth are in README.md, "Cost", and only the
 * ablation that measures it (`loadtest/Ablation.bench.ts`) ever writes to them.
 */
export const weights = {
  /** What one ms of work added costs on an idle fleet, so that siblings do not scatter over it. */
  basePrice: 0.5,
  /** Of the odds of finding a worker busy: what one ms of work added costs others. */
  busyPrice: 1,
  /** Of the requests that arrive at a worker while one is prefilled: each waits, or goes elsewhere and begins anew. */
  arrivalsPrice: 2,
  /** Tokens missing until a request has room, over tokens that a mean answer's time frees. */
  space: 2,
  /** Share of the time that context decoded beside it costs an answer. */
  decode: 0.05,
  /** Of what recent work may weigh at most. */
  recent: 1
}
