/** When a lookup first finds what a batch told of, as a request would look it up. */
import { Effect } from "effect"
import { PrefixIndex } from "../../actors/PrefixIndex.ts"
import { layersMax } from "../../src/domain/Tier.ts"
import { EventBus } from "../../src/ports/EventBus.ts"
import { nowMs } from "./Words.ts"

interface Waiting {
  readonly slot: number
  readonly keys: Int32Array
}

const nameOf = (keys: Int32Array): string => `${keys.at(-2)} ${keys.at(-1)}`

/**
 * `found`: by slot, when each store of it was found, in order. `note`: from now on, or not any more. After the index's
 * own subscription, so that a look comes after the index's turn, and costs no turns of its own while nothing is told.
 */
export const make = Effect.fnUntraced(function* (slots: number) {
  const bus = yield* EventBus
  const index = yield* PrefixIndex
  const found = Array.from({ length: slots }, (): Array<number> => [])
  const out = new Uint32Array(layersMax * slots)
  /** Keys from the root, by slot, by the last one. */
  const chains = Array.from({ length: slots }, () => new Map<string, Int32Array>())
  let waiting: Array<Waiting> = []
  let noting = false

  const look = (): void => {
    waiting = waiting.filter(({ keys, slot }) => {
      index.depths(keys, keys.length / 2, out)
      if (out[slot]! * 2 < keys.length) return true
      found[slot]!.push(nowMs())
      return false
    })
    if (waiting.length > 0) setImmediate(look)
  }

  yield* bus.subscribe((delta) => {
    if (delta._tag !== "Stored") return true
    const { keys, parent, worker: slot } = delta
    const known = chains[slot]!
    const before = parent === null ? undefined : known.get(nameOf(parent))
    if (parent !== null) known.delete(nameOf(parent))
    const chain = before === undefined ? keys : Int32Array.from([...before, ...keys])
    known.set(nameOf(chain), chain)
    if (!noting) return true
    if (waiting.push({ slot, keys: chain }) === 1) setImmediate(look)
    return true
  })
  return {
    found: () => found.map((times) => Float64Array.from(times.splice(0))),
    note: () => {
      noting = true
    }
  }
})
