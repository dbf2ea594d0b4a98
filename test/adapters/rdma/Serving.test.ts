import { describe, expect, it } from "vitest"
import { makePeer, Serving } from "../../../src/adapters/rdma/Serving.ts"
import * as Wire from "../../../src/adapters/rdma/Wire.ts"
import { DEVICE } from "../../../src/domain/Tier.ts"
import type { Share } from "../../../src/ports/StateStore.ts"
import { extend, random } from "../../support/Chains.ts"
import { lookup, open, wordsOf } from "../../support/NodeTables.ts"
import { stretchOf } from "../../support/Shares.ts"

const session = 42

const rig = (hasRoom: () => boolean = () => true) => {
  const { table } = open(wordsOf(16))
  const serving = new Serving(table, () => 100)
  const replies: Array<Int32Array> = []
  serving.add(
    makePeer(session, (bytes) => {
      if (!hasRoom()) return false
      replies.push(Wire.wordsOf(bytes.slice())!)
      return true
    })
  )
  const tenure = table.names.enter("w", 0, 100)!
  return { table, serving, replies, tenure }
}

const message = (kind: number, id: number, argument: number, body: Int32Array = new Int32Array(0)): Uint8Array => {
  const words = new Int32Array(Wire.headWords + body.length)
  Wire.head(words, kind, session, id, argument)
  words.set(body, Wire.headWords)
  return Wire.bytesOf(words, words.length)
}

const shares = (all: ReadonlyArray<Share>): Int32Array => {
  const words = new Int32Array(all.reduce((sum, share) => sum + Wire.lengthOf(share), 0))
  let at = 0
  for (const share of all) at = Wire.putShare(words, at, share)
  return words
}

