/** Damage, by lot: flips, splices, cuts, and lengths blown up. */
import type { Random } from "../../loadtest/Random.ts"
import { below, pick } from "./Batches.ts"

/** Head bytes that are followed by a length. */
const lengthHeads = [0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf]

/** `bytes` damaged in one to six places; now and then joined with a piece of `other`. */
export const mutate = (bytes: Uint8Array, other: Uint8Array, random: Random): Buffer => {
  let out = Buffer.from(bytes)
  for (let left = random() < 0.5 ? 1 : 1 + below(random, 6); left > 0 && out.length > 0; left--) {
    const at = below(random, out.length)
    switch (below(random, 8)) {
      case 0:
        out[at]! ^= 1 << below(random, 8)
        break
      case 1:
        out[at] = below(random, 256)
        break
      case 2:
        out[at] = pick(random, lengthHeads)
        break
      case 3:
        // A length field of any width becomes the largest there is.
        out.fill(0xff, at, Math.min(out.length, at + 1 + below(random, 4)))
        break
      case 4:
        out = out.subarray(0, at)
        break
      case 5:
        out = Buffer.concat([out.subarray(0, at), out.subarray(Math.min(out.length, at + 1 + below(random, 8)))])
        break
      case 6: {
        const from = below(random, other.length)
        const piece = other.subarray(from, from + below(random, 64))
        out = Buffer.concat([out.subarray(0, at), piece, out.subarray(at)])
        break
      }
      default: {
        // Containers in containers: what recursion would die of.
        const nest = Buffer.alloc(below(random, 80), pick(random, [0x91, 0x81, 0x92]))
        out = Buffer.concat([out.subarray(0, at), nest, out.subarray(at)])
      }
    }
  }
  return out
}
