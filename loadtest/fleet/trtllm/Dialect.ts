/**
 * What is TensorRT-LLM's own, as far as a router sees it of `trtllm-serve`.
 *
 * Source: NVIDIA/TensorRT-LLM `tensorrt_llm/serve/openai_server.py`, `openai_protocol.py`. The hash stands in for its
 * radix key: of both, the low 64 bits are published, and only the engine can tell how they came about.
 */
import type { Dialect } from "../Dialect.ts"
import * as BlockHash from "../vllm/BlockHash.ts"
import { dialect as vllm } from "../vllm/Dialect.ts"
import * as Events from "./Events.ts"
import { routes } from "./Routes.ts"

export const dialect: Dialect = {
  namer: () => BlockHash.namer("trtllm"),
  encode: (_, rank) => Events.encode(rank),
  replayLayout: () => "topic",
  unique: true,
  routes,
  notFound: { detail: "Not Found" },
  error: ({ message, param, status, type }) => ({ object: "error", message, type, param, code: status }),
  adapterOf: vllm.adapterOf,
  rankOf: () => null,
  pictured: (ids) => ids,
  priorityOrder: () => 1
}
