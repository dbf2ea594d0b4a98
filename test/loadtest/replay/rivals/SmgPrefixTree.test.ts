import { describe, expect, it } from "vitest"
import { SmgPrefixTree } from "../../../../loadtest/replay/rivals/SmgPrefixTree.ts"
import * as Chains from "../../../support/Chains.ts"

interface Owned {
  readonly path: string
  readonly slot: number
  usedAt: number
  readonly ownedAt: number
}

/** The same, as a list. */
class Naive {
  owned: Array<Owned> = []
  #clock = 0

  #paths(keys: Int32Array): Array<string> {
    return Array.from({ length: keys.length / 2 }, (_, i) => keys.subarray(0, 2 * i + 2).join())
  }
  insert(slot: number, keys: Int32Array): void {
    for (const path of this.#paths(keys).reverse()) {
      const usedAt = this.#clock++
      const known = this.owned.find((one) => one.path === path && one.slot === slot)
      if (known === undefined) this.owned.push({ path, slot, usedAt, ownedAt: usedAt })
      else known.usedAt = usedAt
    }
  }
  evict(slot: number, max: number): void {
    const own = this.owned.filter((one) => one.slot === slot).sort((a, b) => b.usedAt - a.usedAt)
    const gone = new Set(own.slice(max))
    this.owned = this.owned.filter((one) => !gone.has(one))
  }
  match(keys: Int32Array): readonly [depth: number, owner: number] {
    const paths = this.#paths(keys)
    const known = new Set(this.owned.map((one) => one.path))
    const miss = paths.findIndex((path) => !known.has(path))
    const depth = miss < 0 ? paths.length : miss
    const owners = this.owned.filter((one) => one.path === paths[depth - 1]).sort((a, b) => a.ownedAt - b.ownedAt)
    return [depth, owners[0]?.slot ?? -1]
  }
}

describe("SmgPrefixTree", () => {
  it("knows the longest prefix sent and its first owner, and stays as small as told, like a list that does the same", () => {
    const next = Chains.random(7)
    const chains = Chains.forest(60, 12, next)
    const tree = new SmgPrefixTree(3)
    const naive = new Naive()
    for (let i = 0; i < 600; i++) {
      const keys = chains[next(chains.length)]!
      const slot = next(3)
      tree.insert(slot, keys, keys.length / 2)
      naive.insert(slot, keys)
      if (next(5) === 0) {
        const max = next(80)
        tree.evict(slot, max)
        naive.evict(slot, max)
      }
      const asked = chains[next(chains.length)]!
      const [depth, owner] = naive.match(asked)
      expect(tree.match(asked, asked.length / 2)).toBe(depth)
      if (depth > 0) expect(tree.firstOwner(asked, depth - 1)).toBe(owner)
      expect([...tree.size]).toEqual([0, 1, 2].map((s) => naive.owned.filter((one) => one.slot === s).length))
    }
  })

  it("is empty again when everything is evicted", () => {
    const next = Chains.random(8)
    const tree = new SmgPrefixTree(2)
    const chains = Chains.forest(300, 20, next)
    for (const keys of chains) tree.insert(next(2), keys, keys.length / 2)
    tree.evict(0, 0)
    tree.evict(1, 0)
    for (const keys of chains) expect(tree.match(keys, keys.length / 2)).toBe(0)
  })
})
