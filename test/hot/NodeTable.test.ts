import { describe, expect, it } from "vitest"
import type { KeyLanes } from "../../src/domain/Block.ts"
import { DEVICE } from "../../src/domain/Tier.ts"
import { sweep } from "../../src/hot/NodeEvict.ts"
import type { NodeTable } from "../../src/hot/NodeTable.ts"
import * as PieceNode from "../../src/hot/PieceNode.ts"
import { stateStoreConformance } from "../ports/StateStoreConformance.ts"
import { extend, random } from "../support/Chains.ts"
import { asStore, lookup, open, records, wordsOf } from "../support/NodeTables.ts"
import { stretchOf } from "../support/Shares.ts"

stateStoreConformance(
  "NodeTable as a store",
  async () => {
    const store = asStore(open(wordsOf(64)).table)
    return { client: async () => store, cut: null, wipe: null, close: async () => {} }
  },
  { steps: 200, requests: 300 }
)

const chain = (next: (below: number) => number, blocks: number): KeyLanes => extend(new Int32Array(0), 0, blocks, next)
const put = (
  table: NodeTable,
  tenure: number,
  keys: KeyLanes,
  { nowS = 100, stride = 32, isHeld = true, from = 0, to = keys.length / 2 } = {}
) => {
  for (const share of stretchOf({ tenure, layer: DEVICE, stride }, keys, isHeld, from, to)) table.write(share, nowS)
}
const enter = (table: NodeTable, name: string): number => {
  const tenure = table.names.enter(name, 0, 100)!
  table.names.settle(name, tenure)
  return tenure
}
const depth = (table: NodeTable, keys: KeyLanes, stride = 32): Record<string, number> =>
  Object.fromEntries(
    lookup(table, keys, keys.length / 2, stride).found.map(({ blocks, name }) => [name, blocks[DEVICE]!])
  )
/** Every count that is kept, counted again; and every node reached by what it branches off. */
const check = (table: NodeTable): void => {
  let blocks = 0
  let count = 0
  const wrong: Array<string> = []
  const children = new Map<string, number>()
  const name = (lo: number, hi: number) => `${lo} ${hi}`
  for (const node of records(table)) {
    count++
    blocks += PieceNode.count(node)
    const at = table.find(node[6]!, node[7]!)
    if (table.node(at).byteOffset !== node.byteOffset) wrong.push("not found")
    if (PieceNode.base(node) === 0) continue
    const end = at + 2 + node.length
    const above = name(table.words[end + 2]!, table.words[end + 3]!)
    children.set(above, (children.get(above) ?? 0) + 1)
  }
  for (const node of records(table)) {
    if (PieceNode.children(node) !== (children.get(name(node[6]!, node[7]!)) ?? 0)) wrong.push("children")
  }
  expect([wrong, table.index.count, table.blocks]).toEqual([[], count, blocks])
}

/** Workers that store chains which share prefixes, until `isOver`. */
const fill = (
  table: NodeTable,
  seed: number,
  { blocks, holders, stride }: { readonly blocks: number; readonly holders: number; readonly stride: number },
  isOver: (chains: ReadonlyArray<KeyLanes>) => boolean,
  nowS: () => number = () => 100
): Array<KeyLanes> => {
  const next = random(seed)
  const tenures = Array.from(table.names.all(), ({ tenures: [tenure] }) => tenure!)
  const all: Array<KeyLanes> = []
  while (!isOver(all)) {
    const from = all.length > 0 && next(4) > 0 ? all[next(all.length)]! : new Int32Array(0)
    const shared = next(Math.min(blocks, 1 + from.length / 2))
    const keys = extend(from, shared, blocks - shared, next)
    all.push(keys)
    for (let holder = 1 + next(holders); holder > 0; holder--) {
      put(table, tenures[next(tenures.length)]!, keys, { stride, nowS: nowS() })
    }
  }
  return all
}

const shapes = [
  // Blocks of 16 tokens: full pieces, some branches.
  { what: "long chains", blocks: 200, stride: 32, holders: 4, perBlock: 18 },
  // Blocks of 512 tokens: few keys in a node.
  { what: "short chains that branch soon", blocks: 14, stride: 8, holders: 2, perBlock: 40 },
  { what: "single blocks", blocks: 1, stride: 32, holders: 1, perBlock: 90 },
  { what: "pieces that dozens hold", blocks: 40, stride: 32, holders: 90, perBlock: 70 }
]

