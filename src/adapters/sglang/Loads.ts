/**
 * How busy each data-parallel rank of SGLang is: `GET /v1/loads`, or `GET /get_load` in versions before it.
 *
 * A rank without a cache (`max_total_num_tokens` of 0) is not ready and no ranks at all means that the scheduler is
 * broken: both are unknown, never idle. Source: sgl-project/sglang `entrypoints/v1_loads.py`, `managers/io_struct.py`.
 */
import type { EngineLoad, RankLoad } from "../../domain/Worker.ts"
import { record } from "../http/HttpJson.ts"

export const unknown: RankLoad = { running: null, waiting: null, kvUsage: null }

const count = (told: unknown): number | null =>
  typeof told === "number" && Number.isFinite(told) && told >= 0 ? told : null

/** Counts are summed and usage is averaged over the ranks; where one rank is unknown so is the whole. */
export const ofRanks = (ranks: ReadonlyMap<number, RankLoad>): EngineLoad => {
  const total = (of: (rank: RankLoad) => number | null): number | null => {
    let sum = 0
    for (const rank of ranks.values()) {
      const told = of(rank)
      if (told === null) return null
      sum += told
    }
    return ranks.size === 0 ? null : sum
  }
  const usage = total((rank) => rank.kvUsage)
  return {
    running: total((rank) => rank.running),
    waiting: total((rank) => rank.waiting),
    kvUsage: usage === null ? null : usage / ranks.size,
    ranks
  }
}

const readRanks = (items: unknown, load: (item: Readonly<Record<string, unknown>>) => RankLoad): EngineLoad => {
  const ranks = new Map<number, RankLoad>()
  for (const [index, item] of (Array.isArray(items) ? items : []).entries()) {
    const told = record(item)
    if (told === null) continue
    const rank = told["dp_rank"]
    ranks.set(typeof rank === "number" && Number.isInteger(rank) && rank >= 0 ? rank : index, load(told))
  }
  return ofRanks(ranks)
}

/** The body of `/v1/loads`: `{loads: [{dp_rank, num_running_reqs, num_waiting_reqs, num_used_tokens, …}]}`. */
export const read = (body: unknown): EngineLoad =>
  readRanks(record(body)?.["loads"], (told) => {
    const tokens = count(told["max_total_num_tokens"])
    if (tokens === 0) return unknown
    const used = count(told["num_used_tokens"])
    return {
      running: count(told["num_running_reqs"]),
      waiting: count(told["num_waiting_reqs"]),
      // `token_usage` is that of the fullest pool, in two decimals.
      kvUsage: tokens === null || used === null ? count(told["token_usage"]) : Math.min(1, used / tokens)
    }
  })

/** The body of `/get_load`: `[{dp_rank, num_reqs, num_waiting_reqs, num_tokens}]`, where `num_reqs` counts both kinds. */
export const readOld = (body: unknown): EngineLoad =>
  readRanks(body, (told) => {
    const all = count(told["num_reqs"])
    const waiting = count(told["num_waiting_reqs"])
    return { running: all === null || waiting === null ? null : Math.max(0, all - waiting), waiting, kvUsage: null }
  })
