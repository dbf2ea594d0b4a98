/** Engine: what differs between vLLM, SGLang and the rest. One adapter folder each, same file names. */

import type { EngineBatch } from "../domain/KvEvent.ts"
import type { Prompt } from "../domain/Request.ts"
import type { EngineLoad, WorkerFacts } from "../domain/Worker.ts"

export interface Engine {
  readonly name: string
  /** Everything the router wants to know of a worker, in one visit. Rejects when the worker does not answer. */
  readonly discover: (url: string, signal: AbortSignal) => Promise<WorkerFacts>
  /**
   * True when the worker says it can serve; a busy one can. `deep`: where the engine can, by generating a token; asked
   * before a worker that failed is believed again. Rejects when it does not answer.
   */
  readonly healthy: (url: string, signal: AbortSignal, deep: boolean) => Promise<boolean>
  /** Null where it does not tell, or cannot just now. Rejects when it does not answer. */
  readonly load: (url: string, signal: AbortSignal) => Promise<EngineLoad>
  /** The engine's own tokenisation, or null when it declines. Rejects when the worker does not answer. */
  readonly tokenize: (url: string, model: string, prompt: Prompt, signal: AbortSignal) => Promise<Uint32Array | null>
  /** One published payload. Throws on bytes that are no batch at all; unknown events and fields are tolerated. */
  readonly decode: (payload: Uint8Array) => EngineBatch
}
