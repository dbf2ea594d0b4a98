/**
 * `GET /kv_event_sources`: where each data-parallel rank publishes its KV events.
 *
 * Three shapes were seen in the making of that route and all are read: an object keyed by rank, `{"0": {publisher,
 * endpoint, replay_endpoint, topic, …}}`; a list of the same with `data_parallel_rank`; that list under `sources`. vLLM
 * without the route answers 404. Source: vllm-project/vllm#55844, `serve/kv_events/api_router.py`; #50033.
 */
import type { EventSource } from "../../domain/Worker.ts"
import { dialable } from "../EventAddress.ts"

/** Entries with the rank their place in the answer gives them. */
const entriesOf = (body: unknown): ReadonlyArray<readonly [number, unknown]> => {
  if (typeof body !== "object" || body === null) return []
  if (Array.isArray(body)) return body.map((item, index) => [index, item])
  const { sources } = body as { readonly sources?: unknown }
  if (Array.isArray(sources)) return entriesOf(sources)
  return Object.entries(body)
    .filter(([key]) => /^\d{1,5}$/.test(key))
    .map(([key, item]) => [Number(key), item])
}

/** Sources in rank order; what is no address is left out, so that one bad entry does not hide the others. */
export const read = (body: unknown, workerUrl: string): ReadonlyArray<EventSource> => {
  const host = new URL(workerUrl).hostname
  const sources: Array<EventSource> = []
  for (const [index, item] of entriesOf(body)) {
    if (typeof item !== "object" || item === null) continue
    const entry = item as Readonly<Record<string, unknown>>
    if (entry["publisher"] !== undefined && entry["publisher"] !== "zmq") continue
    const endpoint = dialable(entry["endpoint"], host)
    if (endpoint === null) continue
    const rank = entry["data_parallel_rank"]
    sources.push({
      endpoint,
      replayEndpoint: dialable(entry["replay_endpoint"], host),
      topic: typeof entry["topic"] === "string" ? entry["topic"] : "",
      rank: typeof rank === "number" && Number.isInteger(rank) && rank >= 0 ? rank : index
    })
  }
  return sources.sort((a, b) => a.rank - b.rank)
}
