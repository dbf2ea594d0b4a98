import { describe, expect, it } from "vitest"
import * as BpeMerge from "../../src/hot/BpeMerge.ts"
import { random } from "../support/Tokenizers.ts"

type Merge = readonly [left: number, right: number, merged: number]

/** Bytes are their own ids; merge i has rank i. */
const tablesOf = (merges: ReadonlyArray<Merge>, slots: number): BpeMerge.BpeTables => {
  const table = new Int32Array(slots * 4).fill(-1)
  for (const [rank, [left, right, merged]] of merges.entries()) BpeMerge.addMerge(table, left, right, rank, merged)
  const byteIds = Int32Array.from({ length: 256 }, (_, byte) => byte)
  return { byteIds, merges: table, bytes: new Uint8Array(), starts: new Uint32Array(), wholes: new Int32Array() }
}

/** Ten lines that say what BPE is: merge the lowest rank, leftmost first, until nothing merges. */
const naive = (merges: ReadonlyArray<Merge>, ids: ReadonlyArray<number>): Array<number> => {
  const out = [...ids]
  for (const [left, right, merged] of byRank(merges, out)) out.splice(at(out, left, right), 2, merged)
  return out
}
const at = (ids: ReadonlyArray<number>, left: number, right: number): number =>
  ids.findIndex((id, i) => id === left && ids[i + 1] === right)
function* byRank(merges: ReadonlyArray<Merge>, ids: ReadonlyArray<number>): Generator<Merge> {
  for (;;) {
    const merge = merges.find(([left, right]) => at(ids, left, right) !== -1)
    if (merge === undefined) return
    yield merge
  }
}

const encode = (tables: BpeMerge.BpeTables, scratch: BpeMerge.Scratch, bytes: ReadonlyArray<number>): Array<number> => {
  const out = BpeMerge.makeIds(1)
  BpeMerge.fit(scratch, bytes.length)
  scratch.bytes.set(bytes)
  BpeMerge.encode(tables, scratch, bytes.length, out)
  return [...out.ids.subarray(0, out.length)]
}

describe("BpeMerge", () => {
  it("merges as the naive rule does, in pieces short enough to scan and long enough for the heap", () => {
    const next = random(3)
    const scratch = BpeMerge.makeScratch()
    for (let round = 0; round < 60; round++) {
      // A small alphabet and nested merges, so that almost every step has ties and stale heap entries.
      const merges: Array<Merge> = []
      const known = [97, 98, 99]
      const pairs = new Set<string>()
      for (let i = 0; i < 24; i++) {
        const left = known[Math.floor(next() * known.length)]!
        const right = known[Math.floor(next() * known.length)]!
        if (pairs.has(`${left} ${right}`)) continue
        pairs.add(`${left} ${right}`)
        merges.push([left, right, 256 + i])
        known.push(256 + i)
      }
      const tables = tablesOf(merges, 64)
      for (const length of [1, 2, 7, 63, 64, 65, 150]) {
        const bytes = Array.from({ length }, () => 97 + Math.floor(next() * 3))
        expect(encode(tables, scratch, bytes)).toEqual(naive(merges, bytes))
      }
    }
  })

  it("takes a whole piece before it merges, when told to", () => {
    const bytes = Uint8Array.from(Buffer.from("abcabab"))
    const starts = Uint32Array.of(0, 3, 5, 7)
    const tables = { ...tablesOf([[97, 98, 300]], 16), bytes, starts, wholes: new Int32Array(16).fill(-1) }
    BpeMerge.addWhole(tables, 0)
    const scratch = BpeMerge.makeScratch()
    expect(encode(tables, scratch, [...Buffer.from("abc")])).toEqual([0])
    expect(encode(tables, scratch, [...Buffer.from("abcd")])).toEqual([300, 99, 100])
  })

  it("writes UTF-8 as Node does", () => {
    const scratch = BpeMerge.makeScratch()
    for (const text of ["", "aé\u07ff\u0800東\uffff😀\u{10ffff}", "x".repeat(5000)]) {
      BpeMerge.fit(scratch, text.length)
      const length = BpeMerge.utf8(scratch, text)
      expect(Buffer.from(scratch.bytes.subarray(0, length))).toEqual(Buffer.from(text))
    }
  })

  it("gives back the room one huge piece took", () => {
    const scratch = BpeMerge.makeScratch()
    BpeMerge.fit(scratch, 1_000_000)
    expect(scratch.bytes.length).toBeGreaterThanOrEqual(3_000_000)
    BpeMerge.shrink(scratch)
    expect(scratch.bytes.length).toBe(1024)
  })
})
