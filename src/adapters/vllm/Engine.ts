/**
 * vLLM over HTTP: what it serves, whether it is well, how busy it is, and its own tokeniser.
 *
 * Everything is read with ordinary requests that a stock `vllm serve` answers; each beyond `/v1/models` may be missing
 * in an older version, and then that fact is null. Sources: vLLM `entrypoints/openai`, `entrypoints/serve/kv_events`.
 */
import type { Prompt } from "../../domain/Request.ts"
import type { WorkerFacts } from "../../domain/Worker.ts"
import type { Engine } from "../../ports/Engine.ts"
import { type HttpJson, json, optional } from "../http/HttpJson.ts"
import { decode } from "../kvevents/KvEvents.ts"
import * as Models from "../openai/Models.ts"
import { tokenIds } from "../openai/Tokenize.ts"
import * as EventSources from "./EventSources.ts"
import * as Metrics from "./Metrics.ts"

/** The `/tokenize` body whose tokens equal those of the real call, or null when that endpoint lacks a field for it. */
const question = (model: string, prompt: Exclude<Prompt, { _tag: "Tokens" }>): Record<string, unknown> | null => {
  if (prompt._tag === "Text") return { model, prompt: prompt.text, add_special_tokens: prompt.addSpecialTokens }
  const body = prompt.body
  // `/tokenize` has no such fields, yet all three can change the rendered prompt.
  if (body.documents != null || body.reasoning_effort != null) return null
  if (body.tools != null && body.tool_choice === "none") return null
  const asked: Record<string, unknown> = { model, messages: body.messages }
  if (body.tools != null) asked["tools"] = body.tools
  if (body.add_generation_prompt !== undefined) asked["add_generation_prompt"] = body.add_generation_prompt
  if (body.continue_final_message !== undefined) asked["continue_final_message"] = body.continue_final_message
  if (body.add_special_tokens !== undefined) asked["add_special_tokens"] = body.add_special_tokens
  if (body.chat_template != null) asked["chat_template"] = body.chat_template
  if (body.chat_template_kwargs != null) asked["chat_template_kwargs"] = body.chat_template_kwargs
  return asked
}

export const make = (http: HttpJson): Engine => {
  const discover = async (url: string, signal: AbortSignal): Promise<WorkerFacts> => {
    const { models } = await Models.ask(http, url, signal)
    const base = models.find((model) => model.parent === null) ?? models[0]!
    const [metrics, sources, probe] = await Promise.all([
      optional(http.get(`${url}/metrics`, signal)),
      optional(http.get(`${url}/kv_event_sources`, signal)),
      optional(http.post(`${url}/tokenize`, { model: base.id, prompt: "a" }, signal))
    ])
    const told = Metrics.read(metrics)
    const eventSources = EventSources.read(json(sources), url)
    const ranks = [...new Set([...eventSources.map(({ rank }) => rank), ...told.ranks])]
    return {
      engine: "vllm",
      models,
      blockSize: told.blockSize,
      blockCount: told.blockCount,
      eventSources,
      // One rank alone needs no number: behind an external balancer each has an address of its own.
      ranks: ranks.length > 1 ? ranks.sort((a, b) => a - b) : [],
      // Heeded only under `--scheduling-policy priority`, which vLLM does not tell. Otherwise V1 ignores it, V0 refused it.
      priorityOrder: "lowFirst",
      unsetPriority: null,
      tokenizes: tokenIds(probe) !== null,
      startedAtMs: told.startedAtMs
    }
  }

  return {
    name: "vllm",
    discover,
    healthy: async (url, signal) => (await http.get(`${url}/health`, signal)).status === 200,
    load: async (url, signal) => Metrics.read(await http.get(`${url}/metrics`, signal)).load,
    tokenize: async (url, model, prompt, signal) => {
      if (prompt._tag === "Tokens") return prompt.ids
      const body = question(model, prompt)
      return body === null ? null : tokenIds(await http.post(`${url}/tokenize`, body, signal))
    },
    decode
  }
}
