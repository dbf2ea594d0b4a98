/**
 * The least engine that has every semantic: a block cache with copies, eviction, a host tier and restarts, and the events
 * it publishes about them. Seeded, and as small as it can be: a hundred thousand of them are run against the router.
 *
 * A block is a node of a tree of conversations; a request is a path from a root. Blocks are of four tokens.
 */

import type { Random } from "../../loadtest/Random.ts"
import type { BlockStored, EngineEvent } from "../../src/domain/KvEvent.ts"
import { type DEVICE, HOST, type Tier } from "../../src/domain/Tier.ts"
import type { Hasher } from "../../src/hot/BlockHash.ts"

export const blockSize = 4
export const model = "m"

/** One block of a conversation, whether an engine holds it or not. */
export interface Node {
  readonly id: number
  readonly parent: Node | null
  readonly salt: string | null
  readonly lora: string | null
  readonly tokens: Uint32Array
  /** The router's key of it, computed apart from any event. */
  readonly key: Int32Array
  readonly name: number
}

export interface Traits {
  readonly blocks: number
  /** 0: no host tier. */
  readonly hostBlocks: number
  /** Offload events carry no tokens. */
  readonly hostEmpty: boolean
  /** Another hash seed in each life. */
  readonly randomSeed: boolean
  /** A sliding-window group is announced beside the full one. */
  readonly windowed: boolean
}

/** A key as one number: 53 of its 64 bits. */
export const nameOf = (keys: Int32Array, at: number): number =>
  (keys[at]! >>> 0) + (keys[at + 1]! & 0x1f_ffff) * 2 ** 32

/** The block `id` behind another one, or behind the root of its adapter and salt. */
export const nodeAfter = (hasher: Hasher, id: number, root: Node | NodeRoot): Node => {
  const { lora, salt } = root
  const parent = "id" in root ? root : null
  const tokens = Uint32Array.of(id, 7, id >>> 3, 11)
  const key = hasher.extend(root.key[0]!, root.key[1]!, tokens, blockSize, null)
  return { id, parent, salt, lora, tokens, key, name: nameOf(key, 0) }
}

/** What a conversation of a tenant hangs on. */
export interface NodeRoot extends Pick<Node, "key" | "lora" | "salt"> {}

export const rootOf = (hasher: Hasher, lora: string | null, salt: string | null): NodeRoot => ({
  lora,
  salt,
  key: hasher.root({ model, lora, salt, blockSize })
})

/** The blocks from the root to this one. */
export const pathTo = (tip: Node): Array<Node> => {
  const path: Array<Node> = []
  for (let at: Node | null = tip; at !== null; at = at.parent) path.push(at)
  return path.reverse()
}

export class ModelEngine {
  /** Chance that a request's last known block is computed again, into another copy. */
  private readonly copyChance = 0.1
  private readonly traits: Traits
  private readonly random: Random
  private readonly hasher: Hasher
  private readonly roots = new Map<string | null, NodeRoot>()
  private grown = 0
  private leaves: Array<Node> = []
  /** Copies by node, least recently used first. */
  private readonly device = new Map<Node, number>()
  private readonly host = new Set<Node>()
  private copies = 0
  private life = 1
  private events: Array<EngineEvent> = []

  constructor(traits: Traits, random: Random, hasher: Hasher) {
    this.traits = traits
    this.random = random
    this.hasher = hasher
  }

  /** Serves one request. Answers with the events of its steps, and how many blocks it stored. */
  serve(how: { readonly fresh: boolean; readonly reports: boolean }): { events: Array<EngineEvent>; stored: number } {
    return this.servePath(this.path(how.fresh), how.reports)
  }

  /** Serves the request that is this path. */
  servePath(path: ReadonlyArray<Node>, reports: boolean): { events: Array<EngineEvent>; stored: number } {
    let known = 0
    while (known < path.length && (this.device.has(path[known]!) || this.host.has(path[known]!))) known++
    for (const node of path.slice(0, known)) this.load(node, path)
    if (reports && known > 0) this.store("device", path.slice(0, known))
    if (known === path.length && this.random() < this.copyChance) this.compute(path.slice(-1), path)
    const missing = path.slice(known)
    this.compute(missing, path)
    // Freed tail first: the tail is older than the head.
    for (const node of [...path].reverse()) this.touch(node)
    return { events: this.take(), stored: missing.length }
  }

  /** The prefix cache was reset. */
  clear(): Array<EngineEvent> {
    this.device.clear()
    this.host.clear()
    this.copies = 0
    this.events.push({ _tag: "AllBlocksCleared" })
    return this.take()
  }

  /** A new process: all is gone, and nothing says so. */
  restart(): void {
    this.device.clear()
    this.host.clear()
    this.copies = 0
    if (this.traits.randomSeed) this.life++
  }

  /** Names of the keys within reach of a tier. */
  truth(layer: typeof DEVICE | typeof HOST): Set<number> {
    const names = new Set<number>()
    for (const node of this.device.keys()) names.add(node.name)
    if (layer === HOST) for (const node of this.host) names.add(node.name)
    return names
  }