describe("NodeTable", () => {
  it.each(shapes)("takes all of $what until its memory is full to the last page", ({ perBlock, ...shape }) => {
    const { table } = open(wordsOf(10))
    const workers = Array.from({ length: 1_000 }, (_, i) => enter(table, `w${i}`))
    expect(workers).toHaveLength(1_000)
    let before = { used: 0, blocks: 0 }
    const all = fill(table, 1, shape, () => {
      if (table.hands.evicted === 0) before = { used: table.pages.used, blocks: table.blocks }
      return table.hands.evicted > 0
    })
    expect(table.refused).toBe(0)
    expect(before.used).toBeGreaterThan(table.pages.pagesMax - 3)
    const bytes = (before.used - 96) * 65_536
    expect(bytes / before.blocks).toBeLessThan(perBlock)
    expect(all.length).toBeGreaterThan(50)
    check(table)
  })

  it.each(shapes)("makes room for more of $what by what was written longest ago", (shape) => {
    const { table } = open(wordsOf(9))
    for (let i = 0; i < 800; i++) enter(table, `w${i}`)
    let now = 100
    let full = 0
    const all = fill(
      table,
      2,
      shape,
      (chains) => {
        now++
        if (full === 0 && table.hands.evicted > 0) full = chains.length
        return full > 0 && chains.length > 2 * full
      },
      () => now
    )
    expect(table.refused).toBe(0)
    check(table)
    const whole = (some: ReadonlyArray<KeyLanes>) =>
      some.filter((keys) => Object.values(depth(table, keys, shape.stride)).some((held) => held === shape.blocks))
        .length
    const tenth = Math.floor(all.length / 10)
    expect(whole(all.slice(-tenth))).toBeGreaterThan(tenth * 0.8)
    expect(whole(all.slice(-tenth))).toBeGreaterThan(whole(all.slice(0, tenth)))
  })

  it("is as good after days in which everything in it was replaced many times", () => {
    const { table } = open(wordsOf(9))
    for (let i = 0; i < 300; i++) enter(table, `w${i}`)
    const dayS = 86_400
    const held: Array<number> = []
    for (let day = 0; day < 12; day++) {
      let now = 100 + day * dayS
      // Each day has its own mix, so sizes of records that were right yesterday are wrong today.
      const { blocks, holders, stride } = shapes[[0, 1, 2, 0, 3, 1, 0, 2, 3, 1, 0, 0][day]!]!
      const before = table.hands.evicted
      fill(
        table,
        day,
        { blocks, holders, stride },
        (chains) => {
          now++
          sweep(table, 200, 100 + day * dayS - 7_200)
          return table.hands.evicted > before + 600 || chains.length > 15_000
        },
        () => now
      )
      check(table)
      held.push(table.blocks)
    }
    // The same mix on the first day, the seventh, and the last two.
    expect(held[6]! / held[0]!).toBeGreaterThan(0.9)
    expect(held[11]! / held[0]!).toBeGreaterThan(0.9)
    expect(table.refused).toBe(0)
    // Everything old goes, and its memory with it.
    for (let round = 0; round < 40; ) if (sweep(table, 5_000, Infinity)) round++
    expect([table.blocks, table.index.count]).toEqual([0, 0])
    expect([table.pages.used - 96, table.pages.indexPages]).toEqual([1, 1])
  })

  it("begins with what it is given, and grows in steps to all there is before anything goes", () => {
    const { table } = open(wordsOf(24), { limitMib: 8, stepMib: 2 })
    for (let i = 0; i < 10; i++) enter(table, `w${i}`)
    expect(table.pages.limit).toBe(128)
    const limits = new Set<number>()
    fill(table, 3, shapes[0]!, () => {
      limits.add(table.pages.limit)
      return table.hands.evicted > 0
    })
    expect([...limits]).toEqual([8, 10, 12, 14, 16, 18, 20, 22, 24].map((mib) => mib * 16))
  })

  it("lets go of what was written under tenures that do not count before anything else", () => {
    const { table } = open(wordsOf(16))
    const next = random(4)
    const [old, kept] = [enter(table, "old"), enter(table, "kept")]
    const chains: Array<KeyLanes> = []
    while (table.pages.used < 200) {
      const keys = chain(next, 64)
      put(table, chains.length % 2 === 0 ? kept : old, keys)
      chains.push(keys)
    }
    table.names.leave("old", old)
    const mine = chains.filter((_, i) => i % 2 === 0)
    // As much again as was the other's.
    for (let i = 0; i < mine.length; i++) put(table, kept, chain(next, 64))
    expect(table.hands.evicted).toBe(0)
    for (const keys of mine) expect(depth(table, keys)).toEqual({ kept: 64 })
    check(table)
  })

  it("leaves pieces of another length as they are, and looks at nothing else for that", () => {
    const { table } = open(wordsOf(16))
    const [mine, other] = [enter(table, "mine"), enter(table, "other")]
    const next = random(8)
    const keys = chain(next, 32)
    put(table, mine, keys)
    for (let i = 0; i < 2_000; i++) put(table, mine, chain(next, 8))
    let looked = 0
    const { recordFrom } = table.pages
    table.pages.recordFrom = (from) => {
      looked++
      return recordFrom.call(table.pages, from)
    }
    put(table, other, keys, { stride: 8, to: 8 })
    put(table, other, keys, { stride: 8, to: 8, isHeld: false })
    expect(looked).toBe(0)
    expect([depth(table, keys), depth(table, keys, 8)]).toEqual([{ mine: 32 }, {}])
    check(table)
  })

  it("keeps the latest of the holders that a node has no room for", () => {
    const { table } = open(wordsOf(16))
    const keys = chain(random(5), 10)
    const tenures = Array.from({ length: 61 }, (_, i) => {
      const own = Array.from({ length: 60 }, () => table.names.enter(`w${i}`, 0, 100)!)
      return own
    }).flat()
    for (const tenure of tenures) put(table, tenure, keys)
    for (let i = 0; i < 700; i++) put(table, table.names.enter(`v${i}`, 0, 100)!, keys)
    const [node] = records(table)
    expect(PieceNode.holders(node!)).toBe(4_096)
    expect(Object.keys(depth(table, keys)).filter((name) => name.startsWith("v"))).toHaveLength(700)
    expect(lookup(table, keys, 10, 32, 100).steps).toBe(2)
    check(table)
  })
})

