/** Which engine answers at an address, asked of the worker itself. One entry per adapter folder. */
import type { WorkerSpec } from "../domain/Worker.ts"
import type { Engine } from "../ports/Engine.ts"
import * as HttpJson from "./http/HttpJson.ts"
import * as OpenAi from "./openai/Engine.ts"
import * as Models from "./openai/Models.ts"
import * as Sglang from "./sglang/Engine.ts"
import * as Trtllm from "./trtllm/Engine.ts"
import * as Vllm from "./vllm/Engine.ts"

export interface Engines {
  /** The adapter for what answers at the worker's address; it brings the worker's key. Rejects when nothing answers. */
  readonly detect: (worker: Pick<WorkerSpec, "url" | "apiKey">, signal: AbortSignal) => Promise<Engine>
  readonly close: () => Promise<void>
}

/** Owns one connection pool for all questions to workers. */
export const make = (): Engines => {
  const http = HttpJson.make()
  const openai = OpenAi.make(http)
  const vllm = Vllm.make(http)
  const sglang = Sglang.make(http)
  /** By the owner each gives its models. */
  const owners = new Map([
    ["vllm", vllm],
    ["sglang", sglang],
    ["tensorrt_llm", Trtllm.make(http)]
  ])

  const detect: Engines["detect"] = async ({ apiKey, url }, signal) => {
    http.authorize(url, apiKey)
    const { ownedBy } = await Models.ask(http, url, signal)
    const named = owners.get(ownedBy)
    if (named !== undefined) return named
    // Behind a launcher that renames the owner, vLLM still shows its metrics and SGLang its model's origin.
    const [metrics, isSglang] = await Promise.all([
      http.get(`${url}/metrics`, signal).catch(() => null),
      Sglang.answers(http, url, signal).catch(() => false)
    ])
    signal.throwIfAborted()
    if (metrics?.status === 200 && /^vllm[:_]/m.test(metrics.text)) return vllm
    return isSglang ? sglang : openai
  }

  return { detect, close: http.close }
}
