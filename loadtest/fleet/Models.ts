/** `GET /v1/models`: the names of the model, then its adapters, whose parent is the first name. */
import type { Handler } from "./Http.ts"
import type { Json } from "./Model.ts"
import * as Plan from "./Plan.ts"

/** `more` is what this engine's cards hold besides. */
export const list =
  (owner: string, more: Json = {}): Handler =>
  ({ model, options }, { reply }) => {
    const card = (id: string, root: string, parent: string | null, maxModelLen: number | null): Json => ({
      id,
      object: "model",
      created: Math.floor(Date.now() / 1000),
      owned_by: owner,
      root,
      parent,
      max_model_len: maxModelLen,
      ...more
    })
    reply.json(200, {
      object: "list",
      data: [
        ...options.models.map((id) => card(id, model.folder, null, Plan.contextMax(options))),
        ...options.loras.map((id) => card(id, `/adapters/${id}`, options.models[0]!, null))
      ]
    })
  }
