/** Listing: what clients read of the fleet: the models that it serves, and whether it can take a request. */
import type { Fleet } from "../../actors/Fleet.ts"
import { takesWork } from "../../actors/FleetLifecycle.ts"

export interface Deps {
  readonly fleet: Pick<Fleet["Service"], "list" | "models">
  /** Shutting down: what still arrives on open connections is served, `/ready` tells balancers to look elsewhere. */
  readonly draining: () => boolean
  /** Why else they should for now; null when they need not. */
  readonly unready?: () => string | null
}

/** As the OpenAI API lists them; `name`: one of them alone, undefined where there is none. */
export const models = ({ fleet }: Deps, name: string | null): unknown => {
  const all = fleet.models().map((model) => ({
    id: model.id,
    object: "model",
    created: 0,
    owned_by: "warmpath",
    root: model.root,
    parent: model.parent,
    max_model_len: model.maxModelLen
  }))
  return name === null ? { object: "list", data: all } : all.find((model) => model.id === name)
}

export const ready = ({ draining, fleet, unready }: Deps): { readonly isReady: boolean; readonly body: unknown } => {
  const workers = fleet.list()
  const able = workers.filter(({ state }) => takesWork(state)).length
  const status = draining() ? "draining" : (unready?.() ?? (able > 0 ? "ready" : "no worker can take a request"))
  return { isReady: status === "ready", body: { status, workers: workers.length, able } }
}
