/**
 * The config file: read once, then followed. YAML, of which JSON is a part.
 *
 * Followed by a directory watch, since editors and Kubernetes replace the file rather than write it, and by a look
 * every few seconds where no watch is to be had. What cannot be read or decoded changes nothing and is logged once.
 */
import { createHash } from "node:crypto"
import { watch } from "node:fs"
import { readFile } from "node:fs/promises"
import { dirname } from "node:path"
import { Effect, Queue, Result, Schedule, type Scope } from "effect"
import { parseDocument } from "yaml"
import * as Config from "./Config.ts"

/** A file larger than this is not a configuration. */
const fileBytesMax = 8 * 1024 * 1024

const problem = (text: string) => new Config.ConfigError({ problems: [text] })

export const parse = (path: string, text: string): Result.Result<unknown, Config.ConfigError> => {
  const document = parseDocument(text, { uniqueKeys: true })
  return document.errors.length > 0
    ? Result.fail(new Config.ConfigError({ problems: document.errors.map((error) => `${path}: ${error.message}`) }))
    : Result.succeed(document.toJS({ maxAliasCount: 100 }))
}

const readText = (path: string): Effect.Effect<string, Config.ConfigError> =>
  Effect.tryPromise({
    try: () => readFile(path, "utf8"),
    catch: (cause) => problem(`${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`)
  }).pipe(
    Effect.filterOrFail(
      (text) => text.length <= fileBytesMax,
      (text) => problem(`${path} has ${text.length} characters, more than ${fileBytesMax}: is it the right file?`)
    )
  )

/** The parsed file, not yet decoded. */
export const read = (path: string): Effect.Effect<unknown, Config.ConfigError> =>
  readText(path).pipe(Effect.flatMap((text) => Effect.fromResult(parse(path, text))))

export interface Following {
  readonly path: string
  /** What is running now, as decoded from the file and everything stronger. */
  readonly config: Config.Config
  /** From the parsed file to the whole configuration. */
  readonly decode: (file: unknown) => Result.Result<Config.Config, Config.ConfigError>
  /** Takes over the live knobs. Only called when one of them changed. */
  readonly apply: (next: Config.Config, before: Config.Config) => Effect.Effect<void>
  /** Time between looks, ms. */
  readonly lookMs: number
  /** Time a changed file must stand still before it counts: a write may come in parts. */
  readonly settleMs: number
}

/** Follows the file until the scope ends. */
export const follow = Effect.fnUntraced(function* (options: Following): Effect.fn.Return<void, never, Scope.Scope> {
  const { path } = options
  const stirred = yield* Queue.sliding<true>(1)
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      try {
        const watcher = watch(dirname(path), { persistent: false }, () => void Queue.offerUnsafe(stirred, true))
        // Losing the watch costs seconds, not changes.
        watcher.on("error", () => watcher.close())
        return watcher
      } catch {
        return null
      }
    }),
    (watcher) => Effect.sync(() => watcher?.close())
  )
  // More likely a write that failed than the wish to have no workers.
  const emptied = problem(`${path} is empty. Write {} if every knob is to have its default.`)
  let running = options.config
  let seen = ""

  /** The text once it stands still, and a mark by which to know it again. */
  const settled = Effect.fnUntraced(function* () {
    let mark = seen
    while (true) {
      const text = yield* readText(path).pipe(Effect.result)
      const found = createHash("sha256")
        .update(Result.isSuccess(text) ? text.success : text.failure.message)
        .digest("hex")
      if (found === mark) return { text, mark }
      mark = found
      yield* Effect.sleep(options.settleMs)
    }
  })

  const look = Effect.fnUntraced(function* () {
    const { mark, text } = yield* settled()
    if (mark === seen) return
    seen = mark
    const next = Result.flatMap(text, (found) =>
      found.trim() === "" ? Result.fail(emptied) : Result.flatMap(parse(path, found), options.decode)
    )
    if (Result.isFailure(next)) {
      return yield* Effect.logError(`The old configuration stays in force. ${next.failure.message}`)
    }
    const names = Config.changed(running, next.success)
    const before = running
    // The fixed ones too, although they take no effect: each change is told once.
    running = next.success
    const fixed = names.filter((name) => !Config.knobs[name].live)
    if (fixed.length > 0) yield* Effect.logWarning(`${fixed.join(", ")} changed in ${path}: this needs a restart`)
    if (names.length === fixed.length) return
    yield* options.apply(next.success, before)
    yield* Effect.logInfo(`Took over ${names.filter((name) => Config.knobs[name].live).join(", ")} from ${path}`)
  })

  yield* Effect.gen(function* () {
    yield* look()
    while (true) {
      yield* Queue.take(stirred).pipe(Effect.timeoutOption(options.lookMs))
      yield* look()
    }
  }).pipe(
    Effect.tapCause((cause) => Effect.logError(`Following ${path} failed; starting again`, cause)),
    Effect.sandbox,
    Effect.retry(Schedule.spaced("1 second")),
    Effect.ignore,
    Effect.forkScoped
  )
})
