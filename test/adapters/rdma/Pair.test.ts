import { Effect } from "effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import type * as MemoryNode from "../../../src/adapters/rdma/MemoryNode.ts"
import { DEVICE } from "../../../src/domain/Tier.ts"
import type { Interface, StoreError } from "../../../src/ports/StateStore.ts"
import { extend, random } from "../../support/Chains.ts"
import * as FakeFabric from "../../support/FakeFabric.ts"
import { node, stores, until } from "../../support/MemoryNodes.ts"
import { stretchOf } from "../../support/Shares.ts"
import * as TcpProxy from "../../support/TcpProxy.ts"

const run = Effect.runPromise
const outcome = <A>(effect: Effect.Effect<A, StoreError>): Promise<string> =>
  run(
    effect.pipe(
      Effect.as("done"),
      Effect.catch(({ reason }) => Effect.succeed(reason))
    )
  )
const chain = (seed: number, blocks = 40) => extend(new Int32Array(0), 0, blocks, random(seed))
const held = (tenure: number, keys: Int32Array, isHeld = true) =>
  stretchOf({ tenure, layer: DEVICE, stride: 32 }, keys, isHeld)
const depths = async (store: Interface, keys: Int32Array) =>
  Object.fromEntries(
    (await run(store.lookup(keys, keys.length / 2, 32))).map(({ blocks, name }) => [name, blocks[DEVICE]])
  )
const enter = async (store: Interface, name: string): Promise<number> => {
  const tenure = await run(store.enter(name))
  await run(store.settle(name, tenure))
  return tenure
}

let fabric: FakeFabric.FakeFabric
let nodes: Array<MemoryNode.Node>
let proxies: Array<TcpProxy.TcpProxy>
let opened: ReturnType<typeof stores>

beforeEach(async () => {
  fabric = FakeFabric.make()
  nodes = [await node(fabric), await node(fabric)]
  proxies = await Promise.all(nodes.map(({ port }) => TcpProxy.open(port)))
  opened = stores(fabric)
  return async () => {
    await opened.close()
    for (const { close } of proxies) await close()
    for (const { close } of nodes) await close()
  }
})
afterEach(() => expect(new Set(fabric.names).size).toBe(fabric.names.length))

/** Over ways that can be cut. */
const pair = (options = {}) =>
  opened.open(`rdma://${proxies.map(({ port }) => `127.0.0.1:${port}`).join(",")}`, options)
/** One of the nodes alone, as it is. */
const alone = (which: number) => opened.open(`rdma://127.0.0.1:${nodes[which]!.port}`)

describe("A memory node", () => {
  it("is measured where some lookups are late", async () => {
    const store = await alone(0)
    await run(store.write(held(await enter(store, "w"), chain(1))))
    let sent = 0
    fabric.dropOneIn = 41
    // One in 41: not those that ask for its state, and for what it has.
    fabric.next = (below) => (++sent + 20) % below
    const findings = await run(store.findings)
    fabric.dropOneIn = 0
    expect(findings.find(({ what }) => what === "lookup of a piece")?.value).toMatch(/µs asked, .* µs read/)
  })
})

