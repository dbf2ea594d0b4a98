/** Meet: whether anything answers at a worker's address, what it says it is, and how its prompts would be tokenised here. */
import * as FleetRoutes from "../../actors/FleetRoutes.ts"
import type { Engines } from "../adapters/Engines.ts"
import { findTokenizer } from "../adapters/tokenizer/Find.ts"
import type { Prompt } from "../domain/Request.ts"
import type { WorkerFacts, WorkerSpec } from "../domain/Worker.ts"
import type { Engine } from "../ports/Engine.ts"
import type { Files } from "./Files.ts"
import * as Generate from "./Generate.ts"
import type { Reach, TokenizerSeen } from "./Seen.ts"

export interface Options {
  /** Two, so that the second question goes over another connection. */
  readonly engines: readonly [Engines, Engines]
  /** Folder with tokenizer.json by model, as configured. */
  readonly dirs: Readonly<Record<string, string>>
  readonly hubCache: string
  readonly files: Files
}

/** A worker that said what it is, and how to talk to it. */
export interface Met {
  readonly engine: Engine
  readonly facts: WorkerFacts
  readonly again: WorkerFacts
  readonly model: string
  readonly canonical: string
  readonly tokenizer: TokenizerSeen
  readonly local: (prompt: Prompt) => Promise<Uint32Array | null>
  readonly remote: (prompt: Prompt) => Promise<Uint32Array | null>
}

/** Enough for an engine that is busy; one that is away is told at once by its system. */
const reachMs = 5_000
const factsMs = 15_000
const tokenizeMs = 5_000

const hasModels = ({ status, text }: Generate.Reply): boolean => {
  try {
    return status === 200 && Array.isArray((JSON.parse(text) as { readonly data?: unknown }).data)
  } catch {
    return false
  }
}

export const reach = async (spec: WorkerSpec): Promise<Reach> => {
  const models = (url: string) => Generate.ask({ ...spec, url }, "/v1/models", undefined, null, reachMs)
  const reply = await models(spec.url)
  const { origin, pathname } = new URL(spec.url)
  return {
    status: reply.status,
    hasModels: hasModels(reply),
    why: reply.status === 0 ? reply.text : `GET /v1/models answered ${reply.status}`,
    stripped: pathname === "/" ? null : { url: origin, hasModels: hasModels(await models(origin)) }
  }
}

/** Rejects with why, when it cannot be asked. */
const factsOf = async (engines: Engines, spec: WorkerSpec) => {
  const signal = AbortSignal.timeout(factsMs)
  const engine = await engines.detect(spec, signal)
  const told = await engine.discover(spec.url, signal)
  // What the operator says of events counts, as it does for the router.
  return { engine, facts: spec.events === undefined ? told : { ...told, eventSources: spec.events } }
}

/** A sentence instead, when it cannot be asked. Never rejects. */
export const meet = async (spec: WorkerSpec, { dirs, engines, files, hubCache }: Options): Promise<Met | string> => {
  try {
    const { engine, facts } = await factsOf(engines[0], spec)
    const again = (await factsOf(engines[1], spec)).facts
    const served = facts.models.find(({ parent }) => parent === null) ?? facts.models[0]!
    const dir = dirs[served.id] ?? dirs[served.root ?? ""] ?? findTokenizer(served.root, hubCache)
    const local = dir === null ? null : await files(dir)
    return {
      engine,
      facts,
      again,
      model: served.id,
      canonical: FleetRoutes.canonical(facts) ?? served.id,
      tokenizer: { dir, problem: local instanceof Error ? local.message : "" },
      local: async (prompt) => (local === null || local instanceof Error ? null : local.encode(prompt)),
      remote: (prompt) =>
        facts.tokenizes
          ? engine.tokenize(spec.url, served.id, prompt, AbortSignal.timeout(tokenizeMs)).catch(() => null)
          : Promise.resolve(null)
    }
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause)
  }
}
