/**
 * How fast each worker is: milliseconds of prefill and of decode, learned from what it did.
 *
 *   prefill ms of a request = a + b · uncached tokens + c · attention pairs
 *   decode ms of an output  = tokens · (d + e · context tokens active on the worker)
 *
 * Attention pairs: a token computed at position p looks at p tokens, so `uncached` tokens at the end of a prompt look
 * at `uncached · (prompt − uncached / 2)`.
 *
 * Learning: one step per observation, in logarithms, so coefficients stay positive and ten times too slow is as far away
 * as ten times too fast. The error ln(observed / predicted) is shared out over the terms by their share of the
 * prediction and, while few samples are known, over all alike: an engine is first "three times faster", and only later
 * "better at attention". Each error is clamped, so one stuck request moves little and a lasting change is followed in
 * some twenty requests.
 *
 * Like workers are one sample: a worker is predicted by its own row only while that differs from the fleet's by more
 * than noise, after four observations, the last of them not long ago. Otherwise the luckiest of equal workers would draw
 * all traffic of an idle fleet, and one that was slow for a while would never be asked again.
 *
 * Priors: between an 8B model on one H100 (≈ 32 µs per token) and a 70B one on four (140 GFLOP per token at 55 % of
 * 4 · 989 TFLOP/s = 64 µs; attention 1.9 ns per pair; 320 KiB of KV per context token at 10 TB/s = 33 ns per step;
 * a step has a floor of about 15 ms).
 */
export interface RateModel {
  readonly workersMax: number
  /** Every observation is taken as so many times what it was: 1, but where a replay asks what wrong rates cost. */
  readonly observed: number
  /** Five coefficients per row; row `slot`, and the fleet's at `workersMax`. */
  readonly theta: Float64Array
  /** Row that predicts a slot's prefill: its own, or the fleet's. */
  readonly row: Int32Array
  /** When a slot was last observed. */
  readonly learnedMs: Float64Array
  /** The slot whose age is checked next. */
  cursor: number
  /** Prefill observations per row. */
  readonly prefills: Uint32Array
  /** Decode observations per row. */
  readonly decodes: Uint32Array
}

export const terms = 5
/** a: ms per request · b: ms per token · c: ms per pair · d: ms per output token · e: ms per output and context token. */
const prior = Float64Array.of(20, 0.05, 1.5e-6, 15, 3e-5)
/** Coefficients stay within this factor of the priors: beyond it an observation is an accident, not an engine. */
const priorFactorMax = 1e4
/** Weight of a new observation, once many are known. */
const rateMin = 0.1
/** Greatest |ln(observed / predicted)| believed while a row is new, and later. */
const errorMaxNew = 3
const errorMax = Math.LN2
const newSamples = 8
/** |ln(own / fleet)| at which a worker gets, and loses, a row of its own. */
const apartEnter = 0.3
const apartLeave = 0.15
const comparedTokens = [256, 2048, 16_384]
const ownSamplesMin = 4
const believedMs = 60_000

const features = new Float64Array(terms)
const parts = new Float64Array(terms)

export const make = (workersMax: number, observed = 1): RateModel => {
  const theta = new Float64Array((workersMax + 1) * terms)
  for (let row = 0; row <= workersMax; row++) theta.set(prior, row * terms)
  return {
    workersMax,
    observed,
    theta,
    row: new Int32Array(workersMax + 1).fill(workersMax),
    learnedMs: new Float64Array(workersMax + 1),
    cursor: 0,
    prefills: new Uint32Array(workersMax + 1),
    decodes: new Uint32Array(workersMax + 1)
  }
}

export const attentionPairs = (promptTokens: number, uncachedTokens: number): number =>
  uncachedTokens * (promptTokens - uncachedTokens / 2)

/** Predicted prefill of a request, ms. `slot` may be `workersMax` for the fleet's own row. */
export const prefillMs = (model: RateModel, slot: number, promptTokens: number, uncachedTokens: number): number =>
  byRow(model.theta, model.row[slot]! * terms, promptTokens, uncachedTokens)

const byRow = (theta: Float64Array, at: number, promptTokens: number, uncachedTokens: number): number =>
  theta[at]! + theta[at + 1]! * uncachedTokens + theta[at + 2]! * uncachedTokens * (promptTokens - uncachedTokens / 2)

