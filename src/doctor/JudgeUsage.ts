/** JudgeUsage: from what answers say of prompts and caches to findings: usage, salts. Pure. */
import * as Chains from "./Chains.ts"
import * as Finding from "./Finding.ts"
import { type Known, probeOf } from "./Seen.ts"

/** `isOff`: nothing is cached at all, as was found otherwise. */
export const judge = (worker: string, known: Known, isOff: boolean): ReadonlyArray<Finding.WorkerFinding> => {
  const { engine } = known.facts
  const warm = probeOf(known, "warm")
  const salted = probeOf(known, "salted")
  if (isOff || warm === null || warm.answer.status !== 200) return []
  const { cachedTokens, promptTokens } = warm.answer
  if (cachedTokens === null) {
    return [
      Finding.wrong(worker, "usage-details", "usage", "says nothing of cached tokens", engine),
      ...told(worker, known)
    ]
  }
  const usage = Finding.well(worker, "usage", `${cachedTokens} of ${promptTokens} tokens cached, the second time`)
  if (salted === null || salted.answer.status !== 200) return [usage]
  // An engine that leaves a 0 out found nothing.
  const shared = salted.answer.cachedTokens ?? 0
  return [
    usage,
    shared > 0
      ? Finding.wrong(worker, "salt-ignored", "cache_salt", `another salt finds ${shared} tokens`, engine)
      : Finding.well(worker, "cache_salt", "keeps equal prompts apart")
  ]
}

/** Of salts, where only events tell: under a salt of its own the prompt is stored again, and its blocks say so. */
const told = (worker: string, known: Known): ReadonlyArray<Finding.WorkerFinding> => {
  const salted = probeOf(known, "salted")
  if (salted?.prompt._tag !== "Tokens" || salted.salt === null) return []
  const chains = Chains.of(known.listened.flatMap(({ heard }) => heard))
  if (Chains.find(chains, salted.prompt.ids) === null) return []
  return Chains.find(chains, salted.prompt.ids, salted.salt) === null
    ? [Finding.wrong(worker, "salt-ignored", "cache_salt", "its blocks are stored without it", known.facts.engine)]
    : [Finding.well(worker, "cache_salt", "keeps equal prompts apart")]
}
