import { assert, describe, it } from "vitest"
import { DEVICE, DISK, EXTERNAL, GUESS, HOST, layersMax } from "../../src/domain/Tier.ts"
import * as PrefixTable from "../../src/hot/PrefixTable.ts"
import * as SlotLayers from "../../src/hot/SlotLayers.ts"
import { extend, random } from "../support/Chains.ts"

const keys = extend(new Int32Array(0), 0, 20, random(1))

const fleet = (slotsMax: number, holdersMax = SlotLayers.holdersFor(slotsMax)) => {
  const map = SlotLayers.make(slotsMax, holdersMax)
  const table = PrefixTable.make({ holdersMax, blocksMax: 4_096 })
  const depths = () => {
    const out = new Uint32Array(layersMax * slotsMax).fill(77)
    const deeper = SlotLayers.depths(map, table, keys, 20, PrefixTable.makeLevels(table), out)
    return { deeper, rows: [0, 1, 2, 3, 4].map((row) => [...out.subarray(row * slotsMax, (row + 1) * slotsMax)]) }
  }
  return { map, table, depths }
}

describe("SlotLayers", () => {
  it("gives holders densely, the lowest free one first, and again once they are released", () => {
    const { map } = fleet(4)
    assert.deepEqual(
      [3, 1, 0].map((slot) => SlotLayers.open(map, slot, DEVICE)),
      [0, 1, 2]
    )
    assert.strictEqual(SlotLayers.open(map, 1, HOST), 3)
    assert.strictEqual(SlotLayers.close(map, 1, DEVICE), 1)
    assert.strictEqual(SlotLayers.close(map, 1, DEVICE), SlotLayers.NONE)
    assert.strictEqual(SlotLayers.open(map, 2, DEVICE), 4)
    SlotLayers.release(map, 1)
    assert.strictEqual(SlotLayers.open(map, 2, GUESS), 1)
    assert.deepEqual([map.used, map.deeper], [5, 2])
  })

  it("keeps a holder for every device, and says when to come back for one", () => {
    const { map } = fleet(3, 4)
    assert.strictEqual(SlotLayers.open(map, 0, HOST), 0)
    assert.strictEqual(SlotLayers.open(map, 0, DISK), SlotLayers.REFUSED)
    assert.deepEqual(
      [0, 1, 2].map((slot) => SlotLayers.open(map, slot, DEVICE)),
      [1, 2, 3]
    )
    SlotLayers.close(map, 2, DEVICE)
    assert.strictEqual(SlotLayers.open(map, 2, DEVICE), SlotLayers.LATER)
    SlotLayers.release(map, 3)
    assert.strictEqual(SlotLayers.open(map, 2, DEVICE), 3)
  })

  it("finds the deepest tier before one, and never takes guesses for a tier", () => {
    const { map } = fleet(2)
    SlotLayers.open(map, 0, GUESS)
    assert.strictEqual(SlotLayers.below(map, 0, EXTERNAL), SlotLayers.NONE)
    assert.strictEqual(SlotLayers.anyOf(map, 0), 0)
    SlotLayers.open(map, 0, DEVICE)
    SlotLayers.open(map, 0, DISK)
    assert.deepEqual(
      ([HOST, DISK, EXTERNAL] as const).map((layer) => SlotLayers.below(map, 0, layer)),
      [1, 1, 2]
    )
    assert.strictEqual(SlotLayers.anyOf(map, 1), SlotLayers.NONE)
  })

  it("writes nothing but devices when nothing else holds a block of the prompt", () => {
    const { depths, map, table } = fleet(2)
    PrefixTable.store(table, SlotLayers.open(map, 1, DEVICE), null, keys, 9)
    PrefixTable.store(table, SlotLayers.open(map, 0, HOST), null, extend(new Int32Array(0), 0, 5, random(2)))
    const { deeper, rows } = depths()
    assert.isFalse(deeper)
    assert.deepEqual(rows, [
      [0, 9],
      [77, 77],
      [77, 77],
      [77, 77],
      [77, 77]
    ])
  })

  it("writes every layer otherwise: a tier no shallower than the one before it, guesses on their own", () => {
    const { depths, map, table } = fleet(3)
    const hold = (slot: number, layer: 0 | 1 | 2 | 3 | 4, count: number) =>
      PrefixTable.store(table, SlotLayers.open(map, slot, layer), null, keys, count)
    hold(0, DEVICE, 4)
    hold(0, DISK, 12)
    hold(1, DEVICE, 7)
    hold(1, HOST, 3)
    hold(2, GUESS, 20)
    const { deeper, rows } = depths()
    assert.isTrue(deeper)
    assert.deepEqual(rows, [
      [4, 7, 0],
      [4, 7, 0],
      [12, 7, 0],
      [12, 7, 0],
      [0, 0, 20]
    ])
  })
})
