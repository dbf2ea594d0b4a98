import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type RedisServer, start } from "../../../loadtest/servers/RedisServer.ts"
import * as Address from "../../../src/adapters/redis/Address.ts"
import * as Calls from "../../../src/adapters/redis/Calls.ts"
import * as Connect from "../../../src/adapters/redis/Connect.ts"
import * as Pieces from "../../../src/adapters/redis/Pieces.ts"
import * as Script from "../../../src/adapters/redis/Script.ts"
import type { KeyLanes } from "../../../src/domain/Block.ts"
import type { Layer } from "../../../src/domain/Tier.ts"
import * as PieceMerge from "../../../src/hot/PieceMerge.ts"
import * as PieceNode from "../../../src/hot/PieceNode.ts"
import type { Share } from "../../../src/ports/StateStore.ts"
import { forest, random } from "../../support/Chains.ts"
import { newNamespace, options } from "../../support/RedisRig.ts"

/** The nodes of all pieces as hex, by piece and node: what the merge in TypeScript makes. */
const makeBag = () => {
  const pieces = new Map<string, Map<string, Uint8Array>>()
  const of = (lo: number, hi: number) => pieces.get(Pieces.hex(lo, hi))
  const bag: PieceMerge.Bag = {
    get: (headLo, headHi, lo, hi) => of(headLo, headHi)?.get(Pieces.hex(lo, hi))?.slice() ?? null,
    put: (headLo, headHi, lo, hi, node) => {
      const head = Pieces.hex(headLo, headHi)
      pieces.set(head, (pieces.get(head) ?? new Map()).set(Pieces.hex(lo, hi), PieceNode.bytesOf(node).slice()))
    },
    delete: (headLo, headHi, lo, hi) => {
      of(headLo, headHi)?.delete(Pieces.hex(lo, hi))
      if (of(headLo, headHi)?.size === 0) pieces.delete(Pieces.hex(headLo, headHi))
    },
    drop: (lo, hi) => void pieces.delete(Pieces.hex(lo, hi))
  }
  return { bag, pieces }
}

/** Some words about a part of a path through one of its pieces. */
const shareOf = (chain: KeyLanes, stride: number, tenures: number, next: (below: number) => number): Share => {
  const length = chain.length / 2
  const piece = next(Math.ceil(length / stride))
  const from = piece * stride
  const end = Math.min(stride, length - from)
  const n = 1 + next(end)
  const any = () => (next(3) === 0 ? -1 : (next(2 ** 30) << 2) ^ next(2 ** 30))
  return {
    tenure: 1 + next(tenures),
    layer: next(5) as Layer,
    stride,
    piece,
    parent: from === 0 ? null : chain.slice(2 * from - 2, 2 * from),
    keys: chain.slice(2 * from, 2 * (from + n)),
    told: any() & PieceNode.before(n),
    held: any()
  }
}

