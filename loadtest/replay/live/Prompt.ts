/**
 * Prompts of a trace as token ids: each block is `blockSize` tokens that say its id and nothing else, so that two prompts
 * share tokens exactly as far as their lists of blocks agree, whatever the block size of the engines.
 *
 * Ids are single digits, the smallest there are in JSON: a prompt of 121 k tokens is 242 KB. Every vocabulary has them.
 */
import type { Request } from "../Trace.ts"

/** Digits of an id: below 10^16 after `spread`. A smaller block could not hold them. */
export const digits = 16
/** Begins the part behind the last full block, which no block of the trace begins with. */
const behind = 10

/** Ids below zero between the others. */
const spread = (id: number): number => (id < 0 ? -2 * id - 1 : 2 * id)

const spelled = (id: number): ReadonlyArray<string> => Array.from(String(spread(id)).padStart(digits, "0"))

/**
 * The prompt as the inside of a JSON list. `serial` sets the part behind its last full block apart from that of any other
 * request, as far as there is room.
 */
export const make = (blockSize: number): ((request: Request, serial: number) => string) => {
  if (blockSize < digits) throw new Error(`Blocks of ${blockSize} tokens cannot hold an id: at least ${digits}.`)
  const filler = ",0".repeat(blockSize - digits)
  return ({ blocks, promptTokens }, serial) => {
    const parts = Array.from(blocks, (id) => spelled(id).join(",") + filler)
    const left = promptTokens - blocks.length * blockSize
    if (left > 0) {
      const tail = [String(behind), ...spelled(serial)].slice(0, left)
      parts.push(tail.join(",") + ",0".repeat(left - tail.length))
    }
    return parts.join(",")
  }
}