describe("A node table after a restart", () => {
  const filled = () => {
    const words = wordsOf(10)
    const { table } = open(words)
    for (let i = 0; i < 50; i++) enter(table, `w${i}`)
    const chains = fill(table, 6, shapes[1]!, (all) => all.length > 3_000)
    table.publish()
    const answers = chains.map((keys) => depth(table, keys, 8))
    return { words, table, chains, answers }
  }

  it("is what it was: generation, names, nodes, and room", () => {
    const { answers, chains, table, words } = filled()
    const next = enter(table, "late")
    const again = open(words, { generation: 9 })
    expect(again).toMatchObject({ isKept: true, dropped: 0, records: table.index.count })
    expect(again.table.generation).toBe(table.generation)
    expect(chains.map((keys) => depth(again.table, keys, 8))).toEqual(answers)
    expect(again.table.pages.used).toBeLessThanOrEqual(table.pages.used)
    expect(enter(again.table, "later")).toBeGreaterThan(next)
    check(again.table)
    fill(again.table, 7, shapes[0]!, () => again.table.hands.evicted > 0)
    check(again.table)
  })

  it("is empty, and of another generation, after the machine has booted", () => {
    const { chains, words } = filled()
    const again = open(words, { generation: 9, boot: 2 })
    expect(again).toMatchObject({ isKept: false, records: 0 })
    expect(again.table.generation).toBe("0000000100000009")
    expect([...again.table.names.all()]).toEqual([])
    enter(again.table, "w0")
    expect(depth(again.table, chains[0]!, 8)).toEqual({})
    check(again.table)
  })

  it("is empty when its superblock is torn", () => {
    const { words } = filled()
    words[9]! ^= 1
    expect(open(words, { generation: 9 })).toMatchObject({ isKept: false, records: 0 })
  })

  it("never names a holder that there was not, whatever bytes were torn", () => {
    const { answers, chains, table, words } = filled()
    let dropped = 0
    for (let seed = 0; seed < 30; seed++) {
      const next = random(seed)
      const torn = words.slice()
      for (let i = 0; i < 400; i++) {
        // Anywhere in names, index and records.
        torn[524_288 + next(table.pages.used * 16_384 - 524_288)]! ^= 1 << next(32)
      }
      if (seed % 5 === 0) torn[16_384 + next(1 << table.index.bits)]! ^= 1 << next(32)
      const again = open(torn)
      dropped += again.dropped
      expect(again.isKept).toBe(true)
      check(again.table)
      for (let i = 0; i < chains.length; i += 7) {
        for (const [name, blocks] of Object.entries(depth(again.table, chains[i]!, 8))) {
          expect(blocks).toBeLessThanOrEqual(answers[i]![name]!)
        }
      }
    }
    expect(dropped).toBeGreaterThan(500)
  })
})
