/**
 * Dialect: what changes in a forwarded body so that a client need not know which engine it is talking to.
 *
 * Usage: a stream whose client did not ask for its usage is asked for it on the router's own behalf, and the record is
 * taken out again (`SseScan`). Priority: clients speak vLLM's order, lower first, wherever both orders serve a model.
 */
import type { RouteRequest } from "../domain/Request.ts"
import type { WorkerFacts } from "../domain/Worker.ts"
import * as JsonField from "./JsonField.ts"

/** Engines that heed `stream_options` and end a stream with a record of usage and no choices. */
const usageEngines: ReadonlySet<string> = new Set(["vllm", "sglang", "trtllm"])

type Speaks = Pick<WorkerFacts, "engine" | "priorityOrder">
type Asked = Pick<RouteRequest, "usage" | "priority">

/** The router asks for usage that the client must not see. */
export const addsUsage = ({ usage }: Pick<Asked, "usage">, engine: string): boolean =>
  usage !== "asked" && usageEngines.has(engine)

/**
 * Which priority goes first for clients of this name: the highest only where every worker with an order takes it first.
 * Well or not: what a number means must not change with the health of a worker. `served`: as the engines know it.
 */
export const orderOf = (
  workerAt: (slot: number) => { readonly facts: Pick<WorkerFacts, "models" | "priorityOrder"> } | undefined,
  slots: number,
  served: string
): WorkerFacts["priorityOrder"] => {
  let order: WorkerFacts["priorityOrder"] = null
  for (let slot = 0; slot < slots && order !== "lowFirst"; slot++) {
    const facts = workerAt(slot)?.facts
    if (facts === undefined || facts.priorityOrder === null || !facts.models.some(({ id }) => id === served)) continue
    order = facts.priorityOrder
  }
  return order
}

/** A client's priority as one of which the lowest goes first. */
export const lowFirst = (priority: number | null, order: WorkerFacts["priorityOrder"]): number | null =>
  priority !== null && order === "highFirst" ? 0 - priority : priority

/** The body as one worker is to get it, `order` being its clients'. Bytes that need no change are those that came. */
export const body = (bytes: Buffer, request: Asked, worker: Speaks, order: WorkerFacts["priorityOrder"]): Buffer => {
  const asking = addsUsage(request, worker.engine) ? askUsage(bytes, request.usage) : bytes
  const turned = order === "lowFirst" && request.priority !== null && worker.priorityOrder === "highFirst"
  return turned ? JsonField.replace(asking, "priority", (value) => negated(value.toString("latin1"))) : asking
}

const askUsage = (bytes: Buffer, usage: Asked["usage"]): Buffer =>
  usage === "absent"
    ? JsonField.insert(bytes, "stream_options", '{"include_usage":true}')
    : JsonField.replace(bytes, "stream_options", (value) => {
        if (value[0] !== 0x7b) return '{"include_usage":true}'
        // Usage in every record goes with usage at the end: unwanted there, it must not come with it.
        const quiet = JsonField.replace(value, "continuous_usage_stats", () => "false")
        return JsonField.set(quiet, "include_usage", "true")
      })

/**
 * A number with its sign turned, null for anything else. In its bytes, for it may be larger than a double holds; written
 * 5.0 or 1e2 too, which the engines take for whole.
 */
const negated = (text: string): string | null => {
  if (!/^-?\d/.test(text)) return null
  if (/^-?0$/.test(text)) return "0"
  return text.startsWith("-") ? text.slice(1) : `-${text}`
}
