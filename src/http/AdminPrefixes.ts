/**
 * `GET /admin/prefixes`: how the newest requests began, as a tree, and who holds each of its prefixes. No text is known here:
 * a prefix is named by the key of its last block. Worked out when asked, and kept for a second, whoever asks.
 */
import type { PrefixIndex } from "../../actors/PrefixIndex.ts"
import type { KeyLanes } from "../domain/Block.ts"
import type { Prefixes, PrefixHolder, PrefixNode } from "../domain/Live.ts"
import { type Layer, layersMax } from "../domain/Tier.ts"
import * as PrefixTrie from "../hot/PrefixTrie.ts"
import { fault, type Room } from "./AdminReply.ts"
import type { RecentPrompt } from "./RecentPrompts.ts"

export interface Deps {
  readonly recent: () => ReadonlyArray<RecentPrompt>
  readonly depths: PrefixIndex["Service"]["depths"]
  /** As in `Pictures.nameOf`; undefined for a slot that is nobody's. */
  readonly nameOf: (slot: number) => string | undefined
  readonly workersMax: number
  readonly now: () => number
}

const nodesMax = 200
const holdersMax = 8
/** Less is no prefix that anybody shares, or too little of the traffic to matter: 1 in 200. */
const leastOf = (requests: number): number => Math.max(2, Math.ceil(requests / 200))
const keptMs = 1_000

const hex = (keys: KeyLanes, block: number): string =>
  [keys[2 * block + 1]!, keys[2 * block]!].map((lane) => (lane >>> 0).toString(16).padStart(8, "0")).join("")

export const make = (deps: Deps): Room => {
  const { workersMax } = deps
  const depths = new Uint32Array(layersMax * workersMax)
  let known: Prefixes | null = null
  let knownMs = 0

  /** Slots that have anything of it, the most first; in the nearest layer where they have that much. */
  const holdersOf = (keys: KeyLanes, blocks: number): ReadonlyArray<PrefixHolder> => {
    const layers = deps.depths(keys, blocks, depths) ? layersMax : 1
    const holders: Array<PrefixHolder> = []
    for (let slot = 0; slot < workersMax; slot++) {
      let layer = 0
      for (let i = 1; i < layers; i++) {
        if (depths[i * workersMax + slot]! > depths[layer * workersMax + slot]!) layer = i
      }
      const held = depths[layer * workersMax + slot]!
      const worker = held === 0 ? undefined : deps.nameOf(slot)
      if (worker !== undefined) holders.push({ worker, blocks: held, layer: layer as Layer })
    }
    return holders.sort((a, b) => b.blocks - a.blocks)
  }

  const work = (): Prefixes => {
    const recent = deps.recent()
    const requests = recent.length
    const shown = (node: PrefixTrie.Node): PrefixNode => {
      const { blockSize, keys, model } = recent[node.chain]!
      const holders = holdersOf(keys, node.blocks)
      return {
        key: hex(keys, node.blocks - 1),
        model,
        blocks: node.blocks,
        tokens: node.blocks * blockSize,
        requests: node.count,
        share: node.count / requests,
        holders: holders.slice(0, holdersMax),
        moreHolders: Math.max(0, holders.length - holdersMax),
        children: node.children.map(shown)
      }
    }
    const roots = PrefixTrie.build(
      recent.map(({ keys }) => keys),
      leastOf(requests),
      nodesMax
    ).map(shown)
    return { requests, alone: requests - roots.reduce((sum, root) => sum + root.requests, 0), roots }
  }

  return (request, { pathname }, rest) => {
    const { method = "GET" } = request
    if (rest.length > 0) return fault(404, "unknown_path", `There is no ${pathname} here.`, "Use GET /admin/prefixes.")
    if (method !== "GET" && method !== "HEAD") {
      return fault(405, "wrong_method", `${pathname} does not take ${method}.`, "Use GET.", { allow: "GET" })
    }
    if (known === null || deps.now() - knownMs >= keptMs) {
      known = work()
      knownMs = deps.now()
    }
    return { status: 200, json: known }
  }
}