  private path(fresh: boolean): Array<Node> {
    let tip: Node | null = null
    if (!fresh && this.leaves.length > 0) {
      tip = this.leaves[Math.floor(this.random() * this.leaves.length)]!
      // A branch: back to somewhere on its way.
      if (this.random() < 0.3)
        for (let up = Math.floor(this.random() * 6); up > 0 && tip !== null; up--) tip = tip.parent
    }
    const longest = Math.max(1, Math.floor(this.traits.blocks / 3))
    let depth = 0
    for (let at = tip; at !== null; at = at.parent) depth++
    const salt = tip?.salt ?? (this.random() < 0.1 ? "tenant" : null)
    for (let more = 1 + Math.floor(this.random() * 5); more > 0 && depth < longest; more--, depth++)
      tip = this.grow(tip, salt)
    this.leaves = [...this.leaves.filter((leaf) => leaf !== tip).slice(-7), tip!]
    return pathTo(tip!)
  }

  private grow(parent: Node | null, salt: string | null): Node {
    return nodeAfter(this.hasher, this.grown++, parent ?? this.rootOf(salt))
  }

  private rootOf(salt: string | null): NodeRoot {
    let root = this.roots.get(salt)
    if (root === undefined) {
      root = rootOf(this.hasher, null, salt)
      this.roots.set(salt, root)
    }
    return root
  }

  private touch(node: Node): void {
    const copies = this.device.get(node)
    if (copies === undefined) return
    this.device.delete(node)
    this.device.set(node, copies)
  }

  /** A block found on the host is brought back to the device. */
  private load(node: Node, path: ReadonlyArray<Node>): void {
    if (!this.device.has(node)) this.compute([node], path)
  }

  private compute(nodes: ReadonlyArray<Node>, path: ReadonlyArray<Node>): void {
    for (const _ of nodes) if (this.copies >= this.traits.blocks) this.evict(path)
    for (const node of nodes) {
      this.device.set(node, (this.device.get(node) ?? 0) + 1)
      this.copies++
    }
    if (nodes.length > 0) this.store("device", nodes)
  }

  /** The least recently used block that nobody needs now; one copy of it. */
  private evict(path: ReadonlyArray<Node>): void {
    for (const [node, copies] of this.device) {
      if (path.includes(node) && copies === 1) continue
      this.copies--
      if (copies > 1) this.device.set(node, copies - 1)
      else {
        this.device.delete(node)
        this.offload(node)
      }
      this.remove("device", node)
      return
    }
  }

  private offload(node: Node): void {
    const { hostBlocks } = this.traits
    if (hostBlocks === 0) return
    if (!this.host.has(node)) this.store("host", [node])
    this.host.delete(node)
    this.host.add(node)
    for (const oldest of this.host) {
      if (this.host.size <= hostBlocks) break
      this.host.delete(oldest)
      this.remove("host", oldest)
    }
  }

  private store(tier: Tier, nodes: ReadonlyArray<Node>): void {
    const { hostEmpty, windowed } = this.traits
    const empty = tier === "host" && hostEmpty
    const parent = nodes[0]!.parent
    const event: BlockStored = {
      _tag: "BlockStored",
      hashes: Int32Array.from(nodes.flatMap((node) => this.hashOf(node))),
      parent: parent === null || empty ? null : Int32Array.from(this.hashOf(parent)),
      tokenIds: empty ? new Uint32Array(0) : Uint32Array.from(nodes.flatMap((node) => [...node.tokens])),
      blockSize: empty ? 0 : blockSize,
      loraId: null,
      tier,
      loraName: empty ? null : nodes[0]!.lora,
      extraKeys: nodes.map((node) => (empty ? null : extraKeysOf(node))),
      groupIdx: 0,
      specKind: empty ? null : "full_attention",
      slidingWindow: null,
      locality: null,
      ownership: null,
      sessionId: null,
      salt: null
    }
    this.events.push(event)
    if (!windowed || tier !== "device") return
    this.events.push({ ...event, groupIdx: 1, specKind: "sliding_window", slidingWindow: 8 })
  }

  private remove(tier: Tier, node: Node): void {
    const { _tag, hashes } = { _tag: "BlockRemoved", hashes: Int32Array.from(this.hashOf(node)) } as const
    this.events.push({ _tag, hashes, tier, groupIdx: 0, locality: null, ownership: null })
    if (this.traits.windowed && tier === "device") {
      this.events.push({ _tag, hashes, tier, groupIdx: 1, locality: null, ownership: null })
    }
  }

  private hashOf({ id }: Node): [number, number] {
    const { life } = this
    return [Math.imul(id + 1, 0x9e37_79b1) ^ Math.imul(life, 0x85eb_ca6b), Math.imul(id ^ (life << 20), 0xc2b2_ae35)]
  }

  private take(): Array<EngineEvent> {
    const { events } = this
    this.events = []
    return events
  }
}

/** As an engine tells them: the adapter enters every block, the salt the first. */
const extraKeysOf = ({ lora, parent, salt }: Node): ReadonlyArray<string> | null => {
  const keys: Array<string> = []
  if (lora !== null) keys.push(lora)
  if (parent === null && salt !== null) keys.push(salt)
  return keys.length === 0 ? null : keys
}
