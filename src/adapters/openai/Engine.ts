/** Anything that merely speaks the OpenAI API: models and health by `GET /v1/models`; no events, load or tokeniser. */
import type { Engine } from "../../ports/Engine.ts"
import type { HttpJson } from "../http/HttpJson.ts"
import * as Models from "./Models.ts"

export const make = (http: HttpJson): Engine => ({
  name: "unknown",
  discover: async (url, signal) => ({
    engine: "unknown",
    models: (await Models.ask(http, url, signal)).models,
    blockSize: null,
    blockCount: null,
    eventSources: [],
    ranks: [],
    priorityOrder: null,
    unsetPriority: null,
    tokenizes: false,
    startedAtMs: null
  }),
  healthy: async (url, signal) => (await http.get(`${url}/v1/models`, signal)).status === 200,
  load: async () => ({ running: null, waiting: null, kvUsage: null, ranks: new Map() }),
  tokenize: async (_url, _model, prompt) => (prompt._tag === "Tokens" ? prompt.ids : null),
  decode: () => {
    throw new Error("This engine publishes no KV events. Remove `events` from the worker, or use an engine that does.")
  }
})
