/** Every bench of `npm run bench`, by name, in the order they run. */
import * as CostBench from "./Cost.bench.ts"
import * as IngestBench from "./Ingest.bench.ts"
import * as LinkBench from "./Link.bench.ts"
import type { Case, Options } from "./Measure.ts"
import * as PlaceBench from "./Place.bench.ts"
import * as PrefixTableBench from "./PrefixTable.bench.ts"
import * as TokenizerBench from "./Tokenizer.bench.ts"

export interface Result {
  readonly cases: ReadonlyArray<Case>
  /** True when all that were compared gave the same answers; else the figures mean nothing. */
  readonly agree: boolean
  /** Answers compared. */
  readonly compared: number
}

export interface Bench {
  /** What the figures are, for its headline. */
  readonly about: (options: Options) => string
  readonly run: (options: Options) => Result | Promise<Result>
}

export const benches: Readonly<Record<string, Bench>> = {
  "prefix-table": {
    about: ({ blocks, twinBlocks, workers }) =>
      `${blocks.toLocaleString("en")} blocks, ${workers} workers, one core, thread CPU time` +
      (twinBlocks > 0
        ? `; a plain Map/Set index at ${twinBlocks.toLocaleString("en")} blocks, its ratio is to ours at that size`
        : ""),
    run: PrefixTableBench.run
  },
  ingest: {
    about: () => "KV events of full caches, half of the blocks stored, half removed; one core, thread CPU time",
    run: IngestBench.run
  },
  cost: { about: () => "a placement decision, one core, thread CPU time", run: CostBench.run },
  place: {
    about: () => "a prompt of 130 000 tokens among 1 000 workers, from its keys to its worker; one core",
    run: PlaceBench.run
  },
  link: {
    about: () => "a request's three changes from one replica to another, one core, thread CPU time",
    run: LinkBench.run
  },
  tokenizer: {
    about: () => "a growing conversation under Qwen3's tokenizer, CPU time of the process",
    run: TokenizerBench.run
  }
}
