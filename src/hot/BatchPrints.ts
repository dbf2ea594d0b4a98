/**
 * BatchPrints: fingerprints of the last batches applied, by which one life of an engine is told from another.
 */

/** Batches remembered: 12 bytes each. */
export const window = 1_024

/** `window` of each. */
export interface Saved {
  readonly seqs: Float64Array
  readonly prints: Int32Array
}

export class BatchPrints {
  private readonly seqs = new Float64Array(window).fill(-1)
  private readonly prints = new Int32Array(window)

  add(seq: number, payload: Uint8Array): void {
    this.seqs[seq % window] = seq
    this.prints[seq % window] = printOf(payload)
  }

  /** 1: the very batch added under this number; -1: another one; 0: cannot say. */
  compare(seq: number, payload: Uint8Array): -1 | 0 | 1 {
    const at = seq % window
    if (this.seqs[at] !== seq) return 0
    return this.prints[at] === printOf(payload) ? 1 : -1
  }

  saved(): Saved {
    return { seqs: this.seqs.slice(), prints: this.prints.slice() }
  }

  restore({ prints, seqs }: Saved): void {
    this.seqs.set(seqs)
    this.prints.set(prints)
  }

  clear(): void {
    this.seqs.fill(-1)
  }
}

/** FNV-1a of the ends of a payload and its length: the time stamp at its head alone tells two lives apart. */
export const printOf = (payload: Uint8Array): number => {
  const { length } = payload
  let h = 0x811c_9dc5 ^ length
  const head = Math.min(length, 64)
  for (let i = 0; i < head; i++) h = Math.imul(h ^ payload[i]!, 0x0100_0193)
  for (let i = Math.max(head, length - 64); i < length; i++) h = Math.imul(h ^ payload[i]!, 0x0100_0193)
  return h
}
