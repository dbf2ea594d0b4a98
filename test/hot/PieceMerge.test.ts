import { describe, expect, it } from "vitest"
import type { KeyLanes } from "../../src/domain/Block.ts"
import { DEVICE, GUESS, HOST, type Layer } from "../../src/domain/Tier.ts"
import * as PieceMerge from "../../src/hot/PieceMerge.ts"
import * as PieceNode from "../../src/hot/PieceNode.ts"
import * as PieceWalk from "../../src/hot/PieceWalk.ts"
import { extend, random } from "../support/Chains.ts"

const stride = 8

/** Nodes in a map, as a store would have them; counts what is put. */
const makeBag = () => {
  const nodes = new Map<string, Uint8Array>()
  const bag = {
    puts: 0,
    nodes,
    get: (headLo: number, headHi: number, lo: number, hi: number) =>
      nodes.get(`${headLo} ${headHi}/${lo} ${hi}`)?.slice() ?? null,
    put: (headLo: number, headHi: number, lo: number, hi: number, node: PieceNode.PieceNode) => {
      bag.puts++
      nodes.set(`${headLo} ${headHi}/${lo} ${hi}`, PieceNode.bytesOf(node).slice())
    },
    delete: (headLo: number, headHi: number, lo: number, hi: number) =>
      void nodes.delete(`${headLo} ${headHi}/${lo} ${hi}`),
    drop: (headLo: number, headHi: number) => {
      for (const name of nodes.keys()) if (name.startsWith(`${headLo} ${headHi}/`)) nodes.delete(name)
    }
  }
  return bag
}
type Bag = ReturnType<typeof makeBag>

const chain = (seed: number, count = stride): KeyLanes => extend(new Int32Array(0), 0, count, random(seed))
/** Goes its own way after `shared` blocks of another. */
const branch = (of: KeyLanes, shared: number, seed: number): KeyLanes =>
  extend(of, shared, of.length / 2 - shared, random(seed))

const all = (count: number) => PieceNode.before(count)
const write = (
  bag: Bag,
  keys: KeyLanes,
  held: number,
  told = all(keys.length / 2),
  tenure = 1,
  layer: Layer = DEVICE
) => PieceMerge.merge(bag, { tenure, layer, stride, piece: 0, parent: null, keys, told, held }, 100, null)

const lookup = (bag: Bag, keys: KeyLanes, count = keys.length / 2) => {
  const walk = PieceWalk.make(keys, count, stride)
  let rounds = 0
  for (let asked = PieceWalk.wanted(walk); asked.length > 0; asked = PieceWalk.wanted(walk), rounds++) {
    const nodes = Array.from({ length: asked.length / 4 }, (_, i) =>
      bag.get(asked[4 * i]!, asked[4 * i + 1]!, asked[4 * i + 2]!, asked[4 * i + 3]!)
    )
    PieceWalk.take(walk, nodes)
  }
  const reach = PieceWalk.reach(walk, (tenure) => `w${tenure}`)
  return { rounds, depths: Object.fromEntries(reach.map(({ blocks, name }) => [name, blocks])) }
}
const device = (bag: Bag, keys: KeyLanes, count?: number) => lookup(bag, keys, count).depths["w1"]?.[DEVICE] ?? 0

