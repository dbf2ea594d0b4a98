/**
 * What the admin API answers, path by path.
 *
 *   GET    /admin/workers              all workers
 *   POST   /admin/workers              {url, id?, events?, apiKey?} → 201; 409 when it is listed already
 *   GET    /admin/workers/:id          one
 *   DELETE /admin/workers/:id?drain=   true: 202, gone when idle (default); false: 200, forgotten at once
 *   POST   /admin/workers/:id/drain    202
 *   GET    /admin/blocks/:id           keys the index holds for it, 16 hex digits each; ?rank= &tier= &offset= &limit=
 *   GET    /admin/prefix               who holds the beginning of a prompt: ?model= and prompt=, messages= or tokens=
 *   POST   /admin/prefix               the same of a longer one: {model, prompt | messages | tokens, cache_salt?, store?}
 *   GET    /admin/receipts             requests that are over, the newest first; ?limit= &before= &worker= &outcome=
 *   GET    /admin/receipts/:id         why one went where it went, by its x-request-id
 *   POST   /admin/explain              where a request would go now, and why: the body of a chat or completions request
 *   GET    /admin/config               the configuration in force
 *   GET    /admin/store                the metadata store: what is written to it, and read; 404 when there is none
 *   GET    /admin/cluster              what this router shares with others; 404 when it shares nothing
 *   GET    /admin/live                 server-sent events: the workers each second, requests as they end
 *   GET    /admin/prefixes             how the newest requests began, as a tree, and who holds each prefix
 *   GET    /  GET /assets/…            the page
 *   GET    /metrics  GET /health
 *   GET    /ready                      200, or 503 and why not
 *
 * Where routers share a fleet, a change is made on all of them, and its answer has `shared`, and why not.
 * Errors are `{"error":{"code","message","fix"}}`.
 */
import type { IncomingMessage } from "node:http"
import { type Effect, Result, Schema } from "effect"
import type { WorkerRefused, WorkerStatus } from "../../actors/Fleet.ts"
import type { FleetShare, Sharing } from "../../actors/FleetShare.ts"
import type { KeyLanes } from "../domain/Block.ts"
import { explain } from "../domain/Explain.ts"
import { GUESS, type Layer, type Tier, tiers } from "../domain/Tier.ts"
import type { EngineLoad, WorkerSpec } from "../domain/Worker.ts"
import { toSpec, WorkerInput } from "../domain/WorkerInput.ts"
import { contentType } from "../telemetry/Metrics.ts"
import type * as AdminPrefix from "./AdminPrefix.ts"
import { bodyOf, fault, type Reply, type Room } from "./AdminReply.ts"
import * as PrefixQuestion from "./PrefixQuestion.ts"

/** What the admin API needs of the program. */
export interface Deps {
  readonly list: () => ReadonlyArray<WorkerStatus>
  readonly find: (id: string) => WorkerStatus | undefined
  readonly add: (spec: WorkerSpec) => Effect.Effect<WorkerStatus, WorkerRefused>
  readonly remove: (id: string, how: { readonly drain: boolean }) => boolean
  /** Where routers share a fleet: what changes it in place of `add` and `remove`. */
  readonly share?: Pick<FleetShare["Service"], "add" | "remove">
  /** What is shared, and with whom; null where nothing is. Shown as it is. */
  readonly cluster?: () => unknown
  readonly store?: () => unknown
  /** Why clients should look elsewhere; null when they need not. */
  readonly unready?: () => string | null
  /** How far the cache of one rank is known: trust, event stream, blocks, load. Shown as it is. */
  readonly rank: (slot: number) => unknown
  /** Every key the index holds for a slot within reach of a tier, or by guess, in any order. */
  readonly blocks: (slot: number, layer: Layer) => KeyLanes
  /** What is asked of prompts. */
  readonly prefix?: AdminPrefix.Deps
  /** The configuration in force, without secrets. */
  readonly config: () => unknown
  /** Prometheus text. */
  readonly metrics: () => string
  /** More that is answered under `/admin/NAME`; and by `/` and `/assets/…`, the page. */
  readonly rooms?: Readonly<Record<string, Room>>
  readonly page?: Room
}

