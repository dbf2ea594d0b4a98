/**
 * SGLang over HTTP: what it serves, where it publishes, whether it is well, how busy each rank is, and its tokeniser.
 *
 * Everything is read with ordinary requests that a stock server answers; each beyond `/v1/models` may be missing in an
 * older version, and then that fact is null. Source: sgl-project/sglang `entrypoints/http_server.py`.
 */
import { LRUCache } from "lru-cache"
import type { EngineLoad, WorkerFacts } from "../../domain/Worker.ts"
import type { Engine } from "../../ports/Engine.ts"
import { type Answer, type HttpJson, json, optional, record } from "../http/HttpJson.ts"
import { decode } from "../kvevents/KvEvents.ts"
import * as Health from "../openai/Health.ts"
import * as Models from "../openai/Models.ts"
import { tokenIds } from "../openai/Tokenize.ts"
import * as Loads from "./Loads.ts"
import * as Metrics from "./Metrics.ts"
import * as ServerInfo from "./ServerInfo.ts"

/** The first of these paths that the worker knows. */
const first = async (
  http: HttpJson,
  url: string,
  paths: ReadonlyArray<string>,
  signal: AbortSignal
): Promise<Answer> => {
  let answer: Answer = { status: 404, text: "" }
  for (const path of paths) {
    answer = await optional(http.get(url + path, signal))
    if (answer.status !== 404) break
  }
  return answer
}

const infoPaths = ["/model_info", "/get_model_info"]

const modelInfo = async (http: HttpJson, url: string, signal: AbortSignal): Promise<unknown> =>
  json(await first(http, url, infoPaths, signal))

/** Whether SGLang answers here, whatever it calls its owner. */
export const answers = async (http: HttpJson, url: string, signal: AbortSignal): Promise<boolean> => {
  const info = record(await modelInfo(http, url, signal))
  return typeof info?.["model_path"] === "string" && typeof info["is_generation"] === "boolean"
}

/**
 * `/health` waits for a token too unless its operator turned that off (`SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION`): one
 * second when idle, and as long as no token comes while it computes long prompts (sgl-project/sglang#22511). Later than
 * this a worker is busy, not gone, if its front still answers; leaving it out would make the others busy as well.
 */
const busyAfterMs = 2_000

/** `busyMs`: how long `/health` may take before the worker's front is asked instead. */
export const make = (http: HttpJson, busyMs = busyAfterMs): Engine => {
  /** Workers of a version whose `/tokenize` knows texts only: to ask them again for each chat would be in vain. */
  const textOnly = new LRUCache<string, true>({ max: 1_024 })

  const discover = async (url: string, signal: AbortSignal): Promise<WorkerFacts> => {
    const { models } = await Models.ask(http, url, signal)
    const model = (models.find(({ parent }) => parent === null) ?? models[0]!).id
    const messages = [{ role: "user", content: "a" }]
    const [infoAnswer, metricsAnswer, text, chat] = await Promise.all([
      first(http, url, ["/server_info", "/get_server_info"], signal),
      optional(http.get(`${url}/metrics`, signal)),
      optional(http.post(`${url}/tokenize`, { model, prompt: "a" }, signal)),
      optional(http.post(`${url}/tokenize`, { model, messages }, signal))
    ])
    if (tokenIds(chat) === null) textOnly.set(url, true)
    else textOnly.delete(url)
    const info = ServerInfo.read(json(infoAnswer), url)
    const metrics = Metrics.read(metricsAnswer)
    const root = info?.root ?? ServerInfo.rootOf(await modelInfo(http, url, signal))
    return {
      engine: "sglang",
      // SGLang gives the served name for a root; only the adapters' is a path.
      models: models.map((each) => (each.parent === null ? { ...each, root: root ?? each.root } : each)),
      blockSize: info?.blockSize ?? metrics.blockSize,
      blockCount: info?.blockCount ?? metrics.blockCount,
      eventSources: info?.eventSources ?? [],
      ranks: info?.ranks ?? [],
      priorityOrder: info?.priorityOrder ?? null,
      unsetPriority: info?.unsetPriority ?? null,
      tokenizes: tokenIds(text) !== null,
      startedAtMs: metrics.startedAtMs
    }
  }

  const load = async (url: string, signal: AbortSignal): Promise<EngineLoad> => {
    const loads = await http.get(`${url}/v1/loads`, signal)
    // Any other failure is one of the scheduler, of which an older route would know no better.
    if (loads.status !== 404) return Loads.read(json(loads))
    const metrics = Metrics.read(await http.get(`${url}/metrics`, signal)).load
    return metrics.ranks.size > 0 ? metrics : Loads.readOld(json(await http.get(`${url}/get_load`, signal)))
  }

  const healthy = async (url: string, signal: AbortSignal, deep: boolean): Promise<boolean> => {
    if (deep) return Health.ask(http, url, signal, true)
    const late = AbortSignal.timeout(busyMs)
    try {
      return await Health.ask(http, url, AbortSignal.any([signal, late]), false)
    } catch (cause) {
      if (!late.aborted || signal.aborted) throw cause
      return (await first(http, url, infoPaths, signal)).status === 200
    }
  }

  return {
    name: "sglang",
    discover,
    healthy,
    load,
    tokenize: async (url, model, prompt, signal) => {
      if (prompt._tag === "Tokens") return prompt.ids
      if (prompt._tag === "Messages" && textOnly.has(url)) return null
      // A chat is put through the very code that serves chats, so every field of the prompt is sent as it is.
      const body =
        prompt._tag === "Text" ? { prompt: prompt.text, add_special_tokens: prompt.addSpecialTokens } : prompt.body
      return tokenIds(await http.post(`${url}/tokenize`, { ...body, model }, signal))
    },
    decode
  }
}