describe("Two memory nodes", () => {
  it("have all that is written, each by itself, under the same tenures", async () => {
    const store = await pair()
    // One of them has counted on.
    await run((await alone(1)).enter("other"))
    const tenure = await enter(store, "w")
    await run(store.write(held(tenure, chain(1))))
    for (const which of [0, 1]) expect(await depths(await alone(which), chain(1))).toEqual({ w: 40 })
    expect(nodes.map(({ table }) => table.names.slotOf(tenure) !== undefined)).toEqual([true, true])
  })

  it("are one life to all routers", async () => {
    const [a, b] = [await pair(), await pair()]
    expect(await run(a.generation)).toMatch(/^[0-9a-f]{16}$/)
    expect(await run(a.generation)).toBe(await run(b.generation))
  })

  it("go on as one when the other is away", async () => {
    const store = await pair()
    const tenure = await enter(store, "w")
    proxies[0]!.cut(true)
    await until(() => store.status().why !== "")
    expect(store.status().connected).toBe(true)
    await run(store.write(held(tenure, chain(1))))
    expect(await depths(store, chain(1))).toEqual({ w: 40 })
  })

  it("need nothing of the router when nothing was missed", async () => {
    const store = await pair()
    const tenure = await enter(store, "w")
    await run(store.write(held(tenure, chain(1))))
    proxies[0]!.cut(true)
    await until(() => store.status().why !== "")
    proxies[0]!.cut(false)
    await until(() => store.status().why === "")
    await run(store.write(held(tenure, chain(2))))
    for (const which of [0, 1]) expect(await depths(await alone(which), chain(2))).toEqual({ w: 40 })
  })

  it("never answer from one that has missed something", async () => {
    const store = await pair()
    const tenure = await enter(store, "w")
    await run(store.write(held(tenure, chain(1))))
    for (const which of [0, 1]) {
      proxies[which]!.cut(true)
      await until(() => store.status().why !== "")
      if (which === 0) await run(store.write(held(tenure, chain(1), false)))
      else expect(await outcome(store.lookup(chain(1), 40, 32))).toBe("away")
      proxies[which]!.cut(false)
      await until(() => store.status().why === "")
      expect(await depths(store, chain(1))).toEqual({})
    }
  })

  it("are refused to the router when one begins anew, until it starts anew: then both are whole", async () => {
    const store = await pair()
    const before = await run(store.generation)
    const tenure = await enter(store, "w")
    await run(store.write(held(tenure, chain(1))))
    const { port } = nodes[0]!
    await nodes[0]!.close()
    await until(() => store.status().why !== "")
    nodes[0] = await node(fabric, { port })
    await until(() => store.status().why === "")
    expect(await outcome(store.write(held(tenure, chain(1))))).toBe("refused")
    expect(await outcome(store.enter("w"))).toBe("refused")
    // Meanwhile the one that has all is asked.
    expect(await depths(store, chain(1))).toEqual({ w: 40 })
    expect(await run(store.generation)).not.toBe(before)
    const again = await enter(store, "w")
    await run(store.write(held(again, chain(1))))
    for (const which of [0, 1]) expect(await depths(await alone(which), chain(1))).toEqual({ w: 40 })
  })

  it("hear of names that left while one of them was away", async () => {
    const store = await pair()
    await run(store.generation)
    const tenure = await enter(store, "w")
    await run(store.write(held(tenure, chain(1))))
    proxies[0]!.cut(true)
    await until(() => store.status().why !== "")
    await run(store.leave("w", tenure))
    proxies[0]!.cut(false)
    await until(() => store.status().why === "")
    expect(await run((await alone(0)).names)).toEqual([{ name: "w", tenures: 1 }])
    // The other one begins anew, so the router must, and takes in the first again.
    const { port } = nodes[1]!
    await nodes[1]!.close()
    await until(() => store.status().why !== "")
    nodes[1] = await node(fabric, { port })
    await until(() => store.status().why === "")
    await run(store.generation)
    expect(await run((await alone(0)).names)).toEqual([])
  })

  it("answer from the other when one stops answering, after five that were late", async () => {
    const store = await pair({ lookupMs: 20 })
    const tenure = await enter(store, "w")
    await run(store.write(held(tenure, chain(1))))
    fabric.freeze(fabric.names[0]!, true)
    const outcomes: Array<string> = []
    for (let i = 0; i < 6; i++) outcomes.push(await outcome(store.lookup(chain(1), 40, 32)))
    expect(outcomes).toEqual(["late", "late", "late", "late", "late", "done"])
    fabric.freeze(fabric.names[0]!, false)
  })
})

describe("One memory node", () => {
  it("that is stopped is not asked for a while, and asked again", async () => {
    const store = await opened.open(`rdma://127.0.0.1:${nodes[0]!.port}`, { lookupMs: 20, deadlineMs: 100 })
    const tenure = await enter(store, "w")
    await run(store.write(held(tenure, chain(1))))
    fabric.freeze(fabric.names[0]!, true)
    for (let i = 0; i < 5; i++) expect(await outcome(store.lookup(chain(1), 40, 32))).toBe("late")
    expect(await outcome(store.lookup(chain(1), 40, 32))).toBe("away")
    fabric.freeze(fabric.names[0]!, false)
    await until(() => store.status().connected)
    await expect.poll(() => outcome(store.lookup(chain(1), 40, 32)), { timeout: 5_000 }).toBe("done")
  })

  it("loses nothing of what it acknowledged on a fabric that loses and delays messages", async () => {
    const store = await opened.open(`rdma://127.0.0.1:${nodes[0]!.port}`, { deadlineMs: 20_000 })
    const tenure = await enter(store, "w")
    const next = random(8)
    Object.assign(fabric, { next, dropOneIn: 5, delayMsMax: 20 })
    const chains = Array.from({ length: 40 }, (_, i) => chain(i))
    await Promise.all(chains.map((keys) => run(store.write(held(tenure, keys)))))
    await Promise.all(chains.slice(0, 20).map((keys) => run(store.write(held(tenure, keys, false)))))
    Object.assign(fabric, { dropOneIn: 0, delayMsMax: 0 })
    for (const [i, keys] of chains.entries()) expect(await depths(store, keys)).toEqual(i < 20 ? {} : { w: 40 })
  })

  it("that is read while it writes never shows a holder that there is not", async () => {
    const store = await opened.open(`rdma://127.0.0.1:${nodes[0]!.port}?mode=read`)
    const tenure = await enter(store, "w")
    const other = await enter(store, "v")
    const chains = Array.from({ length: 30 }, (_, i) => chain(i))
    for (const [i, keys] of chains.entries()) await run(store.write(held(i % 2 === 0 ? tenure : other, keys)))
    fabric.next = random(9)
    fabric.tearOneIn = 6
    let whole = 0
    for (let round = 0; round < 20; round++) {
      for (const [i, keys] of chains.entries()) {
        const [[name, depth] = ["", 0], ...others] = Object.entries(await depths(store, keys))
        // A slot that was torn names nothing: it may tell too little, and does not tell too much.
        expect([["", i % 2 === 0 ? "w" : "v"].includes(name), depth! <= 40, others]).toEqual([true, true, []])
        if (depth === 40) whole++
      }
    }
    expect(whole).toBeGreaterThan(300)
    const { lookups } = store.stats()
    expect(lookups.torn).toBeGreaterThan(50)
    expect(lookups.fellBack).toBeLessThan(lookups.read / 2)
  })
})
