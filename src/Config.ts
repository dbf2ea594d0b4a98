/**
 * Config: every knob, with what it is, its unit, its default, and why that default. Decoded once, in `main`; modules never read
 * the environment. Flags win over the environment, that over the file, that over the defaults.
 *
 * In the file a knob has the name it has here (`bodyBytesMax`), as a flag `--body-bytes-max`, in the environment, for
 * those that have one, `WARMPATH_PORT` and the like. `live` knobs follow the file while the router runs.
 */
import { Equal, Result, Schema } from "effect"
import { between, bytes, KiB, type Knob, knob, listed, MiB, ms, numeric } from "./ConfigKnob.ts"
import * as ConfigNats from "./ConfigNats.ts"
import * as ConfigStore from "./ConfigStore.ts"
import * as ConfigTelemetry from "./ConfigTelemetry.ts"
import { explain, nearest } from "./domain/Explain.ts"
import type { WorkerSpec } from "./domain/Worker.ts"
import { toSpec, WorkerInput } from "./domain/WorkerInput.ts"

/** A list, or text with commas; an entry that is only an address is its `url`. */
const workerList = (input: unknown): unknown => {
  const list = listed(input)
  return Array.isArray(list) ? list.map((entry) => (typeof entry === "string" ? { url: entry } : entry)) : list
}

export const policies = ["eta", "round-robin", "least-loaded", "longest-prefix"] as const

