/**
 * Tokenizers: one per model, found without being told. The folder named in the configuration, else the files the engine
 * itself loaded where they are on this machine, else the engine's own `/tokenize`, else none.
 *
 * Local files are believed only after they agreed with the engine on a few conversations: a wrong chat template would
 * lose every cache hit in silence.
 */
import { Effect, type Scope } from "effect"
import type { Worker } from "../actors/Fleet.ts"
import * as EngineTokenizer from "./adapters/tokenizer/EngineTokenizer.ts"
import * as Fallback from "./adapters/tokenizer/Fallback.ts"
import { findTokenizer } from "./adapters/tokenizer/Find.ts"
import * as LocalTokenizer from "./adapters/tokenizer/LocalTokenizer.ts"
import * as Verify from "./adapters/tokenizer/Verify.ts"
import type { Tokenizer } from "./ports/Tokenizer.ts"

export interface Options {
  /** Folder by model name, as configured. */
  readonly dirs: Readonly<Record<string, string>>
  /** Folder of the hub cache on this machine. */
  readonly hubCache: string
  /** Bytes of token ids kept for each model. */
  readonly cacheBytesMax: number
  /** A worker of this model and engine that may be asked to tokenise now, or null. */
  readonly urlOf: (model: string, engine: string) => string | null
}

export interface Tokenizers {
  /** A worker joined or changed: finds its model's tokenizer, where none was found so far. */
  readonly learn: (worker: Worker) => void
  /** No worker has this model any more: its tokenizer is let go. */
  readonly forget: (model: string) => void
  /** Null when this model's prompts cannot be tokenised. Until it is loaded, prompts wait for it. */
  readonly of: (model: string) => Tokenizer | null
  /** How each model is tokenised, for people. */
  readonly list: () => Readonly<Record<string, string>>
}

/** Time an engine has to tokenise a prompt before it is routed by its text. */
const engineDeadlineMs = 1_000
const engineConcurrencyMax = 64
const verifyMs = 5_000

interface Found {
  readonly tokenizer: Tokenizer | null
  readonly how: string
}

interface Entry {
  tokenizer: Tokenizer | null
  how: string
  looking: boolean
}

/** Answers once `ready` does. */
const pending = (ready: Promise<Tokenizer | null>): Tokenizer => ({
  encode: (prompt) => ready.then((tokenizer) => tokenizer?.encode(prompt) ?? null),
  close: async () => (await ready)?.close()
})

export const make = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<Tokenizers, never, Scope.Scope> {
  const dirs = new Map(Object.entries(options.dirs))
  const entries = new Map<string, Entry>()
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  yield* Effect.addFinalizer(() =>
    Effect.promise(() => Promise.all([...entries.values()].map((entry) => entry.tokenizer?.close())))
  )

  const find = async (worker: Worker): Promise<Found> => {
    const { engine, facts, model, spec } = worker
    const served = facts.models.find((each) => each.id === model)
    const configured = dirs.get(model) ?? dirs.get(served?.root ?? "")
    const dir = configured ?? findTokenizer(served?.root ?? null, options.hubCache)
    const remote = facts.tokenizes
      ? EngineTokenizer.make({
          engine,
          model,
          url: () => options.urlOf(model, engine.name),
          deadlineMs: engineDeadlineMs,
          concurrencyMax: engineConcurrencyMax,
          cacheBytesMax: options.cacheBytesMax
        })
      : null
    const otherwise = (why: string): Found =>
      remote === null
        ? { tokenizer: null, how: `as text: ${why}, and its engine has no /tokenize` }
        : { tokenizer: remote, how: `by the engine's /tokenize: ${why}` }
    if (dir === null) {
      return otherwise(`no tokenizer.json was found here (name a folder with --tokenizer ${model}=DIR)`)
    }
    const local = await LocalTokenizer.load(dir, { cacheBytesMax: options.cacheBytesMax }).catch((cause: unknown) =>
      cause instanceof Error ? cause : new Error(String(cause))
    )
    if (local instanceof Error) return otherwise(`the files in ${dir} cannot be used (${local.message})`)
    const verdict = facts.tokenizes
      ? await Verify.verify(local, engine, spec.url, model, AbortSignal.timeout(verifyMs))
      : ({ _tag: "Unknown" } as const)
    if (verdict._tag === "Different") {
      await local.close()
      return otherwise(
        `the files in ${dir} give other tokens than the engine (probe "${verdict.probe}", token ${verdict.at})`
      )
    }
    const checked = verdict._tag === "Same" ? "verified with the engine" : "not verified: the engine has no /tokenize"
    return {
      tokenizer: remote === null ? local : Fallback.make([local, remote]),
      how: `here, from ${dir}, ${checked}`
    }
  }

  const look = (worker: Worker): Promise<Found> =>
    find(worker).catch((cause: unknown) => ({
      tokenizer: null,
      how: `as text: looking for its tokenizer failed (${cause instanceof Error ? cause.message : String(cause)})`
    }))

  return {
    learn: (worker) => {
      const { model } = worker
      const known = entries.get(model)
      if (known !== undefined && (known.looking || known.tokenizer !== null)) return
      const found = look(worker)
      // Prompts wait for the first look only; a later worker may know what the first did not.
      const entry: Entry = known ?? { tokenizer: null, how: "being looked for", looking: true }
      entry.looking = true
      if (known === undefined) entry.tokenizer = pending(found.then(({ tokenizer }) => tokenizer))
      entries.set(model, entry)
      void found.then(({ how, tokenizer }) => {
        entry.looking = false
        if (entries.get(model) !== entry) {
          void tokenizer?.close()
          return
        }
        if (known === undefined || tokenizer !== null) {
          entry.tokenizer = tokenizer
          entry.how = how
          fork(Effect.logInfo(`Prompts of "${model}" are tokenised ${how}`))
        }
      })
    },
    forget: (model) => {
      const entry = entries.get(model)
      entries.delete(model)
      // One still being looked for is closed when it is found.
      if (entry !== undefined && !entry.looking) void entry.tokenizer?.close()
    },
    of: (model) => entries.get(model)?.tokenizer ?? null,
    list: () => Object.fromEntries([...entries].map(([model, { how }]) => [model, how]))
  }
})
