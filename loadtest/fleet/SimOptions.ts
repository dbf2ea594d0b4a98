/** Every knob of a simulated fleet, with its default. */
import type { FaultSpec } from "./Faults.ts"
import * as TimeModel from "./TimeModel.ts"

export type DialectName = "vllm" | "sglang" | "trtllm"

export interface SimOptions {
  /** Engines in this process. */
  readonly engines: number
  /** Which engine to be: its HTTP API, its events, its hashes, its rules. */
  readonly dialect: DialectName
  /** Data-parallel ranks of each engine: one HTTP server, and for each rank a scheduler, a cache and a publisher. */
  readonly ranks: number
  /** HTTP port of the first engine; the others follow. 0 lets the system choose each. */
  readonly port: number
  /** Address the HTTP and event sockets bind to. */
  readonly host: string
  /** Names the model is served under; the first is the canonical one. */
  readonly models: ReadonlyArray<string>
  /** LoRA adapters, by name. */
  readonly loras: ReadonlyArray<string>
  /** Folder with `tokenizer.json` (or `tokenizer.json.br`) and `tokenizer_config.json`; null for the built-in one. */
  readonly tokenizer: string | null
  /** Tokens a block; SGLang's page size. */
  readonly blockSize: number
  /** Device blocks of each rank. */
  readonly blocks: number
  /** Most blocks that running requests hold, as where the rest of the cache is not the device's; 0 for all. */
  readonly runningBlocks: number
  /** Blocks of each rank in host memory, for what the device evicts; 0 for none. */
  readonly hostBlocks: number
  /** Blocks of each rank on disk, for what the host (or, without one, the device) evicts; 0 for none. */
  readonly diskBlocks: number
  /** Blocks of each rank in a store outside, for what the nearer tiers evict; 0 for none. SGLang only. */
  readonly externalBlocks: number
  /** Copying a token's KV back to the device, microseconds. */
  readonly hostLoadUs: number
  /** Tokens of a second, sliding-window KV group, announced beside the first (vLLM); 0 for none. */
  readonly slidingWindow: number
  /** Placeholder tokens of a picture; 0 refuses pictures, as a model of text does. */
  readonly imageTokens: number
  /** Context limit, tokens; never more than the blocks hold. */
  readonly maxModelLen: number
  readonly rates: TimeModel.Rates
  /** Multiplies the rates. */
  readonly speed: number
  /** Most tokens one step computes. */
  readonly stepTokens: number
  /** Most requests that run at once. */
  readonly maxRunning: number
  /** Tokens a streamed record after the first carries. */
  readonly streamInterval: number
  /** Mean length of an answer that ends by itself, tokens. */
  readonly outputTokens: number
  /** Whether `usage` says how many prompt tokens were cached. */
  readonly reportCached: boolean
  /** Where vLLM tells of its part in traces: an OTLP address; null for none. */
  readonly otlpTracesEndpoint: string | null
  /** Serve `/metrics` (SGLang; vLLM always does). */
  readonly metrics: boolean
  /** Heed a request's `priority`: the lowest first, with SGLang the highest unless `lowPriorityFirst`. */
  readonly priorityScheduling: boolean
  readonly lowPriorityFirst: boolean
  /** Publish KV events at all. */
  readonly events: boolean
  readonly eventEncoding: "map" | "array"
  /** How vLLM tells of host and disk blocks: by hash alone, or with all a block on the device has. */
  readonly offloadEvents: "empty" | "described"
  /** vLLM's block hashes as unsigned 64-bit integers, or as the whole digest. */
  readonly hashForm: "int" | "bytes"
  /** What `PYTHONHASHSEED` is to vLLM; null draws a root hash for each rank and life. */
  readonly hashSeed: string | null
  readonly topic: string
  /** Serve replay requests. */
  readonly replay: boolean
  /** Replay frames with or without the topic; null for what the dialect does (with vLLM the encoding decides). */
  readonly replayLayout: "topic" | "plain" | null
  /** Batches kept for replay. */
  readonly bufferSteps: number
  /** Key that `/v1` paths ask for, as engines do with `--api-key`; null for none. */
  readonly apiKey: string | null
  /** Off: no prompt ever finds anything, and no block is told of. */
  readonly prefixCaching: boolean
  /** Tokens a block as it is told over HTTP; 0 for the truth. */
  readonly toldBlockSize: number
  /** `cache_salt` has no effect, as in engines that do not know it. */
  readonly saltIgnored: boolean
  /** Salt of every prompt that brings none, as a gateway in front would add it; null for none. */
  readonly saltAdded: string | null
  /** How far the engine's clock is ahead, as its events show it; below 0 behind. */
  readonly clockSkewMs: number
  /** The publisher connects to its address instead of binding it, as vLLM does for one without `*`: nobody hears it. */
  readonly eventsConnect: boolean
  readonly faults: FaultSpec
  /** Makes texts, lengths and faults repeatable. */
  readonly seed: number
}

