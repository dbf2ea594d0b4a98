/** Warmpath, the whole program: its commands, and how each is put together from the rooms. Start reading here. */

import { setTimeout as sleep } from "node:timers/promises"
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Console, Effect, Exit, Layer, Logger, Option, References, Result, Scope } from "effect"
import { CliConfig, CliError, Command, Flag, GlobalFlag } from "effect/cli"
import packageJson from "warmpath/package.json" with { type: "json" }
import * as DemoCommand from "../loadtest/demo/Command.ts"
import type { StartRouter } from "../loadtest/demo/Demo.ts"
import { command as simEngine } from "../loadtest/fleet/Command.ts"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import { command as replay } from "../loadtest/replay/Command.ts"
import * as AgentCommand from "./AgentCommand.ts"
import * as MemoryNodeCommand from "./adapters/rdma/MemoryNodeCommand.ts"
import * as Config from "./Config.ts"
import * as ConfigFile from "./ConfigFile.ts"
import * as DoctorCommand from "./DoctorCommand.ts"
import * as ExplainCommand from "./ExplainCommand.ts"
import * as Log from "./Log.ts"
import * as Router from "./Router.ts"
import * as TopCommand from "./TopCommand.ts"

/** Every knob of `Config` is a flag; the few that hold lists or maps are spelled for people. */
const spelled = {
  config: Flag.String("config").pipe(
    Flag.withAlias("c"),
    Flag.optional,
    Flag.withDescription("YAML or JSON file with any of these knobs; workers and aliases in it are followed live")
  ),
  worker: Flag.String("worker").pipe(
    Flag.withAlias("w"),
    Flag.atLeast(0),
    Flag.withDescription("Address of an engine, http://host:port; may be repeated. None at all: four simulated engines")
  ),
  alias: Flag.KeyValuePair("model-alias").pipe(
    Flag.optional,
    Flag.withDescription("alias=served: another name for a served model; may be repeated")
  ),
  tokenizer: Flag.KeyValuePair("tokenizer").pipe(
    Flag.optional,
    Flag.withDescription("model=folder with tokenizer.json, where it is not found by itself; may be repeated")
  ),
  policy: Flag.Literals("policy", Config.policies).pipe(
    Flag.optional,
    Flag.withDescription(`${Config.knobs.policy.why} Default ${Config.knobs.policy.fallback}`)
  )
}

const lists = new Set<string>(["workers", "modelAliases", "tokenizers", "policy"])

const plainFlag = (knob: ReturnType<typeof Config.describe>[number]): Flag.Flag<Option.Option<string | number>> => {
  const unit = knob.unit === "" ? "" : ` ${knob.unit}`
  const name = knob.flag.slice(2)
  const flag: Flag.Flag<string | number> = /^[\d.]+$/.test(knob.fallback) ? Flag.Finite(name) : Flag.String(name)
  return flag.pipe(
    Flag.optional,
    Flag.withDescription(`${knob.why} Default ${knob.fallback === "null" ? "none" : knob.fallback}${unit}`)
  )
}

const plain = Object.fromEntries(
  Config.describe()
    .filter(({ name }) => !lists.has(name))
    .map((knob) => [knob.name, plainFlag(knob)])
)

const usage = (error: { readonly message: string }) =>
  new CliError.UserError({ cause: error, userMessage: error.message })

/** The router, until Ctrl-C. `path`: the file that is followed. */
const routing = Effect.fnUntraced(function* (
  told: Config.Config,
  path: string | null,
  decode: (file: unknown) => Result.Result<Config.Config, Config.ConfigError>
) {
  const config = told.workers.length > 0 || path !== null ? told : yield* simulated(told)
  const router = yield* Router.start(config)
  if (path !== null) {
    yield* ConfigFile.follow({ path, config, decode, apply: router.apply, lookMs: 5_000, settleMs: 100 })
  }
  yield* Console.log(
    `Warmpath routes ${config.workers.length} ${config.workers.length === 1 ? "worker" : "workers"} (${config.policy}) at ${router.url}/v1 · admin at ${router.adminUrl}/admin/workers · page at ${router.adminUrl}/`
  )
  return yield* Effect.never
})

const serve = Command.make("serve", { ...spelled, knobs: plain }, (given) =>
  Effect.gen(function* () {
    const flags: Record<string, unknown> = {
      ...(given.worker.length > 0 ? { workers: given.worker.join(",") } : {}),
      ...Object.fromEntries(
        [
          ["modelAliases", given.alias] as const,
          ["tokenizers", given.tokenizer] as const,
          ["policy", given.policy] as const,
          ...Object.entries(given.knobs)
        ].flatMap(([name, value]) => (Option.isSome<unknown>(value) ? [[name, value.value]] : []))
      )
    }
    const decode = (file: unknown) => Config.decode({ flags, env: process.env, file })
    const path = Option.getOrNull(given.config)
    const file = path === null ? undefined : yield* ConfigFile.read(path)
    const told = yield* Effect.fromResult(decode(file))
    return yield* Effect.scoped(routing(told, path, decode)).pipe(Effect.provide(Log.layer(told)))
  }).pipe(
    Effect.catchTags({
      ConfigError: (error) => Effect.fail(usage(error)),
      ListenFailed: (error) => Effect.fail(usage(error)),
      AdminListenFailed: (error) => Effect.fail(usage(error)),
      ReceiptsFileUnusable: (error) => Effect.fail(usage(error)),
      StoreUnusable: (error) => Effect.fail(usage(error))
    })
  )
).pipe(
  Command.withDescription(
    "The router: an OpenAI-compatible address that sends each request where most of its prompt is already computed"
  )
)

