/** `warmpath agent`: beside an engine whose event sockets the routers cannot reach, until Ctrl-C. */
import { randomUUID } from "node:crypto"
import { Console, Effect, Layer, Option, Redacted, Result, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import packageJson from "warmpath/package.json" with { type: "json" }
import { Leases } from "../actors/Leases.ts"
import { Members } from "../actors/Members.ts"
import { Relay } from "../actors/Relay.ts"
import * as Agent from "./Agent.ts"
import * as NatsBus from "./adapters/nats/NatsBus.ts"
import * as EventSocket from "./adapters/zmq/EventSocket.ts"
import * as Config from "./Config.ts"
import { explain } from "./domain/Explain.ts"
import { toSpec, WorkerInput } from "./domain/WorkerInput.ts"
import * as FleetKnobs from "./FleetKnobs.ts"
import * as Log from "./Log.ts"
import * as NatsOptions from "./NatsOptions.ts"

/** The knobs of `serve` that an agent has, too. */
export const hasKnob = (name: string): boolean => name.startsWith("nats") || name === "deployment" || Log.hasKnob(name)

const flags = {
  worker: Flag.String("worker").pipe(
    Flag.withAlias("w"),
    Flag.withDescription("Address of the engine as this machine reaches it, for example http://127.0.0.1:8000")
  ),
  advertise: Flag.String("advertise").pipe(
    Flag.optional,
    Flag.withDescription(
      "Address of the engine as the routers reach it; that of --worker, unless that is a loopback one"
    )
  ),
  id: Flag.String("id").pipe(
    Flag.optional,
    Flag.withDescription(
      "Id of the worker, the same as in the routers' lists where it is listed there; host:port of --advertise"
    )
  ),
  apiKey: Flag.Redacted("api-key").pipe(
    Flag.optional,
    Flag.withDescription(
      "What the engine was started with, for the agent's own questions; never announced: routers are given it in their lists. Better in WARMPATH_WORKER_API_KEY"
    )
  )
}

/** The agent cannot be started like this. */
class AgentRefused extends Schema.TaggedError<AgentRefused>()("AgentRefused", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

const isLoopback = (url: string): boolean => /^(localhost|127\.[\d.]+|\[::1\])$/.test(new URL(url).hostname)

const spec = (flag: string, input: unknown) => {
  const decoded = Schema.decodeUnknownResult(WorkerInput)(input, { errors: "all" })
  return Result.isSuccess(decoded)
    ? Effect.succeed(toSpec(decoded.success))
    : Effect.fail(new AgentRefused({ detail: `${flag}: ${explain(decoded.failure, input).join("; ")}` }))
}

interface Given {
  readonly worker: string
  readonly advertise: Option.Option<string>
  readonly id: Option.Option<string>
  readonly apiKey: Option.Option<Redacted.Redacted<string>>
}

const run = Effect.fnUntraced(function* (given: Given, config: Config.Config, env: NodeJS.ProcessEnv) {
  if (config.nats.length === 0) {
    return yield* new AgentRefused({ detail: "Which NATS do the routers share? Add --nats nats://host:4222." })
  }
  const local = yield* spec("--worker", { url: given.worker })
  const there = yield* spec("--advertise", {
    url: Option.getOrElse(given.advertise, () => given.worker),
    ...Option.match(given.id, { onNone: () => ({}), onSome: (id) => ({ id }) })
  })
  if (Option.isNone(given.advertise) && isLoopback(local.url)) {
    return yield* new AgentRefused({
      detail: `${local.url} means another machine to each router. Add --advertise with the address they reach the engine at.`
    })
  }
  const fromEnv = env["WARMPATH_WORKER_API_KEY"] ?? ""
  const apiKey = Option.getOrNull(given.apiKey) ?? (fromEnv === "" ? null : Redacted.make(fromEnv))
  // A router beside it may have the replica's id of this environment.
  const member = `agent-${there.id}-${randomUUID().slice(0, 8)}`
  const services = yield* Layer.build(
    Relay.layerWith({ follows: false }).pipe(
      Layer.provide(EventSocket.layerWith({ replayTimeoutMs: config.replayTimeoutMs })),
      Layer.provideMerge(Leases.layer()),
      Layer.provideMerge(Members.layer({ id: member, kind: "agent", url: null, version: packageJson.version })),
      Layer.provideMerge(NatsBus.layer(NatsOptions.of(config, member)))
    )
  )
  yield* Agent.start({
    worker: { id: there.id, url: local.url, ...(apiKey === null ? {} : { apiKey }) },
    advertise: there.url,
    knobs: FleetKnobs.of(config)
  }).pipe(Effect.provide(services))
  yield* Console.log(
    `Warmpath reads the events of ${local.url} for the routers, and announces it as "${there.id}" at ${there.url}`
  )
  return yield* Effect.never
})

/** `knobs`: flags for those that `hasKnob`, by name. */
export const make = (
  knobs: Record<string, Flag.Flag<Option.Option<string | number>>>,
  usage: (error: { readonly message: string }) => Error
) =>
  Command.make("agent", { ...flags, knobs }, (given) => {
    const said = Object.entries(given.knobs).flatMap(([name, value]) =>
      Option.isSome(value) ? [[name, value.value]] : []
    )
    return Effect.fromResult(Config.decode({ flags: Object.fromEntries(said), env: process.env })).pipe(
      Effect.flatMap((config) =>
        Effect.scoped(run(given, config, process.env)).pipe(Effect.provide(Log.layer(config)))
      ),
      Effect.mapError(usage)
    )
  }).pipe(
    Command.withDescription(
      "Runs beside an engine whose KV event sockets the routers cannot reach: reads them here, hands them on to all routers over NATS, and announces the engine to them"
    )
  )
