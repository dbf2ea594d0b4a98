/** What every StateStore does, said once: the twin in memory and the adapters must not differ where a router could notice. */
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import type { KeyLanes } from "../../src/domain/Block.ts"
import { DEVICE, EXTERNAL, GUESS, HOST, type Layer } from "../../src/domain/Tier.ts"
import type { Interface, Share, StoreError, Stretch } from "../../src/ports/StateStore.ts"
import { extend, random } from "../support/Chains.ts"
import { lines, stretchOf } from "../support/Shares.ts"
import { randomHistory, readAll, traceHistory } from "./StateStoreHistory.ts"

/** A store, empty at first. */
export interface Rig {
  /** A connection of its own to it, as another router would have. */
  readonly client: () => Promise<Interface>
  /** Cuts a client off, or not any more; done when its status says so. Null where nothing can come between. */
  readonly cut: ((store: Interface, away: boolean) => Promise<void>) | null
  /** The store loses everything under its clients. Null where that ends them. */
  readonly wipe: (() => Promise<void>) | null
  readonly close: () => Promise<void>
}

/** How much of what takes long. */
export interface Sizes {
  /** Steps of each random history; there are six. */
  readonly steps: number
  /** Of each trace. */
  readonly requests: number
  /** In one batch. */
  readonly shares: number
}

const trace = (name: string): string => fileURLToPath(new URL(`../../loadtest/traces/${name}`, import.meta.url))

const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)
const outcome = <A>(effect: Effect.Effect<A, StoreError>): Promise<string> =>
  run(
    effect.pipe(
      Effect.as("done"),
      Effect.catch(({ reason }) => Effect.succeed(reason))
    )
  )