/** Larger than any worker a person writes. */
const bodyBytesMax = 64 * 1024
const keysPerPiece = 1_024

const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString())

const shown = (worker: WorkerStatus, rank: Deps["rank"]) => ({
  id: worker.spec.id,
  url: worker.spec.url,
  origin: worker.origin,
  state: worker.state,
  why: worker.why,
  since: iso(worker.sinceMs),
  engine: worker.facts?.engine ?? null,
  models: worker.facts?.models ?? [],
  blockSize: worker.facts?.blockSize ?? null,
  blockCount: worker.facts?.blockCount ?? null,
  eventSources: worker.facts?.eventSources ?? [],
  startedAt: iso(worker.facts?.startedAtMs ?? null),
  ranks: worker.slots.map(rank),
  load: worker.load === null ? null : loadShown(worker.load, worker.loadAtMs),
  inFlight: worker.inFlight,
  breaker: {
    failuresInARow: worker.breaker.inARow,
    timesOpened: worker.breaker.opened,
    retryAt: worker.state === "open" ? iso(worker.breaker.retryAtMs) : null
  }
})

const loadShown = ({ kvUsage, running, waiting }: EngineLoad, atMs: number | null) => ({
  running,
  waiting,
  kvUsage,
  at: iso(atMs)
})

/** A key as 16 hex digits: high lane, then low. */
const hex = (lo: number, hi: number): string =>
  (hi >>> 0).toString(16).padStart(8, "0") + (lo >>> 0).toString(16).padStart(8, "0")

function* keyPieces(id: string, keys: KeyLanes, from: number, to: number): Generator<string> {
  const total = keys.length / 2
  yield `{"id":${JSON.stringify(id)},"count":${total},"offset":${from},"keys":[`
  for (let at = from; at < to; at += keysPerPiece) {
    const quoted: Array<string> = []
    for (let i = at; i < Math.min(to, at + keysPerPiece); i++) quoted.push(`"${hex(keys[2 * i]!, keys[2 * i + 1]!)}"`)
    yield (at === from ? "" : ",") + quoted.join(",")
  }
  yield "]}"
}

const workerOf = (text: string): Result.Result<WorkerSpec, string> => {
  let input: unknown
  try {
    input = JSON.parse(text)
  } catch (cause) {
    return Result.fail(`The body is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`)
  }
  const decoded = Schema.decodeUnknownResult(WorkerInput)(input, { errors: "all", onExcessProperty: "error" })
  return Result.isSuccess(decoded)
    ? Result.succeed(toSpec(decoded.success))
    : Result.fail(explain(decoded.failure, input).join("; "))
}

const count = (text: string | null, fallback: number): number | null =>
  text === null ? fallback : /^\d{1,15}$/.test(text) ? Number(text) : null

/** A change of the fleet, made; `sharing` is null where it is not shared. */
export interface Change {
  readonly sharing: Sharing | null
}

/** What a route may do. */
export interface Hands {
  readonly add: (spec: WorkerSpec) => Promise<Result.Result<Change & { readonly worker: WorkerStatus }, WorkerRefused>>
  /** Null when there is no such worker. */
  readonly remove: (id: string, how: { readonly drain: boolean }) => Promise<Change | null>
  readonly prefix: (question: PrefixQuestion.Question, deps: AdminPrefix.Deps) => Promise<Reply>
}

/** What is said of a change beside the worker. */
const sharedShown = ({ sharing }: Change) =>
  sharing === null ? {} : { shared: sharing.shared, ...(sharing.shared ? {} : { notSharedBecause: sharing.why }) }

const form = 'Send {"url":"http://10.0.0.4:8000"}, with "id", "events" and "apiKey" if you like.'

