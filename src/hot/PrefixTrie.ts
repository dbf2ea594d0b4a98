/**
 * PrefixTrie: prompts by how they begin. A chain's key names its block and all before it, so chains that have one key in
 * common have all before it in common: how far a group of them goes together is found by halving.
 */
import type { KeyLanes } from "../domain/Block.ts"

export interface Node {
  /** One of the chains below, and how many of its leading keys all of them share. */
  readonly chain: number
  readonly blocks: number
  /** Chains that begin so, those that end here among them. */
  readonly count: number
  readonly children: Array<Node>
}

/** A node that is found, and its chains. */
interface Group {
  readonly node: Node
  readonly members: ReadonlyArray<number>
}

/** Of the key at `block`. 53 bits of it: enough to tell some thousand apart. */
const keyOf = (keys: KeyLanes, block: number): number =>
  (keys[2 * block + 1]! & 0x1f_ffff) * 0x1_0000_0000 + (keys[2 * block]! >>> 0)

/**
 * The beginnings that at least `least` chains share, the most frequent first, `most` of them at most: so every node's parent
 * is among them. O(chains · nodes · log blocks).
 */
export const build = (chains: ReadonlyArray<KeyLanes>, least: number, most: number): ReadonlyArray<Node> => {
  const roots: Array<Node> = []
  const waiting: Array<{ readonly group: Group; readonly into: Array<Node> }> = []
  const add = (members: ReadonlyArray<number>, from: number, into: Array<Node>) => {
    for (const group of groupsOf(chains, members, from, least)) waiting.push({ group, into })
  }
  add([...chains.keys()], 0, roots)
  for (let nodes = 0; nodes < most && waiting.length > 0; nodes++) {
    waiting.sort((a, b) => a.group.node.count - b.group.node.count)
    const { group, into } = waiting.pop()!
    into.push(group.node)
    add(group.members, group.node.blocks, group.node.children)
  }
  return roots
}

/** What goes on from `from`, by the next key. */
const groupsOf = (
  chains: ReadonlyArray<KeyLanes>,
  members: ReadonlyArray<number>,
  from: number,
  least: number
): ReadonlyArray<Group> => {
  const byKey = new Map<number, Array<number>>()
  for (const chain of members) {
    const keys = chains[chain]!
    if (keys.length >> 1 <= from) continue
    const key = keyOf(keys, from)
    const same = byKey.get(key)
    if (same === undefined) byKey.set(key, [chain])
    else same.push(chain)
  }
  return [...byKey.values()]
    .filter((same) => same.length >= least)
    .map((same) => ({
      members: same,
      node: { chain: same[0]!, blocks: shared(chains, same, from), count: same.length, children: [] }
    }))
}

/** Leading keys that all of them have; at least one more than `from`. */
const shared = (chains: ReadonlyArray<KeyLanes>, members: ReadonlyArray<number>, from: number): number => {
  const first = chains[members[0]!]!
  let known = from
  let beyond = Math.min(...members.map((chain) => chains[chain]!.length >> 1))
  while (known + 1 < beyond) {
    const middle = (known + beyond) >> 1
    const key = keyOf(first, middle)
    if (members.every((chain) => keyOf(chains[chain]!, middle) === key)) known = middle
    else beyond = middle
  }
  return known + 1
}
