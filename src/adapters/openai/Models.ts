/** `GET /v1/models`, which every OpenAI-like server answers. Source: vLLM `protocol.py` ModelCard; OpenAI reference. */
import type { ServedModel } from "../../domain/Worker.ts"
import { type HttpJson, json, record, text, WorkerAnswer } from "../http/HttpJson.ts"

export interface Models {
  readonly models: ReadonlyArray<ServedModel>
  /** `owned_by` of the first entry: `vllm`, `sglang`, …; empty when not told. */
  readonly ownedBy: string
}

/** Entries without an id are skipped; an adapter inherits its base's context length. Null when this is no model list. */
export const read = (body: unknown): Models | null => {
  const data = record(body)?.["data"]
  if (!Array.isArray(data)) return null
  const models: Array<ServedModel> = []
  let ownedBy = ""
  for (const item of data) {
    const entry = record(item)
    const id = text(entry?.["id"])
    if (entry === null || id === null) continue
    if (models.length === 0) ownedBy = text(entry["owned_by"]) ?? ""
    const length = entry["max_model_len"]
    models.push({
      id,
      parent: text(entry["parent"]),
      root: text(entry["root"]),
      maxModelLen: typeof length === "number" && Number.isInteger(length) && length > 0 ? length : null
    })
  }
  return {
    ownedBy,
    models: models.map((model) =>
      model.maxModelLen === null && model.parent !== null
        ? { ...model, maxModelLen: models.find((base) => base.id === model.parent)?.maxModelLen ?? null }
        : model
    )
  }
}

/** Rejects when the worker does not answer, or answers with something else than models. */
export const ask = async (http: HttpJson, url: string, signal: AbortSignal): Promise<Models> => {
  const answer = await http.get(`${url}/v1/models`, signal)
  const models = read(json(answer))
  if (models === null || models.models.length === 0) {
    const fix =
      answer.status === 401
        ? "Give the worker the apiKey that its engine was started with."
        : "Is it still loading, or not an OpenAI-like server?"
    throw new WorkerAnswer(`GET ${url}/v1/models answered ${answer.status} without a list of models. ${fix}`)
  }
  return models
}
