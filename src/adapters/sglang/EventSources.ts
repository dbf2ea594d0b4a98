/**
 * Where SGLang publishes its KV events, from `/server_info`: each data-parallel rank at a port of its own, base + rank.
 *
 * `kv_events` describes it: `{publisher, endpoint_host, endpoint_port_base, topic, block_size, dp_size}`, null when it
 * is off, and with several nodes `publishers: [{dp_rank, endpoint}]`. What it leaves out (the replay endpoint), and all
 * of it in versions before that field, stands in the text of `kv_events_config`, as the operator gave it at the start.
 * Source: sgl-project/sglang `disaggregation/kv_events.py`; pull requests 25844 and 38032.
 */
import type { EventSource } from "../../domain/Worker.ts"
import { dialable, isAnyHost } from "../EventAddress.ts"
import { record, text } from "../http/HttpJson.ts"
import { positiveInt } from "../prometheus/EngineSeries.ts"

type Fields = Readonly<Record<string, unknown>>

/** Host and port of a TCP endpoint; the port follows the last colon, since IPv6 hosts hold colons themselves. */
interface Base {
  readonly host: string
  readonly port: number
}

/** More ranks than any engine has: what is told is not believed beyond. */
const ranksMax = 1_024

const baseOf = (endpoint: unknown): Base | null => {
  const parts = /^tcp:\/\/(.*):(\d{1,5})$/.exec(text(endpoint) ?? "")
  return parts === null ? null : { host: parts[1]!, port: Number(parts[2]) }
}

const at = ({ host, port }: Base, rank: number, own: string): string | null => {
  const bracketed = host.includes(":") && !host.startsWith("[") && !isAnyHost(host) ? `[${host}]` : host
  return port === 0 ? null : dialable(`tcp://${bracketed}:${port + rank}`, own)
}

/** The operator's own words, which SGLang repeats as text. */
const configOf = (info: Fields): Fields | null => {
  const told = info["kv_events_config"]
  if (typeof told !== "string") return record(told)
  try {
    return record(JSON.parse(told))
  } catch {
    return null
  }
}

/** Ranks that publish from the host the worker answers at: with several nodes, only those of the first. */
const ranksHere = (info: Fields, ranks: number): number =>
  Math.ceil(ranks / Math.max(1, Math.min(positiveInt(info["nnodes"]) ?? 1, ranks)))

/** Data-parallel ranks, at least one. */
export const rankCount = (info: Fields): number =>
  Math.min(ranksMax, positiveInt(record(info["kv_events"])?.["dp_size"]) ?? positiveInt(info["dp_size"]) ?? 1)

/** Sources in rank order; what nobody can connect to is left out, so that one bad entry does not hide the others. */
export const read = (info: Fields, workerUrl: string): ReadonlyArray<EventSource> => {
  const own = new URL(workerUrl).hostname
  const config = configOf(info)
  const told = record(info["kv_events"])
  // Null says that nothing is published, whatever the operator wished for; a version without the field says nothing.
  if (told === null && info["kv_events"] !== undefined) return []
  const described = told ?? config
  if (described === null || described["publisher"] !== "zmq") return []
  const topic = text(described["topic"]) ?? ""
  const replay = baseOf(told?.["replay_endpoint"] ?? config?.["replay_endpoint"])
  const source = (endpoint: string | null, rank: number): ReadonlyArray<EventSource> =>
    endpoint === null
      ? []
      : [
          {
            endpoint,
            replayEndpoint: replay === null ? null : at(replay, rank, baseOf(endpoint)?.host ?? own),
            topic,
            rank
          }
        ]

  const publishers = described["publishers"]
  if (Array.isArray(publishers) && publishers.length > 0) {
    return publishers
      .flatMap((item) => {
        const rank = record(item)?.["dp_rank"]
        const isRank = typeof rank === "number" && Number.isInteger(rank) && rank >= 0 && rank < ranksMax
        return isRank ? source(dialable(record(item)?.["endpoint"], own), rank) : []
      })
      .sort((a, b) => a.rank - b.rank)
  }
  const host = described["endpoint_host"]
  const port = described["endpoint_port_base"]
  const base =
    told === null
      ? baseOf(described["endpoint"] ?? "tcp://*:5557")
      : typeof host === "string" && typeof port === "number" && Number.isInteger(port)
        ? { host, port }
        : null
  if (base === null) return []
  const ranks = rankCount(info)
  const count = isAnyHost(base.host) ? ranksHere(info, ranks) : ranks
  return Array.from({ length: count }, (_, rank) => source(at(base, rank, own), rank)).flat()
}
