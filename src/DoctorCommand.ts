/** `warmpath doctor`: whether what this router would use can be used, how fast it is from here, and what to do about it. */
import { Console, Effect, Option, Runtime, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import pc from "picocolors"
import * as Config from "./Config.ts"
import * as ConfigFile from "./ConfigFile.ts"
import * as Doctor from "./Doctor.ts"
import type { Finding } from "./ports/StateStore.ts"
import * as Store from "./Store.ts"

/** The knobs of `serve` that say which store it is. */
export const hasKnob = (name: string): boolean =>
  name.startsWith("store") || name === "deployment" || name === "hashSeed" || name === "port"

const flags = {
  config: Flag.String("config").pipe(
    Flag.withAlias("c"),
    Flag.optional,
    Flag.withDescription("The router's YAML or JSON file")
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDefault(false),
    Flag.withDescription("The findings as JSON: [{what, value, fix}]")
  )
}

/** Something is to be done, which was said: this only makes the exit code. */
class NotWell extends Schema.TaggedError<NotWell>()("NotWell", {}) {
  override readonly [Runtime.errorReported] = false
}

const table = (findings: ReadonlyArray<Finding>): string => {
  const width = Math.max(...findings.map(({ what }) => what.length))
  return findings
    .map(({ fix, value, what }) => {
      const line = `${fix === null ? pc.green("ok ") : pc.red("fix")}  ${what.padEnd(width)}  ${value}`
      return fix === null ? line : `${line}\n     ${" ".repeat(width)}  ${pc.yellow(fix)}`
    })
    .join("\n")
}

const run = Effect.fnUntraced(function* (
  path: string | null,
  json: boolean,
  knobs: Readonly<Record<string, unknown>>,
  env: NodeJS.ProcessEnv
) {
  const file = path === null ? undefined : yield* ConfigFile.read(path)
  const config = yield* Effect.fromResult(Config.decode({ flags: knobs, env, file }))
  const named = config.store === "sqlite" ? { ...config, store: `sqlite:${Store.fileOf(config)}` } : config
  const findings = yield* Store.open(named).pipe(
    Effect.flatMap((store) =>
      store === null
        ? Effect.succeed([{ what: "store", value: "none: what engines hold is learned anew at each start", fix: null }])
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
  yield* Console.log(json ? JSON.stringify(findings, null, 2) : table(findings))
  if (findings.some(({ fix }) => fix !== null)) return yield* new NotWell()
})

/** `knobs`: flags for those that `hasKnob`, by name. */
export const make = (
  knobs: Record<string, Flag.Flag<Option.Option<string | number>>>,
  usage: (error: { readonly message: string }) => Error
) =>
  Command.make("doctor", { ...flags, knobs }, ({ config, json, knobs: given }) => {
    const said = Object.entries(given).flatMap(([name, value]) => (Option.isSome(value) ? [[name, value.value]] : []))
    return Effect.scoped(run(Option.getOrNull(config), json, Object.fromEntries(said), process.env)).pipe(
      Effect.catchTag("ConfigError", (error) => Effect.fail(usage(error)))
    )
  }).pipe(
    Command.withDescription(
      "Connects to the metadata store that a router with these knobs would use, measures it from here, and says what to fix"
    )
  )