export const stateStoreConformance = (name: string, open: () => Promise<Rig>, some: Partial<Sizes> = {}): void => {
  const sizes: Sizes = { steps: 400, requests: 1_500, shares: 2_000, ...some }
  describe(name, () => {
    let rig: Rig
    let seed = 1
    const clients = (count: number): Promise<Array<Interface>> =>
      Promise.all(Array.from({ length: count }, () => rig.client()))
    /** A client, and a tenure that alone counts. */
    const worker = async (name = "w", store?: Interface) => {
      const own = store ?? (await rig.client())
      const tenure = await run(own.enter(name))
      await run(own.settle(name, tenure))
      return { store: own, tenure }
    }
    const chain = (blocks: number): KeyLanes => extend(new Int32Array(0), 0, blocks, random(seed++))
    /** Goes its own way after `shared` blocks, for `more`. */
    const branch = (of: KeyLanes, shared: number, more: number): KeyLanes => extend(of, shared, more, random(seed++))
    /** By name, how many blocks are within reach of the device; of another layer when one is asked for. */
    const depths = async (
      store: Interface,
      keys: KeyLanes,
      stride = 8,
      layer: Layer = DEVICE,
      count = keys.length / 2
    ) =>
      Object.fromEntries(
        (await run(store.lookup(keys, count, stride))).map((reach) => [reach.name, reach.blocks[layer]])
      )
    const store = (
      by: Interface,
      tenure: number,
      keys: KeyLanes,
      to = keys.length / 2,
      stride = 8,
      layer: Layer = DEVICE
    ) => run(by.write(stretchOf({ tenure, layer, stride }, keys, true, 0, to)))
    const remove = (by: Interface, tenure: number, keys: KeyLanes, from: number, to: number, stride = 8) =>
      run(by.write(stretchOf({ tenure, layer: DEVICE, stride }, keys, false, from, to)))

    beforeEach(async () => {
      rig = await open()
      return () => rig.close()
    })
    afterEach(() => {
      seed = 1
    })

    describe("tells who holds how much of a request", () => {
      it.each([1, 8, 32])("over pieces of %i blocks, whole ones or not", async (stride) => {
        const { store: s, tenure } = await worker()
        for (const blocks of [1, stride, stride + 1, 3 * stride - 1, 3 * stride, 100]) {
          const keys = chain(blocks)
          await store(s, tenure, keys, blocks, stride)
          expect(await depths(s, keys, stride)).toEqual({ w: blocks })
        }
      })

      it("nobody, of what was never stored, or when nothing is asked", async () => {
        const { store: s, tenure } = await worker()
        const keys = chain(10)
        expect(await run(s.lookup(keys, 10, 8))).toEqual([])
        await store(s, tenure, keys)
        expect(await run(s.lookup(keys, 0, 8))).toEqual([])
        expect(await run(s.lookup(new Int32Array(0), 0, 8))).toEqual([])
      })

      it("whether the request is shorter or longer than what is stored", async () => {
        const { store: s, tenure } = await worker()
        const keys = chain(60)
        await store(s, tenure, keys, 43)
        for (const count of [1, 7, 8, 9, 42, 43, 44, 48, 49, 60]) {
          expect(await depths(s, keys, 8, DEVICE, count)).toEqual({ w: Math.min(43, count) })
        }
      })

      it("up to the first block that is missing, and on when it comes back", async () => {
        const { store: s, tenure } = await worker()
        const keys = chain(40)
        await store(s, tenure, keys)
        for (const hole of [39, 24, 15, 8, 7, 3, 0]) {
          await remove(s, tenure, keys, hole, hole + 1)
          expect(await depths(s, keys)).toEqual(hole === 0 ? {} : { w: hole })
        }
        for (const [filled, depth] of [
          [0, 3],
          [7, 3],
          [3, 8],
          [15, 8],
          [8, 24],
          [24, 39],
          [39, 40]
        ] as const) {
          await run(s.write(stretchOf({ tenure, layer: DEVICE, stride: 8 }, keys, true, filled, filled + 1)))
          expect(await depths(s, keys)).toEqual({ w: depth })
        }
      })

      it("where only the middle of a chain was ever told", async () => {
        const { store: s, tenure } = await worker()
        const keys = chain(24)
        await run(s.write(stretchOf({ tenure, layer: DEVICE, stride: 8 }, keys, true, 3, 20)))
        expect(await depths(s, keys)).toEqual({})
        await store(s, tenure, keys, 3)
        expect(await depths(s, keys)).toEqual({ w: 20 })
      })

      it.each([8, 32])(
        "on chains that branch anywhere in a piece of %i, at its start and at its end",
        async (stride) => {
          const { store: s, tenure } = await worker()
          const trunk = chain(3 * stride)
          await store(s, tenure, trunk, trunk.length / 2, stride)
          const other = await worker("v", s)
          const step = stride === 8 ? 1 : 6
          for (let shared = 0; shared <= 3 * stride; shared += step) {
            const keys = branch(trunk, shared, stride + 3)
            expect(await depths(s, keys, stride)).toMatchObject(shared === 0 ? {} : { w: shared })
            await store(s, other.tenure, keys, keys.length / 2, stride)
            expect(await depths(s, keys, stride)).toEqual({ ...(shared > 0 && { w: shared }), v: shared + stride + 3 })
          }
          expect(await depths(s, trunk, stride)).toMatchObject({ w: 3 * stride, v: 3 * stride })
        }
      )

      it("on branches of branches of one piece, whichever of them are removed", async () => {
        const { store: s, tenure } = await worker()
        const paths = [chain(32)]
        for (const shared of [3, 7, 12, 20, 31]) paths.push(branch(paths.at(-1)!, shared, 32 - shared))
        for (const path of paths) await store(s, tenure, path, 32, 32)
        for (const path of paths) expect(await depths(s, path, 32)).toEqual({ w: 32 })
        // What the others share stays with them.
        await remove(s, tenure, paths[2]!, 12, 32, 32)
        expect(await depths(s, paths[2]!, 32)).toEqual({ w: 12 })
        for (const at of [0, 1]) expect(await depths(s, paths[at]!, 32)).toEqual({ w: 32 })
        for (const at of [3, 4, 5]) expect(await depths(s, paths[at]!, 32)).toEqual({ w: 32 })
        await remove(s, tenure, paths[5]!, 3, 7, 32)
        expect(await depths(s, paths[0]!, 32)).toEqual({ w: 32 })
        for (const at of [1, 2, 3, 4, 5]) expect(await depths(s, paths[at]!, 32)).toEqual({ w: 3 })
        await store(s, tenure, paths[5]!, 32, 32)
        for (const at of [1, 3, 4, 5]) expect(await depths(s, paths[at]!, 32)).toEqual({ w: 32 })
      })

      it.each([8, 32])("on a branch that outlives what it branched off, in a piece of %i", async (stride) => {
        const { store: s, tenure } = await worker()
        const trunk = chain(stride)
        const side = branch(trunk, 3, stride - 3)
        const twig = branch(side, 5, stride - 5)
        for (const keys of [trunk, side, twig]) await store(s, tenure, keys, stride, stride)
        await remove(s, tenure, trunk, 0, stride, stride)
        await remove(s, tenure, side, 3, stride, stride)
        expect(await depths(s, twig, stride)).toEqual({})
        expect(lines(await readAll(s))).toHaveLength(stride - 5)
        await store(s, tenure, side, 5, stride)
        expect(await depths(s, twig, stride)).toEqual({ w: stride })
        await remove(s, tenure, side, 0, 5, stride)
        await remove(s, tenure, twig, 5, stride, stride)
        for (const keys of [trunk, side]) await store(s, tenure, keys, stride, stride)
        expect(await depths(s, twig, stride)).toEqual({ w: 5 })
        expect(await depths(s, trunk, stride)).toEqual({ w: stride })
      })

      it("by layer: a tier has what nearer ones have, and guesses stand alone", async () => {
        const { store: s, tenure } = await worker()
        const keys = chain(30)
        await store(s, tenure, keys, 5, 8)
        await run(s.write(stretchOf({ tenure, layer: HOST, stride: 8 }, keys, true, 5, 12)))
        await run(s.write(stretchOf({ tenure, layer: EXTERNAL, stride: 8 }, keys, true, 12, 20)))
        await store(s, tenure, keys, 28, 8, GUESS)
        expect(await run(s.lookup(keys, 30, 8))).toEqual([{ name: "w", blocks: [5, 12, 12, 20, 28] }])
        await remove(s, tenure, keys, 0, 30)
        expect(await run(s.lookup(keys, 30, 8))).toEqual([{ name: "w", blocks: [0, 0, 0, 0, 28] }])
      })

      it("each name for itself, however many hold the same blocks", async () => {
        const [s] = await clients(1)
        const keys = chain(40)
        const expected: Record<string, number> = {}
        for (let i = 1; i <= 40; i++) {
          const { tenure } = await worker(`worker ${i}`, s)
          await store(s!, tenure, keys, i)
          expected[`worker ${i}`] = i
        }
        expect(await depths(s!, keys)).toEqual(expected)
      })

      it("of a request of thousands of blocks", async () => {
        const { store: s, tenure } = await worker()
        const keys = chain(5_000)
        await store(s, tenure, keys, 4_321, 32)
        expect(await depths(s, keys, 32)).toEqual({ w: 4_321 })
      })
    })

    describe("takes what is written", () => {
      it("the same again, in any number", async () => {
        const { store: s, tenure } = await worker()
        const keys = chain(20)
        const shares = stretchOf({ tenure, layer: DEVICE, stride: 8 }, keys, true)
        await run(s.write(shares))
        const before = lines(await readAll(s))
        for (let i = 0; i < 3; i++) await run(s.write([...shares, ...shares]))
        expect(lines(await readAll(s))).toEqual(before)
        const gone = stretchOf({ tenure, layer: DEVICE, stride: 8 }, keys, false)
        for (let i = 0; i < 3; i++) await run(s.write([...gone, ...gone]))
        expect(await readAll(s)).toEqual([])
      })

      it("in its order", async () => {
        const { store: s, tenure } = await worker()
        const keys = chain(20)
        const holding = { tenure, layer: DEVICE, stride: 8 } as const
        const stored = stretchOf(holding, keys, true)
        await run(s.write([...stored, ...stretchOf(holding, keys, false, 6, 9)]))
        expect(await depths(s, keys)).toEqual({ w: 6 })
        await run(s.write([...stretchOf(holding, keys, false), ...stored]))
        expect(await depths(s, keys)).toEqual({ w: 20 })
        await run(Effect.all([s.write(stretchOf(holding, keys, false)), s.write(stored)]))
        expect(await depths(s, keys)).toEqual({ w: 20 })
      })

      it("and leaves what nothing is said of", async () => {
        const { store: s, tenure } = await worker()
        const keys = chain(8)
        await store(s, tenure, keys, 8)
        const share = stretchOf({ tenure, layer: DEVICE, stride: 8 }, keys, true)[0]!
        await run(s.write([{ ...share, told: 0b0010_0000, held: 0 }]))
        expect(await depths(s, keys)).toEqual({ w: 5 })
        // Held, but not told of.
        await run(s.write([{ ...share, told: 0b0000_0001, held: -1 }]))
        expect(await depths(s, keys)).toEqual({ w: 5 })
        await run(s.write([{ ...share, told: 0, held: -1 }]))
        expect(await depths(s, keys)).toEqual({ w: 5 })
      })

      it("nothing at all, and removals of what was never there", async () => {
        const { store: s, tenure } = await worker()
        await run(s.write([]))
        await remove(s, tenure, chain(50), 0, 50)
        expect(await readAll(s)).toEqual([])
      })

      it("of the last block of the longest piece", async () => {
        const { store: s, tenure } = await worker()
        const keys = chain(32)
        const share: Share = {
          ...{ tenure, layer: DEVICE, stride: 32, piece: 0, parent: null, keys },
          ...{ told: 1 << 31, held: 1 << 31 }
        }
        await run(s.write([share]))
        expect(await depths(s, keys, 32)).toEqual({})
        expect(lines(await readAll(s))).toHaveLength(1)
        await run(s.write([{ ...share, told: 0x7fff_ffff, held: 0x7fff_ffff }]))
        expect(await depths(s, keys, 32)).toEqual({ w: 32 })
      })

      it("in large batches", async () => {
        const { store: s, tenure } = await worker()
        const chains = Array.from({ length: Math.ceil(sizes.shares / 10) }, () => chain(310))
        await run(s.write(chains.flatMap((keys) => stretchOf({ tenure, layer: DEVICE, stride: 32 }, keys, true))))
        for (const keys of [chains[0]!, chains.at(-1)!]) expect(await depths(s, keys, 32)).toEqual({ w: 310 })
      })

      it("of several clients at once, into the same pieces", async () => {
        const all = await clients(4)
        const trunk = chain(16)
        const workers = await Promise.all(all.map((s, i) => worker(`w${i}`, s)))
        const paths = Array.from({ length: 12 }, (_, i) => branch(trunk, 1 + i, 16 - i))
        await Promise.all(
          workers.flatMap(({ store: s, tenure }) => [trunk, ...paths].map((keys) => store(s, tenure, keys)))
        )
        for (const keys of [trunk, ...paths]) {
          const length = keys.length / 2
          expect(await depths(all[0]!, keys)).toEqual({ w0: length, w1: length, w2: length, w3: length })
        }
        await Promise.all(
          workers.flatMap(({ store: s, tenure }) => paths.map((keys) => remove(s, tenure, keys, 0, 16)))
        )
        await Promise.all(workers.map(({ store: s, tenure }) => remove(s, tenure, trunk, 0, 16)))
        await Promise.all(
          workers.flatMap(({ store: s, tenure }) => paths.map((keys) => remove(s, tenure, keys, 0, 17)))
        )
        expect(await readAll(all[1]!)).toEqual([])
      })
    })

    describe("counts the tenures of a name", () => {
      it("which grow, and are never those of another", async () => {
        const all = await clients(3)
        const tenures = await Promise.all(
          Array.from({ length: 60 }, (_, i) => run(all[i % 3]!.enter(`worker ${i % 7}`)))
        )
        expect(new Set(tenures).size).toBe(60)
        for (const tenure of tenures) {
          expect(tenure).toBeGreaterThanOrEqual(1)
          expect(tenure).toBeLessThan(2 ** 29)
        }
        const later = await run(all[0]!.enter("worker 0"))
        expect(later).toBeGreaterThan(Math.max(...tenures))
        const names = await run(all[1]!.names)
        expect(names.map(({ tenures: count }) => count).reduce((a, b) => a + b)).toBe(61)
      })

      it("all of them until a later one settles, then only that one", async () => {
        const [a, b] = await clients(2)
        const keys = chain(20)
        const first = await worker("w", a)
        await store(a!, first.tenure, keys, 20)
        const second = await run(b!.enter("w"))
        expect(await run(a!.names)).toEqual([{ name: "w", tenures: 2 }])
        expect(await depths(b!, keys)).toEqual({ w: 20 })
        await store(b!, second, keys, 9)
        await remove(b!, second, keys, 0, 3)
        expect(await depths(a!, keys)).toEqual({ w: 20 })
        expect(await run(b!.settle("w", second))).toBe(true)
        expect(await depths(a!, keys)).toEqual({})
        await store(b!, second, keys, 3)
        expect(await depths(a!, keys)).toEqual({ w: 9 })
        expect(await run(a!.names)).toEqual([{ name: "w", tenures: 1 }])
      })

      it("together: what one lacks another may have", async () => {
        const { store: s, tenure } = await worker()
        const keys = chain(20)
        await store(s, tenure, keys, 11)
        const second = await run(s.enter("w"))
        await run(s.write(stretchOf({ tenure: second, layer: HOST, stride: 8 }, keys, true, 9, 17)))
        expect(await run(s.lookup(keys, 20, 8))).toEqual([{ name: "w", blocks: [11, 17, 17, 17, 0] }])
        expect(lines(await readAll(s))).toHaveLength(11 + 8)
      })

      it("and lets none settle or leave that a later one has followed", async () => {
        const [a, b] = await clients(2)
        const keys = chain(10)
        const { tenure } = await worker("w", a)
        const second = await run(b!.enter("w"))
        await store(b!, second, keys)
        expect(await run(a!.settle("w", tenure))).toBe(false)
        await run(a!.leave("w", tenure))
        expect(await depths(a!, keys)).toEqual({ w: 10 })
        expect(await run(b!.settle("w", second))).toBe(true)
        expect(await run(b!.settle("w", second))).toBe(true)
        expect(await run(a!.settle("w", tenure))).toBe(false)
        await run(a!.leave("w", tenure))
        expect(await depths(a!, keys)).toEqual({ w: 10 })
      })

      it("of which none is left when it leaves, until it enters anew", async () => {
        const { store: s, tenure } = await worker()
        const keys = chain(10)
        await store(s, tenure, keys)
        await run(s.leave("w", tenure))
        await run(s.leave("w", tenure))
        expect(await depths(s, keys)).toEqual({})
        expect(await run(s.names)).toEqual([])
        expect(await run(s.settle("w", tenure))).toBe(false)
        const again = await worker("w", s)
        expect(again.tenure).toBeGreaterThan(tenure)
        expect(await depths(s, keys)).toEqual({})
        expect(await readAll(s)).toEqual([])
      })

      it("and loses what is written under those that do not", async () => {
        const { store: s, tenure } = await worker()
        const keys = chain(10)
        await run(s.enter("w").pipe(Effect.flatMap((later) => s.settle("w", later))))
        await store(s, tenure, keys)
        const never = (await run(s.enter("other"))) + 1
        await store(s, never, keys)
        expect(await depths(s, keys)).toEqual({})
        expect(await readAll(s)).toEqual([])
        // Nor does it remove what those that count have told.
        const third = await worker("w", s)
        await store(s, third.tenure, keys)
        await remove(s, tenure, keys, 0, 10)
        expect(await depths(s, keys)).toEqual({ w: 10 })
      })

      it("whatever it is called", async () => {
        const [s] = await clients(1)
        const keys = chain(9)
        const names = [
          "http://10.0.0.4:8000/v1?a=b&c#0",
          "Qwen/Qwen3-8B @ {host}:1",
          "é 漢字 🜂",
          " \n\t:*",
          "n".repeat(500)
        ]
        for (const [i, name] of names.entries()) {
          const { tenure } = await worker(name, s)
          await store(s!, tenure, keys, i + 1)
        }
        expect(await depths(s!, keys)).toEqual(Object.fromEntries(names.map((name, i) => [name, i + 1])))
        expect((await run(s!.names)).map(({ name }) => name).sort()).toEqual([...names].sort())
      })
    })

    describe("reads back", () => {
      it("exactly what was written: keys, parents, pieces, holders", async () => {
        const { store: s, tenure } = await worker()
        const trunk = chain(20)
        const side = branch(trunk, 11, 9)
        await store(s, tenure, trunk)
        await store(s, tenure, side)
        await run(s.write(stretchOf({ tenure, layer: GUESS, stride: 8 }, trunk, true, 2, 5)))
        await remove(s, tenure, trunk, 17, 18)
        const told: Array<Stretch> = []
        for (const [keys, layer, blocks] of [
          [trunk, DEVICE, Array.from({ length: 20 }, (_, i) => i).filter((i) => i !== 17)],
          [side, DEVICE, Array.from({ length: 9 }, (_, i) => 11 + i)],
          [trunk, GUESS, [2, 3, 4]]
        ] as const) {
          for (const block of blocks) {
            told.push({
              ...{ stride: 8, piece: Math.floor(block / 8), base: block % 8, touched: 0 },
              ...{ parent: block === 0 ? null : keys.slice(2 * block - 2, 2 * block) },
              ...{ keys: keys.slice(2 * block, 2 * block + 2) },
              holders: [{ name: "w", layer, mask: 1 << (block % 8) }]
            })
          }
        }
        expect(lines(await readAll(s))).toEqual(lines(told))
      })

      it("each block once for each name and layer, with when it was written", async () => {
        const { store: s, tenure } = await worker()
        const before = Math.floor(Date.now() / 1_000)
        const keys = chain(70)
        await store(s, tenure, keys)
        const second = await run(s.enter("w"))
        await store(s, second, keys)
        const all = await readAll(s)
        expect(lines(all)).toHaveLength(70)
        expect(new Set(lines(all)).size).toBe(70)
        for (const { touched } of all) {
          expect(touched).toBeGreaterThanOrEqual(before)
          expect(touched).toBeLessThanOrEqual(Date.now() / 1_000)
        }
      })

      it("in chunks, and stops when it is told to", async () => {
        const { store: s, tenure } = await worker()
        const chains = Array.from({ length: Math.ceil(sizes.shares / 4) }, () => chain(33))
        await run(s.write(chains.flatMap((keys) => stretchOf({ tenure, layer: DEVICE, stride: 8 }, keys, true))))
        let chunks = 0
        let stretches = 0
        const counted = (isMore: boolean) => (chunk: ReadonlyArray<Stretch>) =>
          Effect.sync(() => {
            chunks++
            stretches += chunk.length
            return isMore
          })
        await run(s.read(counted(true)))
        expect(chunks).toBeGreaterThan(1)
        expect(stretches).toBeGreaterThanOrEqual(chains.length * 5)
        chunks = 0
        await run(s.read(counted(false)))
        expect(chunks).toBe(1)
      })

      it("nothing, when there is nothing", async () => {
        const [s] = await clients(1)
        expect(await readAll(s!)).toEqual([])
        expect(await run(s!.names)).toEqual([])
      })

      it("while others write", async () => {
        const [a, b] = await clients(2)
        const { tenure } = await worker("w", a)
        const kept = Array.from({ length: 100 }, () => chain(16))
        await run(a!.write(kept.flatMap((keys) => stretchOf({ tenure, layer: DEVICE, stride: 8 }, keys, true))))
        const before = lines(await readAll(a!))
        const writing = Promise.all(Array.from({ length: 20 }, () => store(a!, tenure, chain(16))))
        const seen = new Set(lines(await readAll(b!)))
        await writing
        expect(before.filter((line) => !seen.has(line))).toEqual([])
      })
    })

    describe("lives", () => {
      it("one life for all of its clients", async () => {
        const all = await clients(3)
        const generations = await Promise.all(all.map((s) => run(s.generation)))
        expect(generations[0]).toMatch(/^[0-9a-f]{16}$/)
        expect(new Set(generations).size).toBe(1)
      })

      it("and another after it lost everything, which it says before anyone writes on", async () => {
        if (rig.wipe === null) return
        const [a, b] = await clients(2)
        const { tenure } = await worker("w", a)
        const before = await run(a!.generation)
        const keys = chain(10)
        await store(a!, tenure, keys)
        await rig.wipe()
        await expect
          .poll(() => outcome(a!.write(stretchOf({ tenure, layer: 0, stride: 8 }, keys, true))))
          .toBe("refused")
        expect(await outcome(a!.enter("w"))).toBe("refused")
        expect(await outcome(a!.settle("w", tenure))).toBe("refused")
        await expect.poll(() => run(b!.generation)).not.toBe(before)
        expect(await run(a!.generation)).toBe(await run(b!.generation))
        expect(await run(a!.names)).toEqual([])
        expect(await depths(a!, keys)).toEqual({})
        expect(await readAll(a!)).toEqual([])
        const again = await worker("w", a)
        expect(again.tenure).not.toBe(tenure)
        await store(a!, tenure, keys)
        expect(await depths(a!, keys)).toEqual({})
        await store(a!, again.tenure, keys)
        expect(await depths(b!, keys)).toEqual({ w: 10 })
      })

      it("away from those who cannot reach it, who are told so at once, and there again afterwards", async () => {
        const [a, b] = await clients(2)
        const { tenure } = await worker("w", a)
        const keys = chain(10)
        expect(a!.status()).toMatchObject({ connected: true, why: "" })
        expect(a!.status().server).not.toBeNull()
        if (rig.cut === null) return
        await rig.cut(a!, true)
        expect(a!.status().connected).toBe(false)
        expect(a!.status().why).not.toBe("")
        const calls = [
          a!.generation,
          a!.enter("v"),
          a!.settle("w", tenure),
          a!.leave("w", tenure),
          a!.write(stretchOf({ tenure, layer: DEVICE, stride: 8 }, keys, true)),
          a!.lookup(keys, 10, 8),
          a!.read(() => Effect.succeed(true)),
          a!.names
        ]
        for (const call of calls) expect(await outcome<unknown>(call)).toBe("away")
        await store(b!, tenure, keys)
        await rig.cut(a!, false)
        expect(await depths(a!, keys)).toEqual({ w: 10 })
        expect(await run(a!.settle("w", tenure))).toBe(true)
      })

      it("and says how it is", async () => {
        const [s] = await clients(1)
        const findings = await run(s!.findings)
        expect(findings.length).toBeGreaterThan(0)
        for (const { value, what } of findings) expect([what, value]).not.toContain("")
        expect(s!.url).not.toBe("")
      })
    })

    describe("answers as its naive twin does", () => {
      it.each([
        [1, 8],
        [2, 8],
        [3, 32],
        [4, 32],
        [5, 1],
        [6, 3]
      ])("over a random history of seed %i in pieces of %i", async (seed, stride) => {
        await randomHistory(await clients(2), seed, sizes.steps, stride)
      })

      it.each([
        ["mooncake_conversation_trace.jsonl.gz", 8],
        ["mooncake_synthetic_trace.jsonl.gz", 8],
        ["toolagent_like_dev.jsonl.gz", 32]
      ])("over %s on workers with small caches, in pieces of %i", async (file, stride) => {
        await traceHistory(await clients(2), trace(file), sizes.requests, stride)
      })
    })
  })
}