describe("PieceMerge", () => {
  it("keeps a path that everyone shares in one node, and a branch in one of its own", () => {
    const bag = makeBag()
    const one = chain(1)
    const other = branch(one, 3, 2)
    write(bag, one, all(8))
    write(bag, one, all(8), all(8), 2)
    expect(bag.nodes.size).toBe(1)
    write(bag, other, all(8))
    expect(bag.nodes.size).toBe(2)
    expect([device(bag, one), device(bag, other)]).toEqual([8, 8])
    expect(lookup(bag, other).depths["w2"]).toEqual([3, 3, 3, 3, 0])
    const root = PieceNode.of(bag.get(one[0]!, one[1]!, one[0]!, one[1]!)!)!
    expect([PieceNode.children(root), PieceNode.holders(root)]).toEqual([1, 2])
  })

  it("lets a node grow as its chain does", () => {
    const bag = makeBag()
    const keys = chain(3)
    for (let count = 1; count <= 8; count++) {
      write(bag, keys.subarray(0, 2 * count), all(count))
      expect(device(bag, keys)).toBe(count)
    }
    expect(bag.nodes.size).toBe(1)
  })

  it("finds a path three branches deep in three rounds, in one when nothing branches", () => {
    const bag = makeBag()
    const paths = [chain(4)]
    for (const shared of [2, 4, 6]) paths.push(branch(paths.at(-1)!, shared, shared))
    for (const path of paths) write(bag, path, all(8))
    expect(bag.nodes.size).toBe(4)
    expect(paths.map((path) => lookup(bag, path).rounds)).toEqual([1, 2, 3, 3])
    expect(paths.map((path) => device(bag, path))).toEqual([8, 8, 8, 8])
  })

  it("does not follow what lies behind a block that nobody holds", () => {
    const bag = makeBag()
    const keys = chain(5)
    const other = branch(keys, 4, 6)
    write(bag, keys, all(8))
    write(bag, other, all(8))
    write(bag, keys, 0, 0b10)
    expect(lookup(bag, other)).toEqual({ rounds: 1, depths: { w1: [1, 1, 1, 1, 0] } })
  })

  it("removes nodes from the tip on once nobody holds any of them", () => {
    const bag = makeBag()
    const one = chain(7)
    const two = branch(one, 2, 8)
    const three = branch(two, 5, 9)
    for (const path of [one, two, three]) write(bag, path, all(8))
    write(bag, one, 0)
    expect([device(bag, three), bag.nodes.size]).toEqual([0, 3])
    write(bag, two, 0)
    expect(bag.nodes.size).toBe(3)
    write(bag, three, 0)
    expect(bag.nodes.size).toBe(0)
  })

  it("tells layers apart: a tier has what nearer ones have, guesses stand alone", () => {
    const bag = makeBag()
    const keys = chain(10)
    write(bag, keys, 0b0000_0011)
    write(bag, keys, 0b0000_1100, all(8), 1, HOST)
    write(bag, keys, 0b0111_1111, all(8), 1, GUESS)
    expect(lookup(bag, keys).depths["w1"]).toEqual([2, 4, 4, 4, 7])
  })

  it("writes nothing that is written already", () => {
    const bag = makeBag()
    const keys = chain(11)
    write(bag, keys, all(8))
    write(bag, branch(keys, 3, 12), all(8))
    const puts = bag.puts
    write(bag, keys, all(8))
    write(bag, branch(keys, 3, 12), all(8))
    write(bag, keys, 0, all(8), 2)
    expect(bag.puts).toBe(puts)
  })

  it("begins a piece anew when one of its nodes is damaged, and counts it as not there until then", () => {
    for (const damage of [(b: Uint8Array) => b.fill(255, 8, 12), (b: Uint8Array) => b.fill(7, 24, 28)]) {
      const bag = makeBag()
      const keys = chain(13)
      const other = branch(keys, 3, 14)
      write(bag, keys, all(8))
      write(bag, other, all(8))
      const name = `${keys[0]} ${keys[1]}/${other[6]} ${other[7]}`
      damage(bag.nodes.get(name)!)
      expect(device(bag, other)).toBe(3)
      write(bag, other, all(8))
      expect(device(bag, other)).toBe(8)
      expect(device(bag, keys)).toBe(3)
      expect(bag.nodes.size).toBe(1)
    }
  })

  it("keeps the newest holders when there are too many, and of those no longer alive none", () => {
    const bag = makeBag()
    const keys = chain(15, 1)
    const root = () => PieceNode.of(bag.get(keys[0]!, keys[1]!, keys[0]!, keys[1]!)!)!
    const tenures = () => Array.from({ length: PieceNode.holders(root()) }, (_, i) => PieceNode.tag(root(), i) >>> 3)
    for (let tenure = 2; tenure <= PieceNode.holdersMax + 3; tenure++) write(bag, keys, 1, 1, tenure)
    write(bag, keys, 1, 1, 1)
    expect(PieceNode.holders(root())).toBe(PieceNode.holdersMax)
    expect(Math.min(...tenures())).toBe(4)
    const share = { tenure: 9_999, layer: DEVICE, stride, piece: 0, parent: null, keys, told: 1, held: 1 } as const
    PieceMerge.merge(bag, share, 100, (tenure) => tenure > 4_000)
    expect(tenures().sort((a, b) => a - b)).toEqual([...Array.from({ length: 99 }, (_, i) => 4_001 + i), 9_999])
  })
})

describe("PieceNode", () => {
  it("reads anything without looking beyond its end, and takes what is no node for none", () => {
    const keys = chain(16)
    const bag = makeBag()
    write(bag, keys, all(8))
    write(bag, keys, all(5), all(8), 2)
    const good = bag.get(keys[0]!, keys[1]!, keys[0]!, keys[1]!)!
    expect(PieceNode.of(good)).not.toBeNull()
    for (let length = 0; length < good.length; length++) expect(PieceNode.of(good.subarray(0, length))).toBeNull()
    const next = random(17)
    let taken = 0
    for (let i = 0; i < 20_000; i++) {
      const bytes = good.slice()
      for (let bit = next(4); bit >= 0; bit--) bytes[next(20)]! ^= 1 << next(8)
      const node = PieceNode.of(bytes)
      if (node === null) continue
      taken++
      expect(node.length).toBe(6 + 2 * (PieceNode.count(node) + PieceNode.holders(node)))
      expect(PieceNode.base(node) + PieceNode.count(node)).toBeLessThanOrEqual(PieceNode.stride(node))
    }
    expect(taken).toBeGreaterThan(0)
  })

  it("is read from wherever its bytes lie", () => {
    const node = PieceNode.make(8, 3, 1, 2, chain(18), 0, 8)
    for (let shift = 0; shift < 4; shift++) {
      const bytes = new Uint8Array(node.byteLength + shift)
      bytes.set(PieceNode.bytesOf(node), shift)
      expect(PieceNode.of(bytes.subarray(shift))).toEqual(node)
    }
  })

  it("has masks of as many places as a word has bits", () => {
    const keys = chain(19, 32)
    const bag = makeBag()
    for (const held of [-1, 0x7fff_ffff, -2, 1, 1 << 31]) {
      PieceMerge.merge(bag, { tenure: 1, layer: 0, stride: 32, piece: 0, parent: null, keys, told: -1, held }, 1, null)
      const walk = PieceWalk.make(keys, 32, 32)
      PieceWalk.take(walk, [bag.get(keys[0]!, keys[1]!, keys[0]!, keys[1]!)])
      const reach = PieceWalk.reach(walk, () => "w")
      const expected = held === -1 ? 32 : held === 0x7fff_ffff ? 31 : held & 1
      expect(reach[0]?.blocks[0] ?? 0).toBe(expected)
    }
  })
})
