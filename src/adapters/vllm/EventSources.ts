/**
 * `GET /kv_event_sources`: where each data-parallel rank publishes its KV events.
 *
 * Shape: `[{data_parallel_rank, endpoint, replay_endpoint, topic}]`, or the same list under `sources`. Both were merged
 * or proposed; vLLM without the route answers 404. Source: vllm-project/vllm#55844, `serve/kv_events/api_router.py`.
 */
import type { EventSource } from "../../domain/Worker.ts"

const anyHost = /^tcp:\/\/(?:\*|0\.0\.0\.0|\[::\]|::)?:(\d+)$/

/** An address a subscriber can connect to: where the publisher bound every interface, the worker's own host. */
const dialable = (endpoint: unknown, host: string): string | null => {
  if (typeof endpoint !== "string" || endpoint === "") return null
  const bound = anyHost.exec(endpoint)
  const address = bound === null ? endpoint : `tcp://${host}:${bound[1]}`
  if (address.startsWith("ipc://")) return address
  const port = /^tcp:\/\/.+:(\d+)$/.exec(address)?.[1]
  // Port 0 is a wish, not an address.
  return port === undefined || Number(port) === 0 || Number(port) > 65_535 ? null : address
}

/** Sources in rank order; what is no address is left out, so that one bad entry does not hide the others. */
export const read = (body: unknown, workerUrl: string): ReadonlyArray<EventSource> => {
  const list = Array.isArray(body) ? body : (body as { readonly sources?: unknown } | null)?.sources
  if (!Array.isArray(list)) return []
  const host = new URL(workerUrl).hostname
  const sources: Array<EventSource> = []
  list.forEach((item: unknown, index) => {
    if (typeof item !== "object" || item === null) return
    const entry = item as Readonly<Record<string, unknown>>
    const endpoint = dialable(entry["endpoint"], host)
    if (endpoint === null) return
    const rank = entry["data_parallel_rank"]
    sources.push({
      endpoint,
      replayEndpoint: dialable(entry["replay_endpoint"], host),
      topic: typeof entry["topic"] === "string" ? entry["topic"] : "",
      rank: typeof rank === "number" && Number.isInteger(rank) && rank >= 0 ? rank : index
    })
  })
  return sources.sort((a, b) => a.rank - b.rank)
}