/** Lists the worker in the body. */
const post = async (
  request: IncomingMessage,
  { add }: Hands,
  view: (worker: WorkerStatus) => ReturnType<typeof shown>
): Promise<Reply> => {
  const text = await bodyOf(request, bodyBytesMax, form)
  if (Result.isFailure(text)) return text.failure
  const spec = workerOf(text.success)
  if (Result.isFailure(spec)) return fault(400, "bad_worker", spec.failure, form)
  const added = await add(spec.success)
  if (Result.isSuccess(added)) {
    const location = `/admin/workers/${encodeURIComponent(spec.success.id)}`
    return {
      status: 201,
      json: { ...view(added.success.worker), ...sharedShown(added.success) },
      headers: { location }
    }
  }
  return fault(
    added.failure.reason === "full" ? 503 : 409,
    added.failure.reason,
    added.failure.message,
    "See GET /admin/workers."
  )
}

/** Who holds the beginning of the prompt in the query, or in the body. */
const prefix = async (
  request: IncomingMessage,
  method: string,
  { searchParams }: URL,
  deps: AdminPrefix.Deps,
  hands: Hands
): Promise<Reply> => {
  const text = method === "POST" ? await bodyOf(request, deps.bodyBytesMax, PrefixQuestion.form) : null
  if (text !== null && Result.isFailure(text)) return text.failure
  const question = text === null ? PrefixQuestion.ofQuery(searchParams) : PrefixQuestion.ofBody(text.success)
  return Result.isFailure(question) ? question.failure : hands.prefix(question.success, deps)
}

/** A page of the keys that the index holds for one rank of a worker. */
const blocks = (worker: WorkerStatus, { search, searchParams }: URL, deps: Deps): Reply => {
  const { id } = worker.spec
  const from = count(searchParams.get("offset"), 0)
  const most = count(searchParams.get("limit"), Number.MAX_SAFE_INTEGER)
  if (from === null || most === null) {
    return fault(400, "bad_page", `The page is "${search}".`, "offset and limit are whole numbers from 0.")
  }
  const ranks = worker.facts?.ranks ?? []
  const rank = searchParams.get("rank") ?? String(ranks[0] ?? 0)
  const slot = worker.slots[ranks.length === 0 ? Number(rank) : ranks.indexOf(Number(rank))]
  if (slot === undefined) {
    return fault(404, "unknown_rank", `Worker "${id}" has no rank "${rank}".`, "See its ranks in GET /admin/workers.")
  }
  const tier = searchParams.get("tier") ?? "device"
  const layer = tier === "guess" ? GUESS : (tiers.indexOf(tier as Tier) as Layer)
  if (layer < 0) {
    return fault(400, "bad_tier", `tier is "${tier}".`, `Use one of ${tiers.join(", ")} or guess.`)
  }
  const keys = deps.blocks(slot, layer)
  const start = Math.min(from, keys.length / 2)
  return { status: 200, pieces: keyPieces(id, keys, start, Math.min(start + most, keys.length / 2)) }
}

/** The parts of a path after the first ones, decoded; null where one cannot be. */
const namesOf = ({ pathname }: URL, from: number): ReadonlyArray<string> | null => {
  try {
    return pathname
      .slice(1)
      .split("/")
      .slice(from)
      .map((part) => decodeURIComponent(part))
  } catch {
    return null
  }
}

const badName = (path: string): Reply =>
  fault(400, "bad_id", `"${path}" is not URL-encoded.`, "Encode names with percent signs.")

