/** Which engine answers at an address, asked of the worker itself. One entry per adapter folder. */
import type { Engine } from "../ports/Engine.ts"
import * as HttpJson from "./http/HttpJson.ts"
import * as OpenAi from "./openai/Engine.ts"
import * as Models from "./openai/Models.ts"
import * as Vllm from "./vllm/Engine.ts"

export interface Engines {
  /** The adapter for what answers at `url`. Rejects when nothing does. */
  readonly detect: (url: string, signal: AbortSignal) => Promise<Engine>
  /** By name, for a worker seen before. */
  readonly named: (name: string) => Engine | undefined
  readonly close: () => Promise<void>
}

/** Owns one connection pool for all questions to workers. */
export const make = (): Engines => {
  const http = HttpJson.make()
  const openai = OpenAi.make(http)
  const vllm = Vllm.make(http)
  const all = [vllm, openai]

  const detect = async (url: string, signal: AbortSignal): Promise<Engine> => {
    const { ownedBy } = await Models.ask(http, url, signal)
    if (ownedBy === "vllm") return vllm
    if (ownedBy === "sglang") return openai
    // A vLLM behind a launcher that renames the owner still shows its metrics.
    const metrics = await http.get(`${url}/metrics`, signal).catch(() => null)
    signal.throwIfAborted()
    return metrics?.status === 200 && /^vllm[:_]/m.test(metrics.text) ? vllm : openai
  }

  return { detect, named: (name) => all.find((engine) => engine.name === name), close: http.close }
}
