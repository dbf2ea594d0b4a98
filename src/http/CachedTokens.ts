/**
 * What an answer says was cached. vLLM (in most versions) and SGLang leave a 0 out, just as they leave out all of it where
 * they were not told to report: so from a worker's first hit on, saying nothing means that nothing was found. Kinds of
 * answers are told apart, for not every version reports in each; so are the worker's processes, where it tells them apart.
 * Source: vllm-project/vllm `entrypoints/openai/serving_chat.py`, sgl-project/sglang `entrypoints/openai/usage_processor.py`.
 */
import type { WorkerFacts } from "../domain/Worker.ts"
import type { Usage } from "../hot/SseScan.ts"

interface Told {
  readonly startedAtMs: number | null
  readonly kinds: Set<string>
}

export class CachedTokens {
  /** By a worker's spec, which lives as long as the worker is listed. */
  private readonly workers = new WeakMap<object, Told>()

  /** The usage of a whole answer, with what it leaves out. */
  read(spec: object, { startedAtMs }: Pick<WorkerFacts, "startedAtMs">, kind: string, usage: Usage): Usage {
    let told = this.workers.get(spec)
    if (told === undefined || told.startedAtMs !== startedAtMs) {
      told = { startedAtMs, kinds: new Set() }
      this.workers.set(spec, told)
    }
    if (usage.cachedTokens !== null) {
      if (usage.cachedTokens > 0) told.kinds.add(kind)
      return usage
    }
    return told.kinds.has(kind) ? { ...usage, cachedTokens: 0 } : usage
  }
}