/** Until nothing is left to do. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve))
}

const chain = (seed: number, blocks: number) => extend(new Int32Array(0), 0, blocks, random(seed))
const depthOf = (table: Parameters<typeof lookup>[0], keys: Int32Array) =>
  lookup(table, keys, keys.length / 2, 32).found[0]?.blocks[DEVICE] ?? 0

describe("A memory node", () => {
  it("applies batches in the order of their numbers, whatever order they come in", async () => {
    const { replies, serving, table, tenure } = rig()
    const keys = chain(1, 40)
    const holding = { tenure, layer: DEVICE, stride: 32 } as const
    const store = message(Wire.WRITE, 1, 1, shares(stretchOf(holding, keys, true)))
    const remove = message(Wire.WRITE, 2, 2, shares(stretchOf(holding, keys, false, 10)))
    const again = message(Wire.WRITE, 3, 3, shares(stretchOf(holding, keys, true, 10, 20)))
    serving.take(again)
    serving.take(remove)
    await settle()
    expect([depthOf(table, keys), replies.length]).toEqual([0, 0])
    serving.take(store)
    await settle()
    expect(depthOf(table, keys)).toBe(20)
    expect(replies.map((words) => [words[0], words[2], words[3]])).toEqual(
      [1, 2, 3].map((id) => [Wire.WRITE | Wire.REPLY, id, Wire.OK])
    )
  })

  it("acknowledges a batch that comes again, and does not apply it twice", async () => {
    const { replies, serving, table, tenure } = rig()
    const keys = chain(2, 10)
    const holding = { tenure, layer: DEVICE, stride: 32 } as const
    const store = message(Wire.WRITE, 1, 1, shares(stretchOf(holding, keys, true)))
    serving.take(store)
    serving.take(message(Wire.WRITE, 2, 2, shares(stretchOf(holding, keys, false))))
    await settle()
    serving.take(store)
    await settle()
    expect(depthOf(table, keys)).toBe(0)
    expect(replies).toHaveLength(3)
    expect(serving.counters.writes).toBe(2)
  })

  it("acknowledges a batch that comes again while it waits only when it was applied", async () => {
    const { replies, serving, table, tenure } = rig()
    const keys = chain(2, 10)
    const store = message(Wire.WRITE, 1, 1, shares(stretchOf({ tenure, layer: DEVICE, stride: 32 }, keys, true)))
    serving.take(store)
    serving.take(store)
    expect([replies.length, depthOf(table, keys)]).toEqual([0, 0])
    await settle()
    expect([replies.length, depthOf(table, keys)]).toEqual([1, 10])
  })

  it("applies what it acknowledges, whatever else its peer has waiting", async () => {
    const { replies, serving, table, tenure } = rig()
    const keys = chain(2, 10)
    const store = message(Wire.WRITE, 1, 1, shares(stretchOf({ tenure, layer: DEVICE, stride: 32 }, keys, true)))
    for (let i = 0; i < 1_000; i++) serving.take(message(Wire.BULK, i, 0))
    serving.take(store)
    while (replies.length < 256) await settle()
    serving.take(store)
    await settle()
    expect(replies.filter((words) => words[0] === (Wire.WRITE | Wire.REPLY)).map((words) => words[3])).toContain(
      Wire.OK
    )
    expect(depthOf(table, keys)).toBe(10)
  })

  it("goes on when numbers of batches have gone round", async () => {
    const { replies, serving, table, tenure } = rig()
    const last = 2 ** 31 - 1
    Object.assign(serving.peers.get(session)!, { nextWrite: last, applied: last })
    const keys = chain(2, 40)
    const holding = { tenure, layer: DEVICE, stride: 32 } as const
    for (const [at, number] of [last, -(2 ** 31)].entries()) {
      serving.take(message(Wire.WRITE, at, number, shares(stretchOf(holding, keys, true, 20 * at, 20 * at + 20))))
    }
    await settle()
    expect([replies.length, depthOf(table, keys)]).toEqual([2, 40])
  })

  it("answers a lookup while another peer's batches wait", async () => {
    const { replies, serving, tenure } = rig()
    const other: Array<number> = []
    serving.add(makePeer(43, (bytes) => other.push(bytes.length) > 0))
    const many = Array.from({ length: 100 }, (_, i) =>
      stretchOf({ tenure, layer: DEVICE, stride: 32 }, chain(i, 32), true)
    )
    for (let i = 0; i < 100; i++) {
      const bytes = message(Wire.WRITE, i, i + 1, shares(many.flat()))
      new Int32Array(bytes.buffer)[1] = 43
      serving.take(bytes)
    }
    const keys = chain(1, 32)
    serving.take(message(Wire.LOOKUP, 7, Wire.lookupArgument(32, 32), keys))
    expect(replies.map((words) => words[2])).toEqual([7])
    expect(other.length).toBeLessThan(100)
  })

  it("gives each peer its turn, however much one of them asks", async () => {
    const { serving, tenure } = rig()
    const order: Array<number> = []
    for (const peer of [44, 43]) serving.add(makePeer(peer, () => order.push(peer) > 0))
    const many = Array.from({ length: 20 }, (_, i) =>
      stretchOf({ tenure, layer: DEVICE, stride: 32 }, chain(i, 32), true)
    )
    for (let i = 0; i < 60; i++) {
      const bytes = message(Wire.WRITE, i, i + 1, shares(many.flat()))
      new Int32Array(bytes.buffer)[1] = 43
      serving.take(bytes)
    }
    const bulk = message(Wire.BULK, 1, 0)
    new Int32Array(bulk.buffer)[1] = 44
    serving.take(bulk)
    while (!order.includes(44)) await new Promise((resolve) => setImmediate(resolve))
    expect(order.indexOf(44)).toBeLessThan(3)
  })

  it("drops what a stopped peer has no room for, and serves the others", async () => {
    let hasRoom = false
    const { replies, serving, tenure } = rig(() => hasRoom)
    const keys = chain(3, 32)
    const body = shares(stretchOf({ tenure, layer: DEVICE, stride: 32 }, keys, true))
    for (let i = 1; i <= 50; i++) serving.take(message(Wire.WRITE, i, i, body))
    for (let i = 0; i < 5_000; i++) serving.take(message(Wire.BULK, i, 0))
    const heard: Array<number> = []
    serving.add(makePeer(43, (bytes) => heard.push(bytes.length) > 0))
    const asked = message(Wire.LOOKUP, 1, Wire.lookupArgument(32, 32), keys)
    new Int32Array(asked.buffer)[1] = 43
    serving.take(asked)
    expect(heard).toHaveLength(1)
    for (let i = 0; i < 20; i++) await settle()
    expect(serving.counters.dropped).toBeGreaterThan(4_900)
    hasRoom = true
    // Sent again under its number: acknowledged now.
    serving.take(message(Wire.WRITE, 50, 50, body))
    await settle()
    expect(replies.map((words) => words[2])).toEqual([50])
  })

  it("survives a hundred thousand messages that are not what they should be", { timeout: 60_000 }, async () => {
    const { replies, serving, table, tenure } = rig()
    const next = random(5)
    const keys = chain(4, 40)
    const { peers } = serving
    const good = [
      () => message(Wire.LOOKUP, 1, Wire.lookupArgument(40, 32), keys),
      () =>
        message(
          Wire.WRITE,
          2,
          peers.get(session)!.nextWrite,
          shares(stretchOf({ tenure, layer: DEVICE, stride: 32 }, keys, true))
        ),
      () => Wire.json(Wire.ASK, session, 3, 0, { ask: "enter", name: `n${next(50)}`, atLeast: 0 }),
      () => Wire.json(Wire.ASK, session, 4, 0, { ask: "settle", name: `n${next(50)}`, tenure: 1_000 + next(50) }),
      () => Wire.json(Wire.ASK, session, 5, 0, { ask: "leave", name: `n${next(50)}`, tenure: 1_000 + next(50) }),
      () => Wire.json(Wire.ASK, session, 6, 0, { ask: "names", from: next(5_000) }),
      () => message(Wire.BULK, 7, next(100_000))
    ]
    for (let i = 0; i < 100_000; i++) {
      const bytes = good[next(good.length)]!().slice()
      const from = next(5) === 0 ? 0 : 16
      for (let flips = next(4); flips > 0; flips--)
        bytes[Math.min(bytes.length - 1, from + next(bytes.length))]! ^= 1 << next(8)
      const cut = next(6) === 0 ? next(bytes.length + 1) : bytes.length
      const shifted = new Uint8Array(cut + 1)
      shifted.set(bytes.subarray(0, cut), 1)
      serving.take(next(2) === 0 ? shifted.subarray(1) : bytes.subarray(0, cut))
      if (i % 50 === 0) await settle()
      replies.length = 0
    }
    expect(serving.counters.malformed).toBeGreaterThan(10_000)
    expect(serving.counters.lookups).toBeGreaterThan(1_000)
    expect(serving.counters.shares).toBeGreaterThan(100)
    // And what is written then is found.
    const fresh = makePeer(99, () => true)
    serving.add(fresh)
    const mine = chain(6, 40)
    const own = table.names.enter("own", 0, 100)!
    const bytes = message(Wire.WRITE, 1, 1, shares(stretchOf({ tenure: own, layer: DEVICE, stride: 32 }, mine, true)))
    new Int32Array(bytes.buffer)[1] = 99
    serving.take(bytes)
    await settle()
    expect(depthOf(table, mine)).toBe(40)
  })
})