export const knobs = {
  host: knob(
    Schema.NonEmptyString,
    "0.0.0.0",
    "Address to listen on for clients; every one, since a router serves others.",
    {
      env: "WARMPATH_HOST"
    }
  ),
  port: knob(
    between(0, 65_535),
    8080,
    "Port clients connect to; free beside engines (vLLM 8000, SGLang 30000). 0 takes any free one.",
    {
      env: "WARMPATH_PORT",
      shape: numeric
    }
  ),
  adminHost: knob(
    Schema.NonEmptyString,
    "127.0.0.1",
    "Address of the admin API and /metrics; it has no login, so only this machine reaches it.",
    {
      env: "WARMPATH_ADMIN_HOST"
    }
  ),
  adminPort: knob(
    between(0, 65_535),
    8081,
    "Port of the admin API; its own, so that a firewall can tell it from traffic. 0 takes any free one.",
    {
      env: "WARMPATH_ADMIN_PORT",
      shape: numeric
    }
  ),
  workers: knob<ReadonlyArray<WorkerInput>>(
    Schema.Array(WorkerInput),
    [],
    "Engines to route to: addresses, or {url, id, events, apiKey}; none, since they may come by the admin API.",
    { live: true, env: "WARMPATH_WORKERS", shape: workerList }
  ),
  modelAliases: knob<Readonly<Record<string, string>>>(
    Schema.Record(Schema.NonEmptyString, Schema.NonEmptyString),
    {},
    "Other names for served models, {alias: served name}; none, since clients use the names the engines serve.",
    { live: true }
  ),
  policy: knob(
    Schema.Literals(policies),
    "eta",
    "How a worker is chosen; eta is the earliest expected first token: cache, queue and load in one cost.",
    { env: "WARMPATH_POLICY" }
  ),
  tokenizers: knob<Readonly<Record<string, string>>>(
    Schema.Record(Schema.NonEmptyString, Schema.NonEmptyString),
    {},
    "Folders with tokenizer.json, {model: folder}; none, since they are found by the model's path, or else the engine's /tokenize is asked."
  ),
  bodyBytesMax: bytes(
    32 * MiB,
    "Largest request body; 130 k tokens of text are under 1 MiB, the rest is room for inline images."
  ),
  headBytesMax: bytes(32 * KiB, "Largest request head; twice what node:http allows, for long tokens and cookies.", KiB),
  clientHeadTimeoutMs: ms(
    10_000,
    "Time a client has for a request's head; it is one packet or two, slower is an attack or a dead link."
  ),
  clientBodyTimeoutMs: ms(60_000, "Time a client has for a request's body; the largest one over a slow line."),
  clientIdleTimeoutMs: ms(
    75_000,
    "Time a client's idle connection stays open; longer than the 60 s of common load balancers, so that they close first."
  ),
  connectTimeoutMs: ms(
    2_000,
    "Time to connect to a worker before another is tried; ten times a slow handshake in one region."
  ),
  firstByteTimeoutMs: ms(
    600_000,
    "Time a worker has until an answer's first byte; a queued 130 k prompt may take minutes."
  ),
  streamIdleTimeoutMs: ms(
    300_000,
    "Longest silence inside an answer that has begun; an engine may pause a stream to prefill for others."
  ),
  retriesMax: knob(
    between(0, 10),
    2,
    "Other workers tried when one fails before its first byte; more would amplify an outage.",
    {
      unit: "workers"
    }
  ),
  waitingMax: knob(
    between(0, 1_000_000),
    4_096,
    "Requests that may wait in the router for a worker that is soon free, shorter ones first, where they would only queue behind others; more are sent at once. 0: all are.",
    { unit: "requests" }
  ),
  probeIntervalMs: ms(
    2_000,
    "Time between two health probes of a worker; a dead idle one is noticed in seconds, failed requests notice sooner.",
    10
  ),
  probeTimeoutMs: ms(3_000, "Time a worker has to answer a probe; a busy engine answers late."),
  discoverTimeoutMs: ms(
    10_000,
    "Time a worker has to say what it is; several questions, of which /metrics may be long."
  ),
  discoverIntervalMs: ms(
    30_000,
    "Time between two looks at what a worker serves; adapters loaded at run time appear within it."
  ),
  joinRetryMsMin: ms(
    250,
    "First wait before a worker that does not answer yet is asked again; one that is nearly up is taken soon."
  ),
  joinRetryMsMax: ms(
    5_000,
    "Longest such wait, after doubling; loading a large model takes minutes, asking more often gains nothing."
  ),
  breakerFailures: knob(
    between(1, 1_000),
    3,
    "Failures in a row that take a worker out; one may be chance, three are a dead worker.",
    {
      unit: "failures"
    }
  ),
  breakerFailureShare: knob(
    Schema.Finite.check(Schema.isBetween({ minimum: 0.01, maximum: 1 })),
    0.5,
    "Share of recent requests failing that takes a worker out; at half it is sick, though alive.",
    { unit: "share" }
  ),
  breakerWindowRequestsMin: knob(
    between(1, 1_000_000),
    20,
    "Fewest recent requests for that share to count; fewer say nothing.",
    { unit: "requests" }
  ),
  breakerWindowMs: ms(10_000, "What counts as recent for that share; long enough to count, short enough to forget."),
  breakerOpenMsMin: ms(
    1_000,
    "How long a worker is out the first time, doubled with every failed return; short, since three failures may be chance after all."
  ),
  breakerOpenMsMax: ms(15_000, "How long a worker is out at most; one that came back is used again within it."),
  drainMs: ms(
    25_000,
    "Time requests in flight have when the router shuts down; below the 30 s after which Kubernetes kills.",
    0
  ),
  workerDrainMs: ms(600_000, "Time a drained worker may keep its requests; enough for its longest answers.", 0),
  segmentCacheBytes: bytes(
    128 * MiB,
    "Memory for remembered token ids of each model; some tens of thousands of conversation turns.",
    0
  ),
  indexBytesMax: bytes(
    1024 * MiB,
    "Most memory of the prefix index; about 30 million blocks, twice what a fleet of 64 large caches holds.",
    MiB
  ),
  workersMax: knob(
    between(1, 65_535),
    1_024,
    "Most workers at once; tables are sized by it, and a thousand engines is a large fleet.",
    {
      unit: "workers"
    }
  ),
  hashSeed: knob(
    between(0, Number.MAX_SAFE_INTEGER),
    1337,
    "Seed of the router's block keys; the same on all replicas and over restarts, or keys differ."
  ),
  replayCheckMs: ms(
    30_000,
    "Time a worker's events may be quiet before it is asked for what was missed; a lost last event shows in no other way.",
    100
  ),
  replayTimeoutMs: ms(
    5_000,
    "Longest silence while an engine replays its events; it answers between two steps, which a long prompt makes long.",
    100
  ),
  ...ConfigNats.knobs,
  ...ConfigStore.knobs,
  ...ConfigTelemetry.knobs
}

type Knobs = typeof knobs
type Name = keyof Knobs
export type Config = { readonly [K in Name]: Knobs[K] extends Knob<infer A> ? A : never }

/** Where values come from, strongest last to first: flags by knob name, `process.env`, the parsed file. */
export interface Sources {
  readonly flags?: Readonly<Record<string, unknown>>
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly file?: unknown
}

/** The configuration cannot be used. Every problem at once, each with its place and what is allowed there. */
export class ConfigError extends Schema.TaggedError<ConfigError>()("ConfigError", {
  problems: Schema.Array(Schema.String)
}) {
  override get message() {
    return `The configuration has ${this.problems.length === 1 ? "a problem" : `${this.problems.length} problems`}:\n  ${this.problems.join("\n  ")}`
  }
}

