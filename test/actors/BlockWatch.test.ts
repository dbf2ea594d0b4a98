import { beforeEach, describe, expect, it } from "vitest"
import { BlockWatch } from "../../actors/BlockWatch.ts"
import { DEVICE, GUESS, HOST, type Layer } from "../../src/domain/Tier.ts"

describe("Waiting for a block to be stored", () => {
  let nowMs = 0
  let watch = new BlockWatch(4, () => nowMs)
  let told: Array<string> = []
  beforeEach(() => {
    nowMs = 0
    watch = new BlockWatch(4, () => nowMs)
    told = []
  })
  const wait = (name: string, slot: number, lo: number, hi: number) => watch.wait(slot, lo, hi, () => told.push(name))
  const stored = (worker: number, keys: ReadonlyArray<number>, layer: Layer = DEVICE) =>
    watch.hear({ _tag: "Stored", worker, layer, parent: null, keys: Int32Array.from(keys) })

  it("tells once, when events of that worker store it, in whatever tier", () => {
    wait("a", 1, 7, 8)
    stored(0, [7, 8])
    stored(1, [7, 9, 8, 7])
    stored(1, [7, 8], GUESS)
    watch.hear({ _tag: "Removed", worker: 1, layer: DEVICE, keys: Int32Array.of(7, 8) })
    expect(told).toEqual([])
    stored(1, [1, 2, 7, 8], HOST)
    stored(1, [7, 8])
    expect(told).toEqual(["a"])
  })

  it("tells all who wait for the same block, and keeps apart keys that are alike by half", () => {
    wait("a", 1, 7, 8)
    wait("b", 1, 7, 8)
    wait("c", 2, 7, 8)
    wait("d", 1, 7, 9)
    stored(1, [7, 8])
    expect(told).toEqual(["a", "b"])
    stored(2, [7, 8])
    stored(1, [7, 9])
    expect(told).toEqual(["a", "b", "c", "d"])
  })

  it("gives up after a minute, and on the oldest when too many wait", () => {
    wait("old", 1, 1, 1)
    nowMs = 60_000
    wait("new", 1, 2, 2)
    stored(1, [1, 1, 2, 2])
    expect(told).toEqual(["new"])
    for (let i = 0; i <= 1_024; i++) wait(`w${i}`, 2, 1_000 + i, 0)
    stored(2, [1_000, 0, 1_001, 0])
    expect(told).toEqual(["new", "w1"])
  })
})
