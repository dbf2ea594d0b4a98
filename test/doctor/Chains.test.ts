import { describe, expect, it } from "vitest"
import * as Chains from "../../src/doctor/Chains.ts"
import type { Heard } from "../../src/doctor/Seen.ts"
import type { BlockStored } from "../../src/domain/KvEvent.ts"
import { unsaid } from "../support/Unsaid.ts"

/** Blocks of two tokens, named by numbers, after a parent. */
const stored = (
  names: ReadonlyArray<number>,
  parent: number | null,
  given: Partial<BlockStored> = {}
): BlockStored => ({
  _tag: "BlockStored",
  hashes: Int32Array.from(names.flatMap((name) => [name, 0])),
  parent: parent === null ? null : Int32Array.of(parent, 0),
  tokenIds: Uint32Array.from(names.flatMap((name) => [10 * name, 10 * name + 1])),
  blockSize: 2,
  ...unsaid,
  ...given
})

const heard = (...batches: ReadonlyArray<ReadonlyArray<BlockStored>>): ReadonlyArray<Heard> =>
  batches.map((events, seq) => ({ seq, atMs: 100 + seq, why: "", batch: { ts: 1, events, rank: null, unknown: [] } }))

const tokens = (...names: ReadonlyArray<number>) => names.flatMap((name) => [10 * name, 10 * name + 1])

describe("Chains", () => {
  it("puts a prompt together that was told in pieces, among those of others", () => {
    const chains = Chains.of(heard([stored([1, 2], null)], [stored([7], null)], [stored([3], 2), stored([8], 7)]))
    expect(chains.map((chain) => chain.tokens)).toEqual([tokens(1, 2, 3), tokens(7, 8)])
    expect(chains[0]).toMatchObject({ isRoot: true, atMs: 100, engineMs: 1_000 })
  })

  it("begins a branch with what it shares", () => {
    const chains = Chains.of(heard([stored([1, 2, 3], null)], [stored([4], 2)]))
    expect(chains.map((chain) => chain.tokens)).toEqual([tokens(1, 2, 3), tokens(1, 2, 4)])
  })

  it("leaves out other tiers, a second KV group, and what names no tokens", () => {
    const others = [
      stored([1], null, { tier: "host" }),
      stored([2], null, { groupIdx: 1, slidingWindow: 8 }),
      stored([3], null, { tokenIds: new Uint32Array(0), blockSize: 0 })
    ]
    expect(Chains.of(heard(others))).toEqual([])
  })

  it("names the salt of a chain, and not its adapter", () => {
    const [vllm, sglang] = Chains.of(
      heard([
        stored([1], null, { loraName: "poet", extraKeys: [["poet", "tenant"]] }),
        stored([2], null, { salt: "tenant" })
      ])
    )
    expect([vllm!.extra, sglang!.extra]).toEqual(["tenant", "tenant"])
  })

  it("finds a prompt whose beginning was cached before anybody listened", () => {
    const ids = Uint32Array.from(tokens(1, 2, 3, 4, 5))
    const match = Chains.find(Chains.of(heard([stored([3, 4], 2)])), ids)
    expect(match).toMatchObject({ from: 4, same: 4 })
    expect(Chains.find(Chains.of(heard([stored([3, 4], null)])), ids)).toBeNull()
  })

  it("finds the chain that has most of a prompt, and none that has less than a block of it", () => {
    const ids = Uint32Array.from([...tokens(1, 2), 30, 99])
    const chains = Chains.of(heard([stored([1], null)], [stored([1, 2, 3], null)], [stored([5], null)]))
    expect(Chains.find(chains, ids)).toMatchObject({ from: 0, same: 5 })
    expect(Chains.find(chains, Uint32Array.of(50, 52))).toBeNull()
  })
})
