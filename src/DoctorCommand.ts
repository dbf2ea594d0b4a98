/** `warmpath doctor`: whether what this router would use can be used, how fast it is from here, and what to do about it. */

import { homedir } from "node:os"
import { join } from "node:path"
import { Console, Effect, Option, Runtime, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import * as NatsFindings from "./adapters/nats/Findings.ts"
import * as EventSocket from "./adapters/zmq/EventSocket.ts"
import * as Config from "./Config.ts"
import * as ConfigFile from "./ConfigFile.ts"
import * as Doctor from "./Doctor.ts"
import * as Report from "./DoctorReport.ts"
import * as Examine from "./doctor/Examine.ts"
import * as Files from "./doctor/Files.ts"
import * as Finding from "./doctor/Finding.ts"
import * as BlockHash from "./hot/BlockHash.ts"
import * as NatsOptions from "./NatsOptions.ts"
import * as Store from "./Store.ts"

/** The knobs of `serve` that say which store and which bus it is. */
export const hasKnob = (name: string): boolean =>
  name.startsWith("store") || name.startsWith("nats") || name === "deployment" || name === "hashSeed" || name === "port"

const flags = {
  config: Flag.String("config").pipe(
    Flag.withAlias("c"),
    Flag.optional,
    Flag.withDescription("The router's YAML or JSON file")
  ),
  worker: Flag.String("worker").pipe(
    Flag.withAlias("w"),
    Flag.atLeast(0),
    Flag.withDescription("Address of an engine to visit, http://host:port; may be repeated")
  ),
  tokenizer: Flag.KeyValuePair("tokenizer").pipe(
    Flag.optional,
    Flag.withDescription("model=folder with tokenizer.json, as for serve; may be repeated")
  ),
  alias: Flag.KeyValuePair("model-alias").pipe(
    Flag.optional,
    Flag.withDescription("alias=served, as for serve; may be repeated")
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDefault(false),
    Flag.withDescription("The findings as JSON: [{what, value, fix}], of workers also {worker, level, code}")
  )
}

/** Something is to be done, which was said: this only makes the exit code. */
class NotWell extends Schema.TaggedError<NotWell>()("NotWell", {}) {
  override readonly [Runtime.errorReported] = false
}

const store = (config: Config.Config): Effect.Effect<ReadonlyArray<Report.Reported>> => {
  const named = config.store === "sqlite" ? { ...config, store: `sqlite:${Store.fileOf(config)}` } : config
  return Effect.scoped(
    Store.open(named).pipe(
      Effect.flatMap((store) =>
        store === null
          ? Effect.succeed([
              { what: "store", value: "none: what engines hold is learned anew at each start", fix: null }
            ])
          : Doctor.examine(store)
      ),
      Effect.catchTag("StoreUnusable", ({ code, fix, store, why }) =>
        Effect.succeed([
          code === "ERR_STORE_BUSY"
            ? { what: store, value: "a router has it open: GET /admin/store there says how it is", fix: null }
            : { what: store, value: why, fix }
        ])
      )
    )
  )
}

const workers = Effect.fnUntraced(
  function* (config: Config.Config, progress: (worker: string, does: string) => void) {
    return yield* Examine.examine({
      workers: Config.workers(config),
      aliases: config.modelAliases,
      hasher: BlockHash.make(BigInt(config.hashSeed)),
      dirs: config.tokenizers,
      hubCache: join(homedir(), ".cache", "huggingface", "hub"),
      files: yield* Files.make,
      progress
    })
  },
  Effect.scoped,
  Effect.provide(EventSocket.layer)
)

const nats = (config: Config.Config) =>
  Effect.promise(() => NatsFindings.all(NatsOptions.of(config, "warmpath doctor"))).pipe(
    Effect.map((findings) =>
      findings.map(({ code, value, what }) =>
        code === null ? Finding.well("nats", what, value) : Finding.wrong("nats", code, what, value)
      )
    )
  )

const hint = "No engine was named: --worker http://host:8000, or --config, has them visited, too."

const run = Effect.fnUntraced(function* (
  path: string | null,
  json: boolean,
  knobs: Readonly<Record<string, unknown>>,
  env: NodeJS.ProcessEnv
) {
  const file = path === null ? undefined : yield* ConfigFile.read(path)
  const config = yield* Effect.fromResult(Config.decode({ flags: knobs, env, file }))
  const isWatched = process.stderr.isTTY && !json
  const progress = (worker: string, does: string) => {
    if (isWatched) process.stderr.write(`${worker}: ${does}\n`)
  }
  const sections: Array<Report.Section> = []
  const some = config.workers.length > 0
  if (some) sections.push(...Report.sectionsOf(yield* workers(config, progress)))
  if (config.nats.length > 0) {
    progress("nats", "connecting")
    sections.push({ title: "nats", findings: yield* nats(config) })
  }
  // Who asks of workers on the command line did not ask of a file that a router here would keep.
  const isNamed = knobs["store"] !== undefined || (env["WARMPATH_STORE"] ?? "") !== ""
  if (!some || path !== null || isNamed) {
    progress("store", "measuring")
    sections.push({ title: sections.length === 0 ? "" : "store", findings: yield* store(config) })
  }
  yield* Console.log(json ? Report.json(sections) : Report.text(sections))
  if (!some && !json) yield* Console.log(`\n${hint}`)
  if (sections.some(({ findings }) => Report.isFaulty(findings))) return yield* new NotWell()
})

/** `knobs`: flags for those that `hasKnob`, by name. */
export const make = (
  knobs: Record<string, Flag.Flag<Option.Option<string | number>>>,
  usage: (error: { readonly message: string }) => Error
) =>
  Command.make("doctor", { ...flags, knobs }, ({ alias, config, json, knobs: given, tokenizer, worker }) => {
    const said = Object.entries({ ...given, tokenizers: tokenizer, modelAliases: alias }).flatMap(([name, value]) =>
      Option.isSome<unknown>(value) ? [[name, value.value]] : []
    )
    const named = worker.length > 0 ? { workers: worker.join(",") } : {}
    return run(Option.getOrNull(config), json, { ...Object.fromEntries(said), ...named }, process.env).pipe(
      Effect.catchTag("ConfigError", (error) => Effect.fail(usage(error)))
    )
  }).pipe(
    Command.withDescription(
      "Visits engines (with four or five short requests to each), the metadata store and NATS as a router with these knobs would, and says what to fix"
    )
  )