/** Predicted ms per output token without any context active. */
export const decodeFloorMs = (model: RateModel, slot: number): number =>
  model.theta[(model.decodes[slot]! > 0 ? slot : model.workersMax) * terms + 3]!

/** What each context token active on the worker adds to each output token, ms. */
export const decodeContextMs = (model: RateModel, slot: number): number =>
  model.theta[(model.decodes[slot]! > 0 ? slot : model.workersMax) * terms + 4]!

/**
 * Learns from a stretch of time in which a worker did this and nothing else: `requests` prefills of `uncachedTokens` and
 * `pairs` in all, and `outputTokens` at `activeTokens` of context. Any part may be zero.
 */
export const learn = (
  model: RateModel,
  slot: number,
  requests: number,
  uncachedTokens: number,
  pairs: number,
  outputTokens: number,
  activeTokens: number,
  ms: number,
  nowMs: number
): void => {
  if (!(ms >= 0) || ms === Infinity) return
  features[0] = requests
  features[1] = uncachedTokens
  features[2] = pairs
  features[3] = outputTokens
  features[4] = outputTokens * activeTokens
  const fleet = model.workersMax
  if (requests > 0) inherit(model, model.prefills, slot, 0, 3)
  if (outputTokens > 0) inherit(model, model.decodes, slot, 3, 5)
  const observedMs = ms * model.observed
  step(model, slot, observedMs)
  step(model, fleet, observedMs)
  if (requests > 0) {
    model.learnedMs[slot] = nowMs
    choose(model, slot)
  }
  // One other slot per observation: what was learned long ago is not believed for ever.
  const other = model.cursor
  model.cursor = other + 1 < fleet ? other + 1 : 0
  if (nowMs - model.learnedMs[other]! > believedMs) model.row[other] = fleet
}

/** A row of its own for a worker that is not like the others. */
const choose = (model: RateModel, slot: number): void => {
  const { row, theta, workersMax } = model
  const own = slot * terms
  const fleet = workersMax * terms
  let apart = 0
  for (const tokens of comparedTokens) {
    apart = Math.max(apart, Math.abs(Math.log(byRow(theta, own, tokens, tokens) / byRow(theta, fleet, tokens, tokens))))
  }
  const limit = row[slot] === slot ? apartLeave : apartEnter
  row[slot] = apart > limit && model.prefills[slot]! >= ownSamplesMin ? slot : workersMax
}

/** Forgets a worker: its slot will be another's. */
export const reset = (model: RateModel, slot: number): void => {
  model.row[slot] = model.workersMax
  model.prefills[slot] = 0
  model.decodes[slot] = 0
}

const inherit = (model: RateModel, samples: Uint32Array, slot: number, from: number, to: number): void => {
  if (samples[slot] !== 0) return
  const { theta, workersMax } = model
  theta.copyWithin(slot * terms + from, workersMax * terms + from, workersMax * terms + to)
  // A fleet that is known is a better guess than one observation.
  if (samples[workersMax]! >= newSamples) samples[slot] = 2
}

const step = (model: RateModel, row: number, ms: number): void => {
  const { theta, prefills, decodes } = model
  const at = row * terms
  let predicted = 0
  for (let k = 0; k < terms; k++) predicted += parts[k] = theta[at + k]! * features[k]!
  if (predicted <= 0) return
  let squares = 0
  for (let k = 0; k < terms; k++) {
    parts[k] = parts[k]! / predicted
    squares += parts[k]! * parts[k]!
  }
  const prefill = features[0]! > 0
  const decode = features[3]! > 0
  const known = prefill && decode ? Math.min(prefills[row]!, decodes[row]!) : prefill ? prefills[row]! : decodes[row]!
  const limit = known < newSamples ? errorMaxNew : errorMax
  const error = Math.max(-limit, Math.min(limit, Math.log(Math.max(ms, 1e-3) / predicted)))
  const common = 2 / (1 + known)
  const gain = (Math.max(rateMin, 1 / (1.2 + known)) * error) / (common + squares)
  const first = prefill ? 0 : 3
  const end = decode ? terms : 3
  for (let k = first; k < end; k++) {
    const moved = theta[at + k]! * Math.exp(gain * (common + parts[k]!))
    theta[at + k] = Math.max(prior[k]! / priorFactorMax, Math.min(prior[k]! * priorFactorMax, moved))
  }
  if (prefill) prefills[row] = prefills[row]! + 1
  if (decode) decodes[row] = decodes[row]! + 1
}
