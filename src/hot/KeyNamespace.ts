/**
 * What besides tokens an engine put into a block's hash: the adapter and the salt, which are in the root of the chain,
 * and the rest (images, audio, prompt embeddings), which is folded into the blocks it touches.
 * Source of the order of extra keys: vllm-project/vllm `vllm/v1/core/kv_cache_utils.py`.
 */
import type { KeyLanes } from "../domain/Block.ts"
import type { BlockStored } from "../domain/KvEvent.ts"
import type { Hasher } from "./BlockHash.ts"

/** Namespaces remembered; salts are many. */
const rootsMax = 1_024

export class KeyNamespace {
  private readonly hasher: Hasher
  private readonly model: string
  private readonly roots = new Map<string, KeyLanes>()
  private plain: KeyLanes | null = null
  private blockSize = 0

  constructor(hasher: Hasher, model: string) {
    this.hasher = hasher
    this.model = model
  }

  /** What the first key of a sequence is chained to. */
  root(lora: string | null, salt: string | null, blockSize: number): KeyLanes {
    const { hasher, model, roots } = this
    if (blockSize !== this.blockSize) {
      this.blockSize = blockSize
      this.plain = null
      roots.clear()
    }
    if (lora === null && salt === null) {
      this.plain ??= hasher.root({ model, lora, salt, blockSize })
      return this.plain
    }
    const name = JSON.stringify([lora, salt])
    let root = roots.get(name)
    if (root === undefined) {
      if (roots.size >= rootsMax) roots.clear()
      root = hasher.root({ model, lora, salt, blockSize })
      roots.set(name, root)
    }
    return root
  }

  /** Two lanes per block of what neither adapter nor salt account for; null when there is nothing. */
  extras(event: BlockStored, count: number, lora: string | null, salt: string | null): Int32Array | null {
    const { extraKeys } = event
    if (extraKeys === null) return null
    let any = false
    const rest: Array<ReadonlyArray<unknown> | null> = []
    for (let i = 0; i < count; i++) {
      const keys = extraKeys[i] ?? null
      if (keys === null || keys.length === 0) {
        rest.push(null)
        continue
      }
      const saltAt = i === 0 && salt !== null ? keys.lastIndexOf(salt) : -1
      const left = keys.filter((key, k) => k !== saltAt && !(k === 0 && lora !== null && key === lora))
      if (left.length > 0) any = true
      rest.push(left)
    }
    return any ? this.hasher.extras(rest) : null
  }
}

/** Adapters go by name; one that only has the engine's own number is kept apart by that. */
export const loraOf = ({ loraId, loraName }: BlockStored): string | null =>
  loraName ?? (loraId === null ? null : `#${loraId}`)

/**
 * The salt of a sequence, from its first block; later blocks have it through their parent. Where it has no field of its
 * own it is the last text among the first block's extra keys; the adapter's name comes first.
 */
export const saltOf = ({ extraKeys, parent, salt }: BlockStored, lora: string | null): string | null => {
  if (parent !== null) return null
  if (salt !== null) return salt
  const first = extraKeys?.[0] ?? null
  return first?.findLast((key, i): key is string => typeof key === "string" && !(i === 0 && key === lora)) ?? null
}
