import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as StateStoreMemory from "../../src/ports/StateStoreMemory.ts"
import * as StateStorePart from "../../src/ports/StateStorePart.ts"

const keys = Int32Array.from({ length: 8 }, (_, i) => i + 1)
const share = (tenure: number, held: number) =>
  ({ tenure, layer: 0, stride: 32, piece: 0, parent: null, keys, told: 0b1111, held }) as const

describe("two deployments in one store", () => {
  it.effect("do not see each other's workers, though they have the same names and hold the same blocks", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make({ random: () => 0.5 })
      const one = StateStorePart.make(hub.client().store, "one")
      const two = StateStorePart.make(hub.client().store, "two")
      yield* one.write([share(yield* one.enter("gpu-1"), 0b1111)])
      yield* two.write([share(yield* two.enter("gpu-1"), 0b0011)])
      yield* two.enter("gpu-2")
      const reach = (store: typeof one) =>
        Effect.map(store.lookup(keys, 4, 32), (all) => all.map((r) => [r.name, r.blocks[0]]))
      assert.deepStrictEqual(yield* reach(one), [["gpu-1", 4]])
      assert.deepStrictEqual(yield* reach(two), [["gpu-1", 2]])
      assert.deepStrictEqual((yield* two.names).map(({ name }) => name).sort(), ["gpu-1", "gpu-2"])
      const read: Array<string> = []
      yield* one.read((chunk) =>
        Effect.sync(() => {
          for (const { holders } of chunk) read.push(...holders.map(({ name, mask }) => `${name} ${mask}`))
          return true
        })
      )
      assert.deepStrictEqual([...new Set(read.map((text) => text.split(" ")[0]))], ["gpu-1"])
    })
  )

  it.effect("end and begin tenures of their own", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make({ random: () => 0.5 })
      const one = StateStorePart.make(hub.client().store, "one")
      const two = StateStorePart.make(hub.client().store, "two")
      const first = yield* one.enter("gpu-1")
      yield* one.write([share(first, 0b1111)])
      const second = yield* two.enter("gpu-1")
      assert.isTrue(yield* two.settle("gpu-1", second))
      assert.strictEqual((yield* one.lookup(keys, 4, 32)).length, 1)
      yield* one.leave("gpu-1", first)
      assert.deepStrictEqual(yield* one.names, [])
      assert.strictEqual((yield* two.names).length, 1)
    })
  )
})
