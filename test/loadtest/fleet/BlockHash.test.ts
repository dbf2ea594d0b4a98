import { describe, expect, it } from "vitest"
import * as BlockHash from "../../../loadtest/fleet/vllm/BlockHash.ts"

const ascending = Array.from({ length: 64 }, (_, i) => i)

/** Published hashes of 0..63 in blocks of 16, as vLLM computes them with `sha256_cbor`. */
const chain = (seed: string, extras: (index: number) => ReadonlyArray<string>): ReadonlyArray<string> => {
  let parent = BlockHash.rootDigest(seed)
  return [0, 1, 2].map((i) => {
    parent = BlockHash.digest(parent, ascending, i * 16, (i + 1) * 16, extras(i))
    return BlockHash.published(parent).toString()
  })
}

describe("BlockHash", () => {
  it("computes vLLM's sha256_cbor chain", () => {
    expect(BlockHash.rootDigest("0").toString("hex")).toBe(
      "4e1195df020de59e0d65a33a4279f1183e7ae4e5d980e309f8b55adff2e61c3e"
    )
    expect(chain("0", () => [])).toEqual(["12687895063098490012", "1814341696565857452", "2713165534665270607"])
    expect(chain("1337", () => [])).toEqual(["5049836419188936452", "16491679757740516347", "8717235716685991074"])
  })

  it("keeps salts and adapters apart, the salt in the first block only", () => {
    const salted = chain("0", (i) => (i === 0 ? ["tenant-a-salt"] : []))
    expect(salted).toEqual(["17527418816040589368", "7287874783555529401", "6917978202148010575"])
    const adapted = chain("0", () => ["sql-adapter"])
    expect(adapted).toEqual(["8042577980934336343", "14807716761895838297", "1506781726274646473"])
    const both = chain("0", (i) => (i === 0 ? ["sql-adapter", "tenant-a-salt"] : ["sql-adapter"]))
    expect(both).toEqual(["12300208337169736321", "5612132374246264072", "18427375018941073982"])
  })

  it("draws another root for every life without a seed", () => {
    expect(BlockHash.rootDigest(null).equals(BlockHash.rootDigest(null))).toBe(false)
  })
})
