import { describe, expect, it } from "vitest"
import { ActiveBlocks } from "../../../../loadtest/replay/rivals/ActiveBlocks.ts"
import * as Chains from "../../../support/Chains.ts"

describe("ActiveBlocks", () => {
  it("counts each worker's blocks once, and finds what of a prompt is in use, like a list that does the same", () => {
    const next = Chains.random(5)
    const chains = Chains.forest(80, 30, next)
    const workers = 3
    const active = new ActiveBlocks(workers)
    const depths = new Uint32Array(workers)
    const open: Array<{ slot: number; keys: Int32Array; rows: Int32Array }> = []
    const pathsOf = (keys: Int32Array) =>
      Array.from({ length: keys.length / 2 }, (_, i) => keys.subarray(0, 2 * i + 2).join())
    for (let i = 0; i < 2_000; i++) {
      if (open.length > 0 && next(100) < (i < 1_500 ? 45 : 70)) {
        const [{ rows, slot }] = open.splice(next(open.length), 1) as [(typeof open)[number]]
        active.remove(slot, rows)
      } else {
        const keys = chains[next(chains.length)]!
        const slot = next(workers)
        open.push({ slot, keys, rows: active.add(slot, keys, keys.length / 2) })
      }
      if (i % 20 !== 0) continue
      const asked = chains[next(chains.length)]!
      active.depths(asked, asked.length / 2, depths)
      for (let slot = 0; slot < workers; slot++) {
        const used = new Set(open.filter((one) => one.slot === slot).flatMap(({ keys }) => pathsOf(keys)))
        expect(active.size[slot]).toBe(used.size)
        const miss = pathsOf(asked).findIndex((path) => !used.has(path))
        expect(depths[slot]).toBe(miss < 0 ? asked.length / 2 : miss)
      }
    }
    for (const { rows, slot } of open) active.remove(slot, rows)
    expect([...active.size]).toEqual([0, 0, 0])
  })
})
