/** What a router shows of the deployment it is one of, read when it is scraped. */
import { type Described, gauge } from "./Described.ts"
import type { Registry } from "./Metrics.ts"
import * as ReadMetrics from "./ReadMetrics.ts"

const totals = {
  warmpath_log_entries_appended_total: "Batches of KV events that this router read and the log took",
  warmpath_log_append_failures_total: "Batches that the log did not take; the others ask for them",
  warmpath_log_entries_heard_total: "Batches of KV events heard from the log",
  warmpath_log_entries_fenced_total: "Batches of readers that had lost their lease, left out",
  warmpath_log_losses_total: "Times that entries of the log were missed, or it began anew",
  warmpath_replays_served_total: "Replays of KV events given to other routers",
  warmpath_replays_asked_total: "Replays of KV events asked of other routers",
  warmpath_pictures_taken_total: "Pictures of caches taken from other routers",
  warmpath_pictures_failed_total: "Pictures of caches that could not be taken",
  warmpath_picture_bytes_given_total: "Bytes of pictures given to other routers",
  warmpath_load_messages_sent_total: "Messages to other routers about requests here",
  warmpath_load_messages_unsent_total: "Such messages that could not be sent",
  warmpath_load_bytes_sent_total: "Their bytes",
  warmpath_load_messages_heard_total: "Messages of other routers about their requests",
  warmpath_load_gaps_total: "Times that such messages were missed",
  warmpath_load_expired_total: "Routers whose requests were dropped, as they were silent or gone"
}

const levels = {
  warmpath_bus_connected: "1 while the router is connected to NATS and nothing is wrong there, else 0",
  warmpath_replicas: "Routers of the deployment that are alive, this one among them",
  warmpath_log_lag_entries: "Entries of the log that this router has not heard yet",
  warmpath_log_lag_seconds: "How long it has been behind the log",
  warmpath_load_open_elsewhere: "Requests that other routers have open"
}

export interface Numbers extends ReadMetrics.Numbers<keyof typeof totals, keyof typeof levels> {
  /** Publishers of KV events by how this router hears them. */
  readonly roles: Readonly<Record<string, number>>
}

const publishers = gauge("warmpath_publishers", "Publishers of KV events by how this router hears them", ["role"])

export const described: ReadonlyArray<Described> = [...ReadMetrics.describe({ totals, levels }), publishers]

export const make = (registry: Registry, read: () => Numbers): void => {
  const take = ReadMetrics.make(registry, { totals, levels })
  registry.onScrape(() => {
    const numbers = read()
    take(numbers)
    for (const [role, count] of ReadMetrics.entriesOf(numbers.roles)) registry.gauge(publishers, { role }).set(count)
  })
}