export const names = Object.keys(knobs) as ReadonlyArray<Name>

const isName = (name: string): name is Name => Object.hasOwn(knobs, name)

const flagOf = (name: string): string => `--${name.replace(/[A-Z]/g, (upper) => `-${upper.toLowerCase()}`)}`

/** The workers listed, with ids. */
export const workers = (config: Config): ReadonlyArray<WorkerSpec> => config.workers.map(toSpec)

/** What single knobs cannot see. */
const together = (config: Config): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const seenIds = new Set<string>()
  const seenUrls = new Set<string>()
  workers(config).forEach(({ id, url }, index) => {
    if (seenUrls.has(url)) problems.push(`workers[${index}] is ${url}, which is listed before: list each address once`)
    else if (seenIds.has(id)) problems.push(`workers[${index}] has the id "${id}", which is taken: give it another id`)
    seenIds.add(id)
    seenUrls.add(url)
  })
  if (config.workers.length > config.workersMax) {
    problems.push(
      `workers lists ${config.workers.length}, more than workersMax (${config.workersMax}): raise workersMax`
    )
  }
  if (config.port !== 0 && config.port === config.adminPort) {
    problems.push(`port and adminPort are both ${config.port}: choose two`)
  }
  problems.push(...ConfigNats.together(config), ...ConfigStore.together(config), ...ConfigTelemetry.together(config))
  for (const [low, high] of [
    ["joinRetryMsMin", "joinRetryMsMax"],
    ["breakerOpenMsMin", "breakerOpenMsMax"]
  ] as const) {
    if (config[low] > config[high])
      problems.push(`${low} is ${config[low]}, above ${high} (${config[high]}): swap them`)
  }
  return problems
}

export const decode = (sources: Sources): Result.Result<Config, ConfigError> => {
  const { env = {}, file, flags = {} } = sources
  const problems: Array<string> = []
  const isObject = typeof file === "object" && file !== null && !Array.isArray(file)
  // An empty file parses as null: nothing said, nothing wrong.
  if (!isObject && file != null)
    problems.push("the file is not a mapping of knobs to values: write lines like `port: 8080`")
  const said: Readonly<Record<string, unknown>> = isObject ? (file as Record<string, unknown>) : {}
  for (const [origin, given] of [
    ["the file", said],
    ["the flags", flags]
  ] as const) {
    for (const name of Object.keys(given)) {
      if (isName(name)) continue
      const meant = nearest(name, names)
      problems.push(`${name}, in ${origin}, is no knob${meant === undefined ? "" : `: did you mean ${meant}?`}`)
    }
  }
  const values: Record<string, unknown> = {}
  for (const name of names) {
    const { env: variable, fallback, schema, shape } = knobs[name]
    const fromEnv = variable === null ? undefined : env[variable]
    const [given, origin] =
      flags[name] !== undefined
        ? [flags[name], flagOf(name)]
        : fromEnv !== undefined && fromEnv !== ""
          ? [fromEnv, variable!]
          : [said[name], name]
    if (given === undefined || given === null) {
      values[name] = fallback
      continue
    }
    const input = shape(given)
    const decoder: Schema.Decoder<unknown> = schema
    const decoded = Schema.decodeUnknownResult(decoder)(input, { errors: "all", onExcessProperty: "error" })
    if (Result.isSuccess(decoded)) values[name] = decoded.success
    else problems.push(...explain(decoded.failure, input, [origin]))
  }
  if (problems.length > 0) return Result.fail(new ConfigError({ problems }))
  // Every name was given a value its own schema made.
  const config = values as unknown as Config
  const more = together(config)
  return more.length > 0 ? Result.fail(new ConfigError({ problems: more })) : Result.succeed(config)
}

/** Knobs that differ, in the order they are listed. */
export const changed = (before: Config, after: Config): ReadonlyArray<Name> =>
  names.filter((name) => !Equal.equals(before[name], after[name]))

/** One line per knob, for `--help` and the documentation. */
export const describe = (): ReadonlyArray<{
  readonly name: string
  readonly flag: string
  readonly env: string | null
  readonly unit: string
  readonly fallback: string
  readonly why: string
  readonly live: boolean
}> =>
  names.map((name) => {
    const { env, fallback, live, unit, why } = knobs[name]
    return { name, flag: flagOf(name), env, unit, fallback: JSON.stringify(fallback), why, live }
  })
