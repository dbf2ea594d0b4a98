/** A node table in plain memory, and as a metadata store without a network. */
import { Effect } from "effect"
import { NodeReach } from "../../src/hot/NodeReach.ts"
import * as NodeReopen from "../../src/hot/NodeReopen.ts"
import type { NodeTable } from "../../src/hot/NodeTable.ts"
import * as PieceNode from "../../src/hot/PieceNode.ts"
import * as PieceWalk from "../../src/hot/PieceWalk.ts"
import { type Interface, StateStore } from "../../src/ports/StateStore.ts"

const mib = 2 ** 20

export const wordsOf = (mebibytes: number): Int32Array => new Int32Array((mebibytes * mib) / 4)

/** Opens the table in a memory: a new one, or what is in there of an earlier life. */
export const open = (
  words: Int32Array,
  { boot = 1, generation = 7, limitMib = words.length / (mib / 4), stepMib = 1 } = {}
): NodeReopen.Opened =>
  NodeReopen.open(words, {
    limitBytes: limitMib * mib,
    stepBytes: stepMib * mib,
    tenure: 1_000,
    life: { generationLo: generation, generationHi: 1, bornS: 5, boot: new Int32Array(4).fill(boot) }
  })

/** Names that a walk or a reader is told. */
export const nameOf = (table: NodeTable) => {
  const bySlot = new Map(Array.from(table.names.all(), ({ name, slot }) => [slot, name]))
  return (tenure: number): string | undefined => bySlot.get(table.names.slotOf(tenure) ?? -1)
}

export const lookup = (table: NodeTable, keys: Int32Array, count: number, stride: number, budget = 1e9) => {
  const reach = new NodeReach(table, keys, Math.min(count, keys.length / 2), stride)
  let steps = 1
  while (!reach.step(budget)) steps++
  const bySlot = new Map(Array.from(table.names.all(), ({ name, slot }) => [slot, name]))
  const found = reach.slots.map((slot, i) => ({
    name: bySlot.get(slot)!,
    blocks: reach.depths.slice(5 * i, 5 * i + 5)
  }))
  return { steps, found: found.filter(({ blocks }) => blocks.some((depth) => depth > 0)) }
}

export const records = function* (table: NodeTable): Generator<PieceNode.PieceNode> {
  for (let at = table.pages.recordFrom(0); at >= 0; at = table.pages.recordFrom(at + table.pages.granulesAt(at))) {
    yield table.node(at * 16)
  }
}

export const asStore = (table: NodeTable): Interface => {
  const now = () => Math.floor(Date.now() / 1_000)
  return StateStore.of({
    url: "table:",
    status: () => ({ connected: true, why: "", server: "table" }),
    generation: Effect.sync(() => table.generation),
    enter: (name) => Effect.sync(() => table.names.enter(name, 0, now()) ?? 0),
    settle: (name, tenure) => Effect.sync(() => table.names.settle(name, tenure)),
    leave: (name, tenure) => Effect.sync(() => table.names.leave(name, tenure)),
    write: (shares) =>
      Effect.sync(() => {
        for (const share of shares) table.write(share, now())
      }),
    lookup: (keys, count, stride) => Effect.sync(() => lookup(table, keys, count, stride, 40).found),
    read: (take) =>
      Effect.gen(function* () {
        const all = Array.from(records(table)).flatMap((node) => {
          const stretch = PieceWalk.stretch(PieceNode.bytesOf(node.slice()), nameOf(table))
          return stretch === null ? [] : [stretch]
        })
        for (let at = 0; at < all.length; at += 50) if (!(yield* take(all.slice(at, at + 50)))) return
      }),
    names: Effect.sync(() => Array.from(table.names.all(), ({ name, tenures }) => ({ name, tenures: tenures.length }))),
    findings: Effect.sync(() => [{ what: "blocks", value: String(table.blocks), fix: null }])
  })
}
