/**
 * How much the terms of the cost count. Constants: sources and what each is worth are in README.md, "Cost", and only the
 * ablation that measures it (`loadtest/Ablation.bench.ts`) ever writes to them.
 */
export const weights = {
  /** Price of one ms of added work on an idle fleet. */
  price: 1,
  /** Price per request queued, fleet-wide mean per worker. 4 to 8 is a flat optimum on public traces. */
  queuedPrice: 4,
  /** Tokens missing until a request has room, over tokens that a mean answer's time frees. */
  space: 2,
  /** Share of the time that context decoded beside it costs an answer. */
  decode: 0.05,
  /** Of what recent work may weigh at most. */
  recent: 1
}
