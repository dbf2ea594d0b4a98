/** What workers hold, as the shares that are written to a metadata store; and what a store says, in a form to compare. */
import type { KeyLanes } from "../../src/domain/Block.ts"
import type { Layer } from "../../src/domain/Tier.ts"
import type { Reach, Share, Stretch } from "../../src/ports/StateStore.ts"

export interface Holding {
  readonly tenure: number
  readonly layer: Layer
  readonly stride: number
}

/** What is told of the blocks of a chain for which `told` answers: whether they are held, null where nothing is said. */
export const sharesOf = (
  { layer, stride, tenure }: Holding,
  chain: KeyLanes,
  tell: (block: number) => boolean | null
): Array<Share> => {
  const shares: Array<Share> = []
  for (let first = 0; first < chain.length / 2; first += stride) {
    let [told, held] = [0, 0]
    for (let place = 0; place < stride && first + place < chain.length / 2; place++) {
      const says = tell(first + place)
      if (says !== null) told |= 1 << place
      if (says === true) held |= 1 << place
    }
    if (told === 0) continue
    const parent = first === 0 ? null : chain.slice(2 * first - 2, 2 * first)
    const keys = chain.slice(2 * first, 2 * (first + 32 - Math.clz32(told)))
    shares.push({ tenure, layer, stride, piece: first / stride, parent, keys, told, held })
  }
  return shares
}

/** Blocks `from` to `to` of a chain are held, or not any more. */
export const stretchOf = (
  holding: Holding,
  chain: KeyLanes,
  isHeld: boolean,
  from = 0,
  to = chain.length / 2
): Array<Share> => sharesOf(holding, chain, (block) => (block >= from && block < to ? isHeld : null))

export const byName = (reach: ReadonlyArray<Reach>): Array<Reach> =>
  [...reach].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))

/** A line for each block and holder: stretches may be cut in any way. */
export const lines = (stretches: ReadonlyArray<Stretch>): Array<string> =>
  stretches
    .flatMap(({ base, holders, keys, parent, piece, stride }) =>
      Array.from({ length: keys.length / 2 }, (_, i) => {
        const before = i === 0 ? parent : keys.subarray(2 * i - 2, 2 * i)
        const block = `${keys[2 * i]},${keys[2 * i + 1]} after ${before?.join() ?? "none"}: ${piece}.${base + i}/${stride}`
        return holders
          .filter(({ mask }) => ((mask >>> (base + i)) & 1) === 1)
          .map(({ layer, name }) => `${block} ${name} ${layer}`)
      }).flat()
    )
    .sort()
