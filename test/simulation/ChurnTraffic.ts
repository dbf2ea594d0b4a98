/**
 * What a fleet is asked for all day: tenants that come and never come back, each with its salt or adapter, conversations
 * that grow and branch, and a few prefixes that everybody shares. Bounded in itself: what nobody asks for again is let go.
 */
import type { Random } from "../../loadtest/Random.ts"
import type { Hasher } from "../../src/hot/BlockHash.ts"
import { type Node, nodeAfter, pathTo, rootOf } from "./ModelEngine.ts"

const tenantsMax = 24
const conversationsMax = 6
/** Blocks of a conversation at most: far below the smallest cache. */
const depthMax = 80
const hotPrefixes = 3

interface Tenant {
  /** Its system prompt. */
  readonly prompt: Node
  readonly tips: Array<Node>
}

export class ChurnTraffic {
  private readonly random: Random
  private readonly hasher: Hasher
  private readonly hot: Array<Node> = []
  private readonly tenants: Array<Tenant> = []
  private nodes = 0
  /** Tenants there ever were. */
  tenantsSeen = 0

  constructor(random: Random, hasher: Hasher) {
    this.random = random
    this.hasher = hasher
  }

  /** The blocks of the next request. */
  next(): Array<Node> {
    const chance = this.random()
    if (chance < 0.1) return pathTo(this.grow(this.hotPrefix(), 1 + this.below(6)))
    if (chance < 0.3 || this.tenants.length === 0) this.arrive()
    const tenant = this.tenants[this.below(this.tenants.length)]!
    const which = this.below(conversationsMax)
    const tip = tenant.tips[which] ?? tenant.prompt
    const begins = pathTo(tip).length > depthMax
    const grown = this.grow(begins ? tenant.prompt : tip, 1 + this.below(16))
    tenant.tips[Math.min(which, tenant.tips.length)] = grown
    return pathTo(grown)
  }

  /** Blocks of a request that nobody shares. */
  fresh(): Array<Node> {
    return pathTo(this.grow(null, 20 + this.below(20)))
  }

  /** Everybody leaves. */
  clear(): void {
    this.hot.length = 0
    this.tenants.length = 0
  }

  private below(count: number): number {
    return Math.floor(this.random() * count)
  }

  /** Shared by all, and another one now and then. */
  private hotPrefix(): Node {
    const which = this.below(hotPrefixes)
    if (this.hot[which] === undefined || this.random() < 0.002) this.hot[which] = this.grow(null, 24)
    return this.hot[which]!
  }

  private arrive(): void {
    const number = this.tenantsSeen++
    const salt = number % 3 === 0 ? null : `tenant-${number}`
    const lora = number % 3 === 1 ? null : `adapter-${number}`
    const root = nodeAfter(this.hasher, this.nodes++, rootOf(this.hasher, lora, salt))
    if (this.tenants.length === tenantsMax) this.tenants.splice(this.below(tenantsMax), 1)
    this.tenants.push({ prompt: this.grow(root, 3 + this.below(8)), tips: [] })
  }

  private grow(from: Node | null, blocks: number): Node {
    let tip = from ?? nodeAfter(this.hasher, this.nodes++, rootOf(this.hasher, null, null))
    for (let more = blocks; more > 0; more--) tip = nodeAfter(this.hasher, this.nodes++, tip)
    return tip
  }
}
