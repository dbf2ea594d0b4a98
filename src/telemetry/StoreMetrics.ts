/** What a router shows of its metadata store, read when it is scraped. */
import type { Described } from "./Described.ts"
import type { Registry } from "./Metrics.ts"
import * as ReadMetrics from "./ReadMetrics.ts"

const totals = {
  warmpath_store_shares_written_total: "Stretches of up to 32 blocks, each of one worker, that the store took",
  warmpath_store_failures_total: "Writes, and what belongs to them, that the store did not do; they are tried again",
  warmpath_store_resyncs_total: "Times that all there is of a worker was written anew",
  warmpath_store_fenced_total: "Times that another router was found to write of a worker, too",
  warmpath_store_begun_anew_total: "Times that the store had lost everything, and was told all anew",
  warmpath_store_dropped_workers_total:
    "Workers whose changes were dropped as the queue was full; they are written anew",
  warmpath_store_dropped_guesses_total: "The same of what was guessed of workers",
  warmpath_store_unplaced_blocks_total: "Blocks not written, as the index does not know what is before them",
  warmpath_store_recalled_blocks_total: "Blocks that workers joined with, as the store remembered them",
  warmpath_store_outlived_total: "Workers not recalled, as their engines had restarted since",
  warmpath_store_lookups_total: "Requests' prompts that the store was asked about",
  warmpath_store_lookups_failed_total: "Of those, the ones it did not answer",
  warmpath_store_lookups_late_total: "Of those, the ones that requests did not wait for",
  warmpath_store_lookups_skipped_total: "Prompts it was not asked about, as it was away, slow of late, or asked enough",
  warmpath_store_lookup_hits_total: "Requests that its answers helped",
  warmpath_store_lookup_blocks_won_total: "Blocks by which its answers raised the longest prefix of requests",
  warmpath_store_breaker_opens_total: "Times that nothing was asked for a second, as nothing came in time"
}

const levels = {
  warmpath_store_connected: "1 while the store is connected and takes what is written, else 0",
  warmpath_store_queued_shares: "Stretches of blocks that wait to be written",
  warmpath_store_queued_bytes: "Memory they take",
  warmpath_store_lag_seconds: "Age of the oldest of them",
  warmpath_store_workers_live: "Workers, tiers and guesses apart, of which the store has all there is",
  warmpath_store_workers_filling: "Workers of which the store is being told all there is"
}

export type Numbers = ReadMetrics.Numbers<keyof typeof totals, keyof typeof levels>

export const described: ReadonlyArray<Described> = ReadMetrics.describe({ totals, levels })

export const make = (registry: Registry, read: () => Numbers): void => {
  const take = ReadMetrics.make(registry, { totals, levels })
  registry.onScrape(() => take(read()))
}
