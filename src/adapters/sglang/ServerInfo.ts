/**
 * `GET /server_info` (`/get_server_info` in older versions): every argument SGLang was started with, and what became of
 * them. The answer holds keys in clear text, so only the fields named here are ever taken out of it; the rest is neither
 * kept nor printed. Source: sgl-project/sglang `entrypoints/http_server.py`, `server_args.py`.
 */
import type { EventSource, WorkerFacts } from "../../domain/Worker.ts"
import { record, text } from "../http/HttpJson.ts"
import { positiveInt } from "../prometheus/EngineSeries.ts"
import * as EventSources from "./EventSources.ts"

export interface ServerInfo {
  /** Tokens per page. 1 is plain CUDA's default: then every token is a block. */
  readonly blockSize: number | null
  /** Pages of one rank. */
  readonly blockCount: number | null
  readonly eventSources: ReadonlyArray<EventSource>
  readonly ranks: ReadonlyArray<number>
  readonly priorityOrder: WorkerFacts["priorityOrder"]
  readonly unsetPriority: WorkerFacts["unsetPriority"]
  /** Where the tokenizer was loaded from, else the model. */
  readonly root: string | null
}

/** Where model and tokenizer came from, as `/server_info` and `/model_info` both tell it. */
export const rootOf = (body: unknown): string | null => {
  const info = record(body)
  return text(info?.["tokenizer_path"]) ?? text(info?.["model_path"])
}

/** SGLang puts a request without a priority behind all others, unless it was given a default for it. */
const unset = (value: unknown, lowFirst: boolean): number =>
  typeof value !== "number" ? Number.POSITIVE_INFINITY : lowFirst ? value : 0 - value

/** Null when the body is none of SGLang's. */
export const read = (body: unknown, workerUrl: string): ServerInfo | null => {
  const info = record(body)
  if (info === null) return null
  // Under context parallelism the page that events speak of is larger than the argument.
  const blockSize = positiveInt(record(info["kv_events"])?.["block_size"]) ?? positiveInt(info["page_size"])
  const tokens = positiveInt(info["max_total_num_tokens"])
  const ranks = EventSources.rankCount(info)
  const lowFirst = info["schedule_low_priority_values_first"] === true
  return {
    blockSize,
    blockCount: blockSize === null || tokens === null ? null : positiveInt(Math.floor(tokens / blockSize)),
    eventSources: EventSources.read(info, workerUrl),
    ranks: ranks > 1 ? Array.from({ length: ranks }, (_, rank) => rank) : [],
    priorityOrder: lowFirst ? "lowFirst" : "highFirst",
    unsetPriority: info["enable_priority_scheduling"] === true ? unset(info["default_priority_value"], lowFirst) : null,
    root: rootOf(info)
  }
}
