/** Every knob of a simulated fleet, with its default. */
import type { FaultSpec } from "./Faults.ts"
import * as TimeModel from "./TimeModel.ts"

export interface SimOptions {
  /** Engines in this process. */
  readonly engines: number
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
  /** Tokens a block. */
  readonly blockSize: number
  /** Device blocks of each engine. */
  readonly blocks: number
  /** Context limit, tokens; never more than the blocks hold. */
  readonly maxModelLen: number
  readonly rates: TimeModel.Rates
  /** Multiplies the rates. */
  readonly speed: number
  /** Most tokens one step computes. */
  readonly stepTokens: number
  /** Most requests that run at once. */
  readonly maxRunning: number
  /** Mean length of an answer that ends by itself, tokens. */
  readonly outputTokens: number
  /** Publish KV events at all. */
  readonly events: boolean
  readonly eventEncoding: "map" | "array"
  /** Block hashes as unsigned 64-bit integers, or as the whole digest. */
  readonly hashForm: "int" | "bytes"
  /** What `PYTHONHASHSEED` is to vLLM; null draws a root hash for each engine and life. */
  readonly hashSeed: string | null
  readonly topic: string
  /** Serve replay requests. */
  readonly replay: boolean
  /** Replay frames with or without the topic; null follows the encoding, as vLLM's history does. */
  readonly replayLayout: "topic" | "plain" | null
  /** Batches kept for replay. */
  readonly bufferSteps: number
  readonly faults: FaultSpec
  /** Makes texts, lengths and faults repeatable. */
  readonly seed: number
}

/** What is wrong with the options, in a sentence; null when nothing is. */
export const problem = (options: SimOptions): string | null => {
  const positive = ["engines", "blockSize", "blocks", "maxModelLen", "stepTokens", "maxRunning", "bufferSteps"] as const
  for (const name of positive) {
    const value = options[name]
    if (!Number.isInteger(value) || value < 1) return `${name} is ${value}; it must be a whole number of at least 1.`
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

export const defaults: SimOptions = {
  engines: 1,
  port: 0,
  host: "127.0.0.1",
  models: ["sim/qwen3"],
  loras: [],
  tokenizer: null,
  blockSize: 16,
  blocks: 4096,
  maxModelLen: 131_072,
  rates: TimeModel.llama70,
  speed: 1,
  stepTokens: 8192,
  maxRunning: 256,
  outputTokens: 120,
  events: true,
  eventEncoding: "map",
  hashForm: "int",
  hashSeed: "0",
  topic: "kv-events",
  replay: true,
  replayLayout: null,
  bufferSteps: 10_000,
  faults: {},
  seed: 1
}
