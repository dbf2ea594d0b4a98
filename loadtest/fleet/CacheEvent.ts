/** What happens to a simulated cache, before any engine's dialect puts it into bytes. */

/** Where a block lies: GPU memory, host memory, disk, a store shared with other engines. Nearest first. */
export type Tier = "device" | "host" | "disk" | "external"

/** A picture in a block: its identifier, and where its placeholders begin, counted from the block's first token. */
export type MmKey = readonly [identifier: string, offset: number]

/** What a dialect makes of a block and all before it. */
export interface BlockName {
  /** Tells blocks of one cache apart. */
  readonly key: string
  readonly digest: Buffer
  /** What events carry: unsigned for vLLM and TensorRT-LLM, signed for SGLang. */
  readonly published: bigint
}

/** One full block. `parent` is the block before it, cached or not; null for the first of a prompt. */
export interface Block extends BlockName {
  readonly parent: Block | null
  readonly tokenIds: ReadonlyArray<number>
  readonly salt: string | null
  readonly lora: string | null
  readonly mm: ReadonlyArray<MmKey>
}

/** Names blocks of one rank and life. */
export type Namer = (block: Omit<Block, keyof BlockName>) => BlockName

export type CacheEvent =
  | {
      readonly _tag: "Stored"
      readonly tier: Tier
      /** Parent to child. */
      readonly blocks: ReadonlyArray<Block>
      /** Set in the sliding-window group: those of `blocks` it kept. */
      readonly windowed?: ReadonlyArray<Block>
    }
  | { readonly _tag: "Removed"; readonly tier: Tier; readonly block: Block; readonly windowed?: true }
  | { readonly _tag: "Cleared" }

/** The payload of one batch. `ts` is in seconds since the epoch. */
export type Encode = (ts: number, events: ReadonlyArray<CacheEvent>) => Uint8Array

export const tokensOf = (blocks: ReadonlyArray<Block>): ReadonlyArray<number> => blocks.flatMap((b) => b.tokenIds)
