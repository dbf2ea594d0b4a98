/** What differs between the engines a simulated one can be. One folder each, same file names. */
import type { Encode, Namer } from "./CacheEvent.ts"
import type { Picture } from "./Generation.ts"
import type { Routes } from "./Http.ts"
import type { Json } from "./Model.ts"
import type { Refusal } from "./Plan.ts"
import type { DialectName, SimOptions } from "./SimOptions.ts"
import * as Sglang from "./sglang/Dialect.ts"
import * as Trtllm from "./trtllm/Dialect.ts"
import * as Vllm from "./vllm/Dialect.ts"

export interface Dialect {
  /** Names the blocks of one rank and life. */
  readonly namer: (options: SimOptions) => Namer
  /** Writes the events of one rank. */
  readonly encode: (options: SimOptions, rank: number) => Encode
  readonly replayLayout: (options: SimOptions) => "topic" | "plain"
  /** Its cache holds each block once. */
  readonly unique: boolean
  readonly routes: Routes
  /** What a path it does not have is answered with. */
  readonly notFound: Json
  readonly error: (refusal: Refusal) => Json
  /** Whom a body's model means: the base (null), an adapter, or nobody. */
  readonly adapterOf: (options: SimOptions, body: Json) => string | null | Refusal
  /** The data-parallel rank a request names; null when it names none that counts. */
  readonly rankOf: (ranks: number, header: string | undefined, body: Json) => number | null | Refusal
  /** A prompt's ids where pictures stand in it. */
  readonly pictured: (ids: ReadonlyArray<number>, pictures: ReadonlyArray<Picture>) => ReadonlyArray<number>
  /** 1 when the lowest `priority` goes first, -1 when the highest does. */
  readonly priorityOrder: (options: SimOptions) => 1 | -1
}

const dialects: Readonly<Record<DialectName, Dialect>> = {
  vllm: Vllm.dialect,
  sglang: Sglang.dialect,
  trtllm: Trtllm.dialect
}

export const of = ({ dialect }: { readonly dialect: DialectName }): Dialect => dialects[dialect]