describe("What runs inside Redis", () => {
  let server: RedisServer
  let connection: Connect.Connection
  beforeAll(async () => {
    server = await start()
    const url = `redis://127.0.0.1:${server.port}`
    connection = await Connect.open(Address.parse(url) as Address.Address, options(url), [], 5_000)
  })
  afterAll(async () => {
    connection?.close()
    await server?.close()
  })

  const stored = async (keys: Pieces.Keys, head: string): Promise<Record<string, string>> => {
    const rows = (await connection.send("", ["HGETALL", keys.piecePrefix + head])) as ReadonlyArray<Buffer>
    return Object.fromEntries(
      rows.flatMap((row, i) => (i % 2 === 0 ? [[String(row), rows[i + 1]!.toString("hex")]] : []))
    )
  }
  const byHead = (all: Map<string, Map<string, Uint8Array>>, head: string): Record<string, string> =>
    Object.fromEntries(Array.from(all.get(head) ?? [], ([name, node]) => [name, Buffer.from(node).toString("hex")]))

  const history = async (calls: Calls.Calls, seed: number, stride: number, steps: number, spoil = false) => {
    const next = random(seed)
    const keys = Pieces.keysOf(newNamespace())
    const { bag, pieces } = makeBag()
    const chains = forest(20, 3 * stride, next)
    const heads = new Set<string>()
    let now = 1_700_000_000
    for (let step = 0; step < steps; step++) {
      now += next(2)
      const floor = next(3) === 0 ? next(6) : 0
      const shares = Array.from({ length: 1 + next(6) }, () => shareOf(chains[next(chains.length)]!, stride, 12, next))
      for (const share of shares) {
        PieceMerge.merge(bag, share, now, floor === 0 ? null : (tenure) => tenure >= floor)
        heads.add(Pieces.hex(share.keys[0]!, share.keys[1]!))
      }
      const head = [String(now), "600000", String(floor)]
      for (const { key, shares: told } of Pieces.writesOf(keys, shares)) {
        await calls.call("write", [key], [...head, ...told])
      }
      if (spoil && next(5) === 0) await spoilOne(pieces, keys, next)
    }
    let nodes = 0
    for (const head of heads) {
      const expected = byHead(pieces, head)
      expect(await stored(keys, head)).toEqual(expected)
      nodes += Object.keys(expected).length
    }
    expect(nodes).toBeGreaterThan(10)
  }
  /** Makes a node of no use, on both sides. */
  const spoilOne = async (
    pieces: Map<string, Map<string, Uint8Array>>,
    keys: Pieces.Keys,
    next: (below: number) => number
  ) => {
    const all = [...pieces.entries()]
    const [head, nodes] = all[next(all.length)]!
    const [name, node] = [...nodes][next(nodes.size)]!
    const spoilt = [node.slice(0, 20), node.slice(0, -4), node.slice()][next(3)]!
    if (spoilt.length > 11) spoilt[[8, 9, 10, 11][next(4)]!]! += 1 + next(40)
    nodes.set(name, spoilt)
    await connection.send("", ["HSET", keys.piecePrefix + head, name, Buffer.from(spoilt)])
  }

  it.each([
    [1, 32],
    [2, 32],
    [3, 8],
    [4, 8],
    [5, 3],
    [6, 1]
  ])("writes the very bytes of the merge in TypeScript, history %i in pieces of %i", async (seed, stride) => {
    await history(await Calls.make(connection, ["any"]), seed, stride, 300)
  })

  it.each([7, 8, 9])("begins a piece anew that holds what is no node, history %i", async (seed) => {
    await history(await Calls.make(connection, ["any"]), seed, 8, 150, true)
  })

  it("does the same where scripts are all there is", async () => {
    const scripts: Connect.Connection = {
      ...connection,
      send: (key, args) => connection.send(key, args[0] === "FCALL" ? ["NO-SUCH-COMMAND", ...args.slice(1)] : args)
    }
    const calls = await Calls.make(scripts, ["any"])
    expect(calls.why).toMatch(/unknown command/)
    await history(calls, 10, 32, 150)
  })

  it("lets the oldest tenure go from a node with as many holders as one may have", async () => {
    const calls = await Calls.make(connection, ["any"])
    const keys = Pieces.keysOf(newNamespace())
    const { bag, pieces } = makeBag()
    const chain = Int32Array.of(7, -7)
    const tell = async (tenures: ReadonlyArray<number>) => {
      const shares = tenures.map(
        (tenure): Share => ({
          ...{ tenure, layer: 0, stride: 8, piece: 0, parent: null, keys: chain, told: 1, held: 1 }
        })
      )
      for (const share of shares) PieceMerge.merge(bag, share, 5, null)
      for (const { key, shares: told } of Pieces.writesOf(keys, shares)) {
        await calls.call("write", [key], ["5", "600000", "0", ...told])
      }
    }
    await tell(Array.from({ length: PieceNode.holdersMax }, (_, i) => 100 + ((i * 7) % PieceNode.holdersMax)))
    await tell([99, 5_000, 5_001])
    const head = Pieces.hex(7, -7)
    expect(await stored(keys, head)).toEqual(byHead(pieces, head))
    expect(PieceNode.holders(PieceNode.of(pieces.get(head)!.get(head)!)!)).toBe(PieceNode.holdersMax)
  })

  it("keeps a piece for as long as it was told, from the last share that stores", async () => {
    const calls = await Calls.make(connection, ["any"])
    const key = `${newNamespace()}:s:1`
    const share: Share = {
      ...{ tenure: 1, layer: 0, stride: 8, piece: 0, parent: null, keys: Int32Array.of(1, 1, 2, 2), told: 3 },
      held: 3
    }
    const keys = { ...Pieces.keysOf("any"), piecePrefix: key }
    const tell = (ttlMs: number, told: number, held: number) => {
      const [write] = Pieces.writesOf(keys, [{ ...share, told, held }])
      return calls.call("write", [write!.key], ["5", String(ttlMs), "0", ...write!.shares])
    }
    const left = async () => Number(await connection.send("", ["PTTL", key + Pieces.hex(1, 1)]))
    await tell(60_000, 3, 3)
    expect(await left()).toBeGreaterThan(0)
    expect(await left()).toBeLessThanOrEqual(60_000)
    await tell(600_000, 1, 1)
    expect(await left()).toBeGreaterThan(60_000)
    await connection.send("", ["PEXPIRE", key + Pieces.hex(1, 1), "50000"])
    await tell(600_000, 2, 0)
    expect(await left()).toBeLessThanOrEqual(50_000)
    await tell(600_000, 1, 0)
    expect(await connection.send("", ["EXISTS", key + Pieces.hex(1, 1)])).toBe(0)
  })

  it("is a library of its own for each text of it", async () => {
    expect(Script.libraryName).toMatch(/^warmpath_[0-9a-f]{8}$/)
    const listed = JSON.stringify(await connection.send("", ["FUNCTION", "LIST"]), (_, value) =>
      value?.type === "Buffer" ? Buffer.from(value.data).toString() : value
    )
    expect(listed).toContain(Script.libraryName)
  })
})
