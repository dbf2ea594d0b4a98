/**
 * Chains: the tokens of stored blocks, put together along their parents as the engine's hashes link them. Pure.
 *
 * Only the device, and only the first KV group: that is what prompts are looked up in.
 */
import type { BlockStored } from "../domain/KvEvent.ts"
import type { Heard } from "./Seen.ts"

export interface Chain {
  readonly tokens: ReadonlyArray<number>
  /** False: its parent was not heard of. */
  readonly isRoot: boolean
  readonly blockSize: number
  /** What besides tokens is in its first block: a salt, an adapter. */
  readonly extra: string
  /** When the first of it was heard, and what the engine's clock said then; ms since the epoch. */
  readonly atMs: number
  readonly engineMs: number
}

/** A chain that grows. */
interface Growing extends Chain {
  readonly tokens: Array<number>
}

/** Where a block ends: on which chain, after how many tokens. */
interface Place {
  readonly chain: Growing
  readonly end: number
}

const counts = ({ groupIdx, slidingWindow, tier }: BlockStored): boolean =>
  tier === "device" && slidingWindow === null && (groupIdx ?? 0) === 0

const nameAt = (hashes: Int32Array, i: number): string => `${hashes[2 * i]}:${hashes[2 * i + 1]}`

const extraOf = ({ extraKeys, loraName, salt }: BlockStored): string => {
  const first = extraKeys?.[0] ?? []
  return [...(salt === null ? [] : [salt]), ...first.filter((key) => key !== loraName)].join(" ")
}

export const of = (heard: ReadonlyArray<Heard>): ReadonlyArray<Chain> => {
  const chains: Array<Growing> = []
  const places = new Map<string, Place>()
  const begin = (stored: BlockStored, head: ReadonlyArray<number>, isRoot: boolean, at: Heard): Growing => {
    const { blockSize } = stored
    const engineMs = (at.batch?.ts ?? 0) * 1_000
    const chain = { tokens: [...head], isRoot, blockSize, extra: extraOf(stored), atMs: at.atMs, engineMs }
    chains.push(chain)
    return chain
  }
  for (const at of heard) {
    for (const event of at.batch?.events ?? []) {
      if (event._tag !== "BlockStored" || !counts(event) || event.tokenIds.length === 0) continue
      const place = event.parent === null ? undefined : places.get(nameAt(event.parent, 0))
      const chain =
        place === undefined
          ? begin(event, [], event.parent === null, at)
          : place.end === place.chain.tokens.length
            ? place.chain
            : begin(event, place.chain.tokens.slice(0, place.end), place.chain.isRoot, at)
      for (let i = 0; i < event.hashes.length >> 1; i++) {
        for (const id of event.tokenIds.subarray(i * event.blockSize, (i + 1) * event.blockSize)) chain.tokens.push(id)
        places.set(nameAt(event.hashes, i), { chain, end: chain.tokens.length })
      }
    }
  }
  return chains
}

/** A chain beside a prompt: it begins at token `from` of it, and so many of its tokens are the prompt's. */
export interface Match {
  readonly chain: Chain
  readonly from: number
  readonly same: number
}

const sameFrom = ({ tokens }: Chain, ids: Uint32Array, from: number): number => {
  let same = 0
  while (same < tokens.length && from + same < ids.length && tokens[same] === ids[from + same]) same++
  return same
}

/**
 * The chain that is most of a prompt, or null when none has a block of it. One whose parent was not heard of may begin
 * at any block.
 */
export const find = (chains: ReadonlyArray<Chain>, ids: Uint32Array, extra?: string): Match | null => {
  let best: Match | null = null
  for (const chain of chains) {
    if (extra !== undefined && chain.extra !== extra) continue
    const size = chain.blockSize
    for (let from = 0; from < (chain.isRoot ? 1 : ids.length); from += size) {
      const same = sameFrom(chain, ids, from)
      if (same >= size && same > (best?.same ?? 0)) best = { chain, from, same }
    }
  }
  return best
}
