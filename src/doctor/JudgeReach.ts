/** JudgeReach: from what answered at a worker's address to findings. Pure. */
import * as Finding from "./Finding.ts"
import type { Known, Reach, Seen } from "./Seen.ts"

const askFor = "answers"

/** Why a worker cannot be asked anything; null when it can. */
const away = (
  { hasModels, status, stripped, why }: Reach,
  worker: string,
  url: string
): Finding.WorkerFinding | null => {
  if (stripped?.hasModels === true && !hasModels) {
    return Finding.wrong(worker, "url-path", askFor, `models are at ${stripped.url}/v1/models, not at ${url}/v1/models`)
  }
  if (status === 0) return Finding.wrong(worker, "unreachable", askFor, `no: ${why}`)
  if (status === 401 || status === 403) return Finding.wrong(worker, "api-key", askFor, why)
  return hasModels ? null : Finding.wrong(worker, "not-an-engine", askFor, `${why}, without a list of models`)
}

const about = ({ facts, model }: Known): string => {
  const size = facts.blockSize === null ? "block size not told" : `${facts.blockSize} tokens a block`
  const ranks = facts.ranks.length > 1 ? `, ${facts.ranks.length} ranks` : ""
  return `${facts.engine}, serves ${model}, ${size}${ranks}`
}

/** The first probe that was refused. Where tokens are served, a model without chats or salts may be meant to be. */
const refused = ({ facts, probes }: Known, worker: string): Finding.WorkerFinding | null => {
  const failed = probes.find(({ answer }) => answer.status !== 200)
  if (failed === undefined) return null
  const { status, why } = failed.answer
  const value = `${failed.name}: ${status === 0 ? why : `${status} ${why}`}`
  if (status === 401 || status === 403) return Finding.wrong(worker, "api-key", "serves", value, facts.engine)
  const level = failed.name === "cold" || failed.name === "warm" ? "fault" : "warning"
  return Finding.wrong(worker, "probe-refused", "serves", value, facts.engine, level)
}

export const judge = ({ known, reach, spec, why }: Seen): ReadonlyArray<Finding.WorkerFinding> => {
  const worker = spec.id
  const gone = away(reach, worker, spec.url)
  if (gone !== null) return [gone]
  if (known === null) return [Finding.wrong(worker, "unreachable", askFor, why)]
  const failed = refused(known, worker)
  return [Finding.well(worker, askFor, about(known)), ...(failed === null ? [] : [failed])]
}
