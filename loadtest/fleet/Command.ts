/** `warmpath sim-engine`: simulated engines on this machine, until Ctrl-C. */
import { Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import type { FaultSpec } from "./Faults.ts"
import type { SimEngine } from "./SimEngine.ts"
import * as SimFleet from "./SimFleet.ts"
import { defaults, type SimOptions } from "./SimOptions.ts"

const about = <A>(text: string) => Flag.withDescription<A>(text)
const int = (name: string, fallback: number, text: string) =>
  Flag.Int(name).pipe(Flag.withDefault(fallback), about(text))
const number = (name: string, fallback: number, text: string) =>
  Flag.Finite(name).pipe(Flag.withDefault(fallback), about(text))
const chance = (name: string, text: string) => number(name, 0, `Probability, 0 to 1: ${text}`)

const flags = {
  engines: int("engines", defaults.engines, "Engines in this process"),
  dialect: Flag.Literals("dialect", ["vllm", "sglang", "trtllm"]).pipe(
    Flag.withDefault(defaults.dialect),
    about("Which engine to be: its HTTP API, events, hashes and rules")
  ),
  ranks: int(
    "ranks",
    defaults.ranks,
    "Data-parallel ranks of each engine, each with a cache and event ports of its own"
  ),
  port: int("port", 8000, "HTTP port of the first engine, the others follow; 0 lets the system choose each"),
  host: Flag.String("host").pipe(Flag.withDefault(defaults.host), about("Address to bind to")),
  model: Flag.String("model").pipe(Flag.atLeast(0), about("Name the model is served under; repeat for aliases")),
  lora: Flag.String("lora").pipe(Flag.atLeast(0), about("Name of a LoRA adapter to serve; may be repeated")),
  tokenizer: Flag.String("tokenizer").pipe(
    Flag.optional,
    about("Folder with tokenizer.json and tokenizer_config.json; without it the built-in Qwen3 tokenizer")
  ),
  blockSize: int("block-size", defaults.blockSize, "Tokens a KV block; SGLang's page size"),
  blocks: int("blocks", defaults.blocks, "KV blocks of each rank"),
  runningBlocks: int("running-blocks", defaults.runningBlocks, "Most of them that running requests hold; 0 for all"),
  hostBlocks: int("host-blocks", defaults.hostBlocks, "Blocks of host memory for what the device evicts; 0 for none"),
  diskBlocks: int("disk-blocks", defaults.diskBlocks, "Blocks on disk for what the host evicts; 0 for none"),
  externalBlocks: int("external-blocks", defaults.externalBlocks, "Blocks in a store outside (sglang); 0 for none"),
  hostLoadUs: number("host-load-us", defaults.hostLoadUs, "Copying a token's KV back to the device, microseconds"),
  slidingWindow: int("sliding-window", defaults.slidingWindow, "Tokens of a second KV group's window (vllm); 0: none"),
  imageTokens: int("image-tokens", defaults.imageTokens, "Placeholder tokens of a picture; 0 refuses pictures"),
  maxModelLen: int("max-model-len", defaults.maxModelLen, "Context limit in tokens, never more than the blocks hold"),
  speed: number("speed", defaults.speed, "How many times as fast as the rates say"),
  floorMs: number("floor-ms", defaults.rates.floorMs, "Least time of a step: reading the weights, ms"),
  overheadMs: number("overhead-ms", defaults.rates.overheadMs, "Constant time of a step, ms"),
  tokenUs: number("token-us", defaults.rates.tokenUs, "Dense layers, microseconds a token"),
  attentionNs: number("attention-ns", defaults.rates.attentionNs, "Prefill attention, ns a token and context token"),
  kvReadNs: number("kv-read-ns", defaults.rates.kvReadNs, "Decode attention, ns a context token"),
  stepTokens: int("step-tokens", defaults.stepTokens, "Most tokens a step computes"),
  maxRunning: int("max-running", defaults.maxRunning, "Most requests that run at once"),
  streamInterval: int("stream-interval", defaults.streamInterval, "Tokens a streamed record after the first carries"),
  outputTokens: number("output-tokens", defaults.outputTokens, "Mean length of an answer that ends by itself, tokens"),
  reportCached: Flag.Boolean("report-cached").pipe(
    Flag.withDefault(defaults.reportCached),
    about("Say in usage how many prompt tokens were cached")
  ),
  otlpTracesEndpoint: Flag.String("otlp-traces-endpoint").pipe(
    Flag.optional,
    about("Where to tell of each request's part in its trace, by OTLP (vllm): http://host:4317")
  ),
  metrics: Flag.Boolean("metrics").pipe(Flag.withDefault(defaults.metrics), about("Serve /metrics (sglang)")),
  priorityScheduling: Flag.Boolean("priority-scheduling").pipe(
    Flag.withDefault(defaults.priorityScheduling),
    about("Heed a request's priority: vllm the lowest first, sglang the highest")
  ),
  lowPriorityFirst: Flag.Boolean("low-priority-first").pipe(
    Flag.withDefault(defaults.lowPriorityFirst),
    about("With sglang, the lowest first, too")
  ),
  events: Flag.Boolean("events").pipe(Flag.withDefault(true), about("Publish KV events")),
  eventEncoding: Flag.Literals("event-encoding", ["map", "array"]).pipe(
    Flag.withDefault(defaults.eventEncoding),
    about("Events as vLLM 0.24 and SGLang of 2026-09 and later write them (map), or as they did before (array)")
  ),
  offloadEvents: Flag.Literals("offload-events", ["empty", "described"]).pipe(
    Flag.withDefault(defaults.offloadEvents),
    about("How vllm tells of host and disk blocks: by hash alone, or with tokens and parent")
  ),
  hashForm: Flag.Literals("hash-form", ["int", "bytes"]).pipe(
    Flag.withDefault(defaults.hashForm),
    about("Block hashes as 64-bit integers or as whole digests")
  ),
  hashSeed: Flag.String("hash-seed").pipe(
    Flag.withDefault(defaults.hashSeed ?? "random"),
    about('What PYTHONHASHSEED is to vLLM; "random" draws one for each rank and life')
  ),
  topic: Flag.String("topic").pipe(Flag.withDefault(defaults.topic), about("Topic of the events")),
  replay: Flag.Boolean("replay").pipe(Flag.withDefault(true), about("Serve replay requests")),
  bufferSteps: int("buffer-steps", defaults.bufferSteps, "Event batches kept for replay"),
  apiKey: Flag.String("api-key").pipe(Flag.optional, about("Key that /v1 paths ask for")),
  prefixCaching: Flag.Boolean("prefix-caching").pipe(Flag.withDefault(true), about("Find prompts' prefixes again")),
  toldBlockSize: int("told-block-size", defaults.toldBlockSize, "Tokens a block as told over HTTP; 0 for the truth"),
  saltIgnored: Flag.Boolean("salt-ignored").pipe(Flag.withDefault(false), about("cache_salt has no effect")),
  saltAdded: Flag.String("salt-added").pipe(Flag.optional, about("Salt of every prompt that brings none")),
  clockSkewMs: Flag.Finite("clock-skew-ms").pipe(
    Flag.withDefault(defaults.clockSkewMs),
    about("How far its clock is ahead, as events show it")
  ),
  eventsConnect: Flag.Boolean("events-connect").pipe(
    Flag.withDefault(false),
    about("The event publisher connects instead of binding, so that nobody hears it")
  ),
  drop: chance("fault-drop", "an event batch is lost on the way"),
  duplicate: chance("fault-duplicate", "an event batch is sent twice"),
  reorder: chance("fault-reorder", "an event batch is overtaken by the next"),
  error: chance("fault-error", "a request is answered with status 500"),
  die: chance("fault-die", "the connection is cut before the answer's first byte"),
  slow: number("fault-slow", 1, "Steps take this many times as long"),
  silent: Flag.Boolean("fault-silent").pipe(Flag.withDefault(false), about("Send no event batch at all")),
  garbage: chance("fault-garbage", "an event batch has bytes that are no msgpack"),
  delayMs: number("fault-delay-ms", 0, "Event batches leave this much later"),
  replayState: Flag.Literals("fault-replay", ["serve", "absent", "oneShot"]).pipe(
    Flag.withDefault("serve" as const),
    about("Announce no replay, or answer only the first request of each life")
  ),
  failReplays: int("fault-fail-replays", 0, "So many replay requests are not answered"),
  breakReplays: int("fault-break-replays", 0, "So many replays stop half way"),
  flapEveryMs: number("fault-flap-every-ms", 100, "How often the event sockets close and open while they flap"),
  flapForMs: number("fault-flap-for-ms", 0, "How long they do from the start on; 0: not at all"),
  flood: int("fault-flood", 0, "So many batches of blocks nobody asked for, from the start on"),
  seed: int("seed", defaults.seed, "Makes texts, lengths and faults repeatable")
}

export const command = Command.make("sim-engine", flags, (given) =>
  Effect.scoped(
    Effect.gen(function* () {
      const fleet = yield* Effect.acquireRelease(
        Effect.tryPromise({ try: () => SimFleet.start(optionsOf(given)), catch: explain }),
        (started) => Effect.promise(() => started.close())
      )
      yield* Console.log(banner(fleet))
      return yield* Effect.never
    })
  )
).pipe(
  Command.withDescription(
    "Simulated engines: the HTTP API of vLLM, SGLang or TensorRT-LLM, a real block cache, KV events over ZeroMQ, a model of time, and faults"
  )
)

type Given = {
  readonly [Name in keyof typeof flags]: (typeof flags)[Name] extends Flag.Flag<infer Value> ? Value : never
}

const optionsOf = (given: Given): SimOptions => ({
  ...defaults,
  engines: given.engines,
  dialect: given.dialect,
  ranks: given.ranks,
  port: given.port,
  host: given.host,
  models: given.model.length === 0 ? defaults.models : given.model,
  loras: given.lora,
  tokenizer: Option.getOrNull(given.tokenizer),
  blockSize: given.blockSize,
  blocks: given.blocks,
  runningBlocks: given.runningBlocks,
  hostBlocks: given.hostBlocks,
  diskBlocks: given.diskBlocks,
  externalBlocks: given.externalBlocks,
  hostLoadUs: given.hostLoadUs,
  slidingWindow: given.slidingWindow,
  imageTokens: given.imageTokens,
  maxModelLen: given.maxModelLen,
  speed: given.speed,
  rates: {
    floorMs: given.floorMs,
    overheadMs: given.overheadMs,
    tokenUs: given.tokenUs,
    attentionNs: given.attentionNs,
    kvReadNs: given.kvReadNs
  },
  stepTokens: given.stepTokens,
  maxRunning: given.maxRunning,
  streamInterval: given.streamInterval,
  outputTokens: given.outputTokens,
  reportCached: given.reportCached,
  otlpTracesEndpoint: Option.getOrNull(given.otlpTracesEndpoint),
  metrics: given.metrics,
  priorityScheduling: given.priorityScheduling,
  lowPriorityFirst: given.lowPriorityFirst,
  events: given.events,
  eventEncoding: given.eventEncoding,
  offloadEvents: given.offloadEvents,
  hashForm: given.hashForm,
  hashSeed: given.hashSeed === "random" ? null : given.hashSeed,
  topic: given.topic,
  replay: given.replay,
  bufferSteps: given.bufferSteps,
  apiKey: Option.getOrNull(given.apiKey),
  prefixCaching: given.prefixCaching,
  toldBlockSize: given.toldBlockSize,
  saltIgnored: given.saltIgnored,
  saltAdded: Option.getOrNull(given.saltAdded),
  clockSkewMs: given.clockSkewMs,
  eventsConnect: given.eventsConnect,
  faults: faultsOf(given),
  seed: given.seed
})

const faultsOf = (given: Given): FaultSpec => ({
  drop: { probability: given.drop },
  duplicate: { probability: given.duplicate },
  reorder: { probability: given.reorder },
  error: { probability: given.error },
  die: { probability: given.die },
  slow: given.slow,
  silent: given.silent,
  garbage: { probability: given.garbage },
  delayMs: given.delayMs,
  replay: given.replayState,
  failReplays: given.failReplays,
  breakReplays: given.breakReplays,
  ...(given.flapForMs > 0 ? { flap: { everyMs: given.flapEveryMs, forMs: given.flapForMs } } : {}),
  ...(given.flood > 0 ? { flood: { batches: given.flood } } : {})
})

const explain = (cause: unknown): Error => {
  const error = cause as NodeJS.ErrnoException
  if (error.code !== "EADDRINUSE") return error
  return new Error(`${error.message}. Another process has this port: give another --port, or --port 0 for free ones.`)
}

/** One line a rank that publishes: the first names its engine. */
const lines = ({ eventSources, url }: SimEngine): ReadonlyArray<string> =>
  eventSources.length === 0
    ? [`  ${url}   no events`]
    : eventSources.map(({ endpoint, replayEndpoint }, rank) => {
        const replay = replayEndpoint === null ? "no replay" : `replay ${replayEndpoint}`
        const name = rank === 0 ? url : `rank ${rank}`.padStart(url.length)
        return `  ${name}   events ${endpoint}   ${replay}`
      })

const banner = ({ engines }: SimFleet.SimFleet): string =>
  [
    `${engines.length} simulated ${engines.length === 1 ? "engine" : "engines"} of ${engines[0]?.options.models[0]}`,
    ...engines.flatMap(lines),
    "Try next:",
    `  warmpath serve ${engines.map(({ url }) => `--worker ${url}`).join(" ")}`,
    "Ctrl-C ends."
  ].join("\n")