/** Nothing to route to was named: a fleet to try things on, in this process. */
const simulated = Effect.fnUntraced(function* (config: Config.Config) {
  const fleet = yield* Effect.acquireRelease(
    Effect.promise(() => SimFleet.start({ engines: 4 })),
    (started) => Effect.promise(() => started.close())
  )
  yield* Console.log(
    "No --worker was given, so four simulated engines are started here. Give the addresses of yours: warmpath serve --worker http://host:8000"
  )
  // Their caches end with them.
  const store = config.store === "sqlite" ? "none" : config.store
  return { ...config, store, workers: fleet.urls.map((url) => ({ url })) }
})

/** Time the demo's engines have to answer the router. */
const joinMs = 15_000

/** A router for the demo, on free ports, once it knows its workers. */
const startRouter: StartRouter = async ({ policy, workers }) => {
  const flags = { workers: workers.join(","), policy, host: "127.0.0.1", port: 0, adminPort: 0, drainMs: 1_000 }
  const config = Result.getOrThrow(Config.decode({ flags }))
  const scope = Scope.makeUnsafe()
  const close = () => Effect.runPromise(Scope.close(scope, Exit.void))
  try {
    const router = await Effect.runPromise(
      Router.start(config).pipe(
        Effect.provideService(Scope.Scope, scope),
        // The screen belongs to the table, standard output to what was asked for.
        Effect.provideService(References.MinimumLogLevel, "Warn"),
        Effect.provideService(Logger.LogToStderr, true)
      )
    )
    const deadline = Date.now() + joinMs
    while (router.able() < workers.length) {
      if (Date.now() > deadline) {
        throw new Error(`of ${workers.length} engines only ${router.able()} answered within ${joinMs / 1000} s`)
      }
      await sleep(20)
    }
    return { url: router.url, adminUrl: router.adminUrl, close }
  } catch (error) {
    await close()
    throw error
  }
}

const flagsOf = (isOne: (name: string) => boolean) =>
  Object.fromEntries(
    Config.describe()
      .filter(({ name }) => isOne(name))
      .map((knob) => [knob.name, plainFlag(knob)])
  )

const agent = AgentCommand.make(flagsOf(AgentCommand.hasKnob), usage)
const doctor = DoctorCommand.make(flagsOf(DoctorCommand.hasKnob), usage)
/** A node has no other knob of `Config`, so nothing else of the environment concerns it. */
const logOf = ({ logFormat, logLevel }: Record<string, Option.Option<string | number>>) => {
  const { WARMPATH_LOG_FORMAT, WARMPATH_LOG_LEVEL } = process.env
  const flags = { logFormat: Option.getOrUndefined(logFormat!), logLevel: Option.getOrUndefined(logLevel!) }
  return Effect.fromResult(Config.decode({ flags, env: { WARMPATH_LOG_FORMAT, WARMPATH_LOG_LEVEL } }))
}
const memoryNode = MemoryNodeCommand.make(usage).pipe(
  Command.withSharedFlags(flagsOf(Log.hasKnob)),
  Command.provide((given) => Layer.unwrap(logOf(given).pipe(Effect.map(Log.layer), Effect.mapError(usage))))
)

const root = Command.make("warmpath").pipe(
  Command.withDescription("A KV-cache-aware HTTP router for fleets of LLM engines"),
  Command.withSubcommands([
    serve,
    TopCommand.make(usage),
    ExplainCommand.make(usage),
    agent,
    doctor,
    memoryNode,
    DemoCommand.make(startRouter),
    replay,
    simEngine
  ])
)

export const main = (): void =>
  Command.run(root, { version: packageJson.version }).pipe(
    Effect.provide(NodeServices.layer),
    // `--log-level` is a knob like any other.
    Effect.provideService(CliConfig.CliConfig, {
      builtIns: GlobalFlag.BuiltIns.filter((flag) => flag !== GlobalFlag.LogLevel)
    }),
    // Standard output is for what was asked for: tables, JSON, addresses.
    Effect.provideService(Logger.LogToStderr, true),
    NodeRuntime.runMain({
      // Ctrl-C and SIGTERM are how a router is meant to end.
      teardown: (exit, done) => done(Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause) ? 1 : 0)
    })
  )