/** What is wrong with the options, in a sentence; null when nothing is. */
export const problem = (options: SimOptions): string | null => {
  const positive = [
    "engines",
    "ranks",
    "blockSize",
    "blocks",
    "maxModelLen",
    "stepTokens",
    "maxRunning",
    "streamInterval",
    "bufferSteps"
  ] as const
  for (const name of positive) {
    const value = options[name]
    if (!Number.isInteger(value) || value < 1) return `${name} is ${value}; it must be a whole number of at least 1.`
  }
  for (const name of [
    "runningBlocks",
    "hostBlocks",
    "diskBlocks",
    "externalBlocks",
    "hostLoadUs",
    "slidingWindow",
    "imageTokens",
    "toldBlockSize"
  ] as const) {
    if (!(options[name] >= 0)) return `${name} is ${options[name]}; it must be at least 0.`
  }
  if (options.otlpTracesEndpoint !== null && options.dialect !== "vllm") {
    return `otlpTracesEndpoint is ${options.otlpTracesEndpoint}; only vllm has it.`
  }
  if (options.slidingWindow > 0 && options.dialect !== "vllm") {
    return `slidingWindow is ${options.slidingWindow}; only vllm tells of such a group.`
  }
  if (options.externalBlocks > 0 && options.dialect !== "sglang") {
    return `externalBlocks is ${options.externalBlocks}; only sglang tells of such a store.`
  }
  if (options.hostBlocks + options.diskBlocks > 0 && options.dialect === "trtllm") {
    return "hostBlocks and diskBlocks must be 0 for trtllm, whose stream tells of the device only."
  }
  if (!(options.speed > 0)) return `speed is ${options.speed}; it must be above 0.`
  if (!(options.outputTokens >= 1)) return `outputTokens is ${options.outputTokens}; it must be at least 1.`
  for (const [name, value] of Object.entries(options.rates)) {
    if (!(value >= 0)) return `${name} is ${value}; it must be at least 0.`
  }
  if (options.rates.floorMs + options.rates.overheadMs <= 0)
    return "floorMs and overheadMs are 0; a step must take time."
  return options.models.length === 0 ? "models is empty; give the model at least one name." : null
}

/** Tokens a block, as the engine says over HTTP. */
export const toldBlockSize = ({ blockSize, toldBlockSize }: SimOptions): number =>
  toldBlockSize > 0 ? toldBlockSize : blockSize

/** Blocks that running requests hold at most: the device's, and what an engine says its size is. */
export const roomBlocks = ({ blocks, runningBlocks }: Pick<SimOptions, "blocks" | "runningBlocks">): number =>
  runningBlocks > 0 ? Math.min(runningBlocks, blocks) : blocks

export const defaults: SimOptions = {
  engines: 1,
  dialect: "vllm",
  ranks: 1,
  port: 0,
  host: "127.0.0.1",
  models: ["sim/qwen3"],
  loras: [],
  tokenizer: null,
  blockSize: 16,
  blocks: 4096,
  runningBlocks: 0,
  hostBlocks: 0,
  diskBlocks: 0,
  externalBlocks: 0,
  // 320 KiB a token over PCIe 5 at 50 GB/s; computing it takes ten times as long.
  hostLoadUs: 7,
  slidingWindow: 0,
  imageTokens: 0,
  maxModelLen: 131_072,
  rates: TimeModel.llama70,
  speed: 1,
  stepTokens: 8192,
  maxRunning: 256,
  streamInterval: 1,
  outputTokens: 120,
  reportCached: true,
  otlpTracesEndpoint: null,
  metrics: true,
  priorityScheduling: false,
  lowPriorityFirst: false,
  events: true,
  eventEncoding: "map",
  offloadEvents: "empty",
  hashForm: "int",
  hashSeed: "0",
  topic: "kv-events",
  replay: true,
  replayLayout: null,
  bufferSteps: 10_000,
  apiKey: null,
  prefixCaching: true,
  toldBlockSize: 0,
  saltIgnored: false,
  saltAdded: null,
  clockSkewMs: 0,
  eventsConnect: false,
  faults: {},
  seed: 1
}
