/** Which engine answers at an address, asked of the worker itself. One entry per adapter folder. */
import type { WorkerSpec } from "../domain/Worker.ts"
import type { Engine } from "../ports/Engine.ts"
import * as HttpJson from "./http/HttpJson.ts"
import * as OpenAi from "./openai/Engine.ts"
import * as Models from "./openai/Models.ts"
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

  const detect: Engines["detect"] = async ({ apiKey, url }, signal) => {
    http.authorize(url, apiKey)
    const { ownedBy } = await Models.ask(http, url, signal)
    if (ownedBy === "vllm") return vllm
    if (ownedBy === "sglang") return openai
    // A vLLM behind a launcher that renames the owner still shows its metrics.
    const metrics = await http.get(`${url}/metrics`, signal).catch(() => null)
    signal.throwIfAborted()
    return metrics?.status === 200 && /^vllm[:_]/m.test(metrics.text) ? vllm : openai
  }

  return { detect, close: http.close }
}
