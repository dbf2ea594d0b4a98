/** Messages whose content follows from their number, and a tally of those that came: each whole, and once. */

/** Bytes 0..3 are the number, the rest follows from it. */
export const message = (number: number, bytes: number): Uint8Array => {
  const made = new Uint8Array(Math.max(4, bytes))
  new DataView(made.buffer).setUint32(0, number, true)
  for (let i = 4, state = number | 1; i < made.length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
    made[i] = state >>> 24
  }
  return made
}

/** Lengths over the whole range, most of them short: as requests and answers are. */
export const lengthOf = (number: number, bytesMax: number): number =>
  number % 50 === 0 ? bytesMax : 4 + ((Math.imul(number, 2_654_435_761) >>> 0) % Math.min(2_000, bytesMax - 4))

export interface Tally {
  readonly take: (bytes: Uint8Array) => void
  readonly result: () => { readonly whole: number; readonly torn: number; readonly twice: number }
}

export const tally = (bytesMax: number): Tally => {
  const seen = new Set<number>()
  const counts = { whole: 0, torn: 0, twice: 0 }
  return {
    take: (bytes) => {
      const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)
      if (Buffer.compare(bytes, message(number, lengthOf(number, bytesMax))) !== 0) counts.torn++
      else if (seen.has(number)) counts.twice++
      else {
        seen.add(number)
        counts.whole++
      }
    },
    result: () => counts
  }
}
