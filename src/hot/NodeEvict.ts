/**
 * NodeEvict: what leaves a node table: leaves, when room is wanted or nobody has written them for long, and entries of
 * tenures that do not count.
 *
 * A leaf is a node that nothing branches off. Others stay as long as something does, else what branches off could be met again
 * by a later path, with holders that have let go of it since.
 */
import * as Layout from "./NodeLayout.ts"
import { granuleWords } from "./NodePages.ts"
import type { NodeTable } from "./NodeTable.ts"
import * as PieceNode from "./PieceNode.ts"

/** Leaves compared when one must go, and records looked at to find them. */
const leavesMax = 16
const looksMax = 4_096

/** Where the clock hands are, in granules, and what has gone so far. */
export const hands = () => ({ evict: 0, sweep: 0, evicted: 0, expired: 0, voided: 0 })

/** Lets the least recently written of the next leaves go. False when there is none. */
export const evict = (table: NodeTable): boolean => {
  const { hands, pages } = table
  let oldest = 0
  let oldestS = Infinity
  for (let looked = 0, leaves = 0, wraps = 0; looked < looksMax && leaves < leavesMax && wraps < 2; looked++) {
    const granule = pages.recordFrom(hands.evict)
    if (granule < 0) {
      hands.evict = 0
      wraps++
      continue
    }
    hands.evict = granule + pages.granulesAt(granule)
    if (table.isOf(granule * granuleWords, table.busyLo, table.busyHi)) continue
    const left = strip(table, granule)
    if (left === 0) return true
    const node = table.node(left * granuleWords)
    if (PieceNode.children(node) > 0) continue
    leaves++
    if (PieceNode.touched(node) >= oldestS) continue
    oldest = left
    oldestS = PieceNode.touched(node)
  }
  if (oldest === 0) return false
  hands.evicted++
  removeLeaf(table, oldest)
  return true
}

/** Looks after the next `budget` records; leaves last written before `beforeS` go. True at the end of a round. */
export const sweep = (table: NodeTable, budget: number, beforeS: number): boolean => {
  const { hands, pages } = table
  if (table.index.shrink()) table.publish()
  for (let looked = 0; looked < budget; looked++) {
    const granule = pages.recordFrom(hands.sweep)
    if (granule < 0) {
      hands.sweep = 0
      return true
    }
    hands.sweep = granule + pages.granulesAt(granule)
    const node = table.node(granule * granuleWords)
    if (PieceNode.children(node) === 0 && PieceNode.touched(node) < beforeS) {
      hands.expired++
      removeLeaf(table, granule)
    } else strip(table, granule)
  }
  return false
}

/** Takes out the entries of tenures that do not count. Where the record is then; 0 when nothing was left and it went. */
const strip = (table: NodeTable, granule: number): number => {
  const node = table.node(granule * granuleWords)
  const first = PieceNode.headBytes / 4 + 2 * PieceNode.count(node)
  let dead = 0
  for (let entry = first; entry < node.length; entry += 2) if (!isAlive(table, node[entry]!)) dead++
  if (dead === 0) return granule
  table.hands.voided += dead
  const left = node.slice(0, node.length - 2 * dead)
  for (let entry = first, to = first; entry < node.length; entry += 2) {
    if (!isAlive(table, node[entry]!)) continue
    left[to++] = node[entry]!
    left[to++] = node[entry + 1]!
  }
  left[3] = PieceNode.children(node) | ((PieceNode.holders(node) - dead) << 16)
  table.rewrite(granule, left)
  const there = table.index.find(left[6]!, left[7]!)
  if (!PieceNode.isEmpty(left)) return there
  removeLeaf(table, there)
  return 0
}

const isAlive = (table: NodeTable, tag: number): boolean =>
  table.names.slotOf(PieceNode.tenureOf(tag >>> 0)) !== undefined

/** Takes a leaf out, and the nodes above it that nobody holds then. */
const removeLeaf = (table: NodeTable, leaf: number): void => {
  const { words } = table
  for (let granule = leaf; granule !== 0; ) {
    const tail = Layout.tailOf(words, granule * granuleWords)
    table.erase(granule)
    if (tail.length === 0) return
    granule = table.index.find(tail[2]!, tail[3]!)
    if (granule === 0) return
    const at = granule * granuleWords
    const above = table.node(at)
    PieceNode.adopt(above, -1)
    Layout.sealRecord(words, at)
    if (!PieceNode.isEmpty(above)) return
  }
}