/** What one request is answered with. */
export const route = async (request: IncomingMessage, deps: Deps, hands: Hands): Promise<Reply> => {
  const method = request.method === "HEAD" ? "GET" : (request.method ?? "GET")
  const url = URL.canParse(`http://admin${request.url}`) ? new URL(`http://admin${request.url}`) : null
  const [room, kind, rawId, verb, ...rest] = url === null ? [] : url.pathname.slice(1).split("/")
  const path = url?.pathname ?? String(request.url)
  const unknown = fault(
    404,
    "unknown_path",
    `There is no ${path} here.`,
    "Try GET /, /admin/workers, /admin/receipts, /admin/prefix, /admin/store, /admin/config, /admin/cluster, /metrics, /health or /ready."
  )
  const only = (allow: string) =>
    fault(405, "wrong_method", `${path} does not take ${method}.`, `Use ${allow}.`, { allow })
  if (url === null) return unknown
  if (room === "" || room === "assets") return deps.page?.(request, url, [kind ?? ""]) ?? unknown
  const owner = room === "admin" && Object.hasOwn(deps.rooms ?? {}, kind ?? "") ? deps.rooms![kind!] : undefined
  if (owner !== undefined) {
    const names = namesOf(url, 2)
    return names === null ? badName(path) : owner(request, url, names)
  }
  if (rest.length > 0) return unknown

  if (kind === undefined) {
    if (room !== "health" && room !== "metrics" && room !== "ready") return unknown
    if (method !== "GET") return only("GET")
    if (room === "ready") {
      const why = deps.unready?.() ?? null
      return { status: why === null ? 200 : 503, json: { status: why ?? "ready" } }
    }
    return room === "health"
      ? { status: 200, json: { status: "ok" } }
      : { status: 200, text: deps.metrics(), type: contentType }
  }
  if (room !== "admin") return unknown
  if (kind === "config" && rawId === undefined) {
    return method === "GET" ? { status: 200, json: deps.config() } : only("GET")
  }
  if (kind === "cluster" && rawId === undefined) {
    if (method !== "GET") return only("GET")
    const cluster = deps.cluster?.() ?? null
    if (cluster !== null) return { status: 200, json: cluster }
    return fault(
      404,
      "no_cluster",
      "This router shares nothing with others: it was started without NATS.",
      "Start routers that are to act as one with the same --nats."
    )
  }
  if (kind === "store" && rawId === undefined) {
    if (method !== "GET") return only("GET")
    const store = deps.store?.() ?? null
    if (store !== null) return { status: 200, json: store }
    return fault(
      404,
      "no_store",
      "This router remembers nothing over a restart: it has no metadata store.",
      "Start it with --store sqlite:FILE, redis://host:port or rdma://host:port."
    )
  }
  if (kind === "prefix" && rawId === undefined && deps.prefix !== undefined) {
    if (method !== "GET" && method !== "POST") return only("GET, POST")
    return prefix(request, method, url, deps.prefix, hands)
  }
  const view = (worker: WorkerStatus) => shown(worker, deps.rank)
  if (kind === "workers" && rawId === undefined) {
    if (method === "GET") return { status: 200, json: { workers: deps.list().map(view) } }
    if (method !== "POST") return only("GET, POST")
    return post(request, hands, view)
  }
  if ((kind !== "workers" && kind !== "blocks") || rawId === undefined) return unknown

  const id = namesOf(url, 2)?.[0]
  if (id === undefined) return badName(path)
  const worker = deps.find(id)
  const missing = fault(404, "unknown_worker", `There is no worker "${id}".`, "See GET /admin/workers for the ids.")
  if (kind === "blocks") {
    if (verb !== undefined) return unknown
    if (method !== "GET") return only("GET")
    if (worker === undefined) return missing
    return blocks(worker, url, deps)
  }
  if (verb !== undefined && verb !== "drain") return unknown
  if (verb === "drain" && method !== "POST") return only("POST")
  if (verb === undefined && method !== "GET" && method !== "DELETE") return only("GET, DELETE")
  if (worker === undefined) return missing
  if (verb === undefined && method === "GET") return { status: 200, json: view(worker) }
  const how = url.searchParams.get("drain") ?? "true"
  if (how !== "true" && how !== "false") {
    return fault(400, "bad_drain", `drain is "${how}".`, "Use drain=true or drain=false.")
  }
  const drain = verb === "drain" || how === "true"
  const removed = await hands.remove(id, { drain })
  if (removed === null) return missing
  const after = deps.find(id)
  const json = after === undefined ? { id, state: "gone" } : view(after)
  return { status: drain ? 202 : 200, json: { ...json, ...sharedShown(removed) } }
}
