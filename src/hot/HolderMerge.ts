/**
 * HolderMerge: several publishers (data-parallel ranks) seen as one holder.
 *
 * A worker holds a block while any of its ranks does: the first rank's store and the last rank's removal pass, the
 * rest are counted. One count per key, in a `KeyAlias` under the key itself.
 */
import type { KvDelta } from "../domain/KvEvent.ts"
import * as KeyAlias from "./KeyAlias.ts"

export type HolderMerge = (delta: KvDelta, emit: (delta: KvDelta) => void) => void

export const make = (): HolderMerge => {
  const held = KeyAlias.make(0x7fff_ffff)
  return (delta, emit) => {
    if (delta._tag === "Cleared") {
      held.clear()
      emit(delta)
      return
    }
    const { keys, worker } = delta
    if (delta._tag === "Removed") {
      const last = new Int32Array(keys.length)
      let size = 0
      for (let i = 0; i < keys.length; i += 2) {
        if (held.remove(keys[i]!, keys[i + 1]!) !== 0) continue
        last[size++] = keys[i]!
        last[size++] = keys[i + 1]!
      }
      if (size > 0) emit({ _tag: "Removed", worker, keys: last.slice(0, size) })
      return
    }
    // Stretches of keys that no other rank held, each with the key before it.
    let from = 0
    const flush = (to: number) => {
      const parent = from === 0 ? delta.parent : keys.slice(from - 2, from)
      if (to > from) emit({ _tag: "Stored", worker, parent, keys: keys.slice(from, to) })
    }
    for (let i = 0; i < keys.length; i += 2) {
      if (held.add(keys[i]!, keys[i + 1]!, 0, 0) === 1) continue
      flush(i)
      from = i + 2
    }
    flush(keys.length)
  }
}
