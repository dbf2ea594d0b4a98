/**
 * What engines with full caches publish, as the bytes they publish: one batch per scheduler step, in which a
 * conversation goes on by some blocks and as many leave the cache, last blocks of the oldest conversation first. Seeded.
 * Form of the events: vllm-project/vllm `vllm/distributed/kv_events.py` (a map each, since pull request 42892).
 */
import { Encoder } from "@msgpack/msgpack"

export const blockSize = 16
/** Publishers, spoken to in turn. */
export const publishers = 4
const openMax = 16

/** One conversation in one cache: its tokens, block by block, and how many of its blocks are still there. */
export interface Conversation {
  readonly tokens: Array<number>
  readonly hashes: Array<bigint>
  cached: number
}

export interface Stream {
  readonly payloads: ReadonlyArray<Uint8Array>
  /** From this payload on caches are full: a removal beside every store. */
  readonly steadyFrom: number
  /** Blocks stored before. */
  readonly fillingBlocks: number
  /** Blocks stored from there on; as many are removed. */
  readonly steadyBlocks: number
  /** By publisher: what its cache holds in the end. */
  readonly caches: ReadonlyArray<ReadonlyArray<Conversation>>
}

/** `blocks` blocks in stores of `size`: the first half fills the caches, the second keeps them full. */
export const generate = (blocks: number, size: number, seed = 1): Stream => {
  let state = seed
  const word = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return (x ^ (x >>> 14)) >>> 0
  }
  // As in text: ids rise with rarity, punctuation is below them all; so most take three bytes.
  const token = (): number =>
    word() % 8 === 0 ? word() % 128 : Math.floor(256 * (150_000 / 256) ** (word() / 2 ** 32))
  const encoder = new Encoder({ useBigInt64: true })
  const steps = Math.floor(blocks / size / publishers) * publishers
  const steadyFrom = Math.floor(steps / 2 / publishers) * publishers
  const capacity = (steadyFrom / publishers) * size
  const turns = size >= 128 ? 2 : Math.ceil(128 / size)
  const openCount = Math.max(1, Math.min(openMax, Math.floor(capacity / size / turns / 4)))
  const caches = Array.from({ length: publishers }, () => ({
    open: new Array<Conversation | undefined>(openCount).fill(undefined),
    closed: [] as Array<Conversation>,
    oldest: 0
  }))
  const payloads: Array<Uint8Array> = []
  for (let step = 0; step < steps; step++) {
    const cache = caches[step % publishers]!
    const at = word() % openCount
    let talk = cache.open[at]
    if (talk === undefined) {
      talk = { tokens: [], hashes: [], cached: 0 }
      cache.open[at] = talk
    }
    const parent = talk.hashes.at(-1) ?? null
    const hashes = Array.from({ length: size }, () => (BigInt(word()) << 32n) | BigInt(word()))
    const tokens = Array.from({ length: size * blockSize }, token)
    talk.hashes.push(...hashes)
    talk.tokens.push(...tokens)
    talk.cached += size
    const events: Array<unknown> = [
      {
        type: "BlockStored",
        block_hashes: hashes,
        parent_block_hash: parent,
        token_ids: tokens,
        block_size: blockSize,
        lora_id: null,
        medium: "GPU",
        lora_name: null,
        extra_keys: new Array(size).fill(null),
        group_idx: 0,
        kv_cache_spec_kind: "full_attention"
      }
    ]
    if (step >= steadyFrom) {
      const victim = cache.closed[cache.oldest]!
      const gone = victim.hashes.slice(victim.cached - size, victim.cached).reverse()
      victim.cached -= size
      if (victim.cached === 0) cache.oldest++
      events.unshift({ type: "BlockRemoved", block_hashes: gone, medium: "GPU", group_idx: 0 })
    }
    payloads.push(encoder.encode([1_789_095_808.5 + step / 100, events, 0]))
    if (talk.hashes.length < turns * size) continue
    cache.closed.push(talk)
    cache.open[at] = undefined
  }
  return {
    payloads,
    steadyFrom,
    fillingBlocks: steadyFrom * size,
    steadyBlocks: (steps - steadyFrom) * size,
    caches: caches.map(({ closed, oldest, open }) => [
      ...closed.slice(oldest),
      ...open.filter((talk) => talk !== undefined)
    ])
  }
}
