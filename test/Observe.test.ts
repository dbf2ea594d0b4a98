import { describe, expect, it } from "vitest"
import * as Observe from "../src/Observe.ts"

/** Metrics over workers whose event counters a test sets. */
const setUp = () => {
  const batches = new Map<string, number>()
  const index = { evictedBlocks: 0, storesFull: 0, storesOrphaned: 0, overflowed: 0, resets: 0, blocks: 5, bytes: 9 }
  const deps = {
    fleet: { list: () => [...batches.keys()].map((id) => ({ spec: { id } })) },
    collector: {
      state: (id: string) => ({ batches: batches.get(id)!, gaps: 0, replays: 0, purges: 0, decodeErrors: 0 })
    },
    index: { stats: () => index },
    ledger: {},
    now: () => 0,
    inFlight: () => 0
  } as unknown as Observe.Deps
  const { metrics } = Observe.make(deps)
  const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(metrics())![1])
  return { batches, index, value }
}

describe("Observe", () => {
  it("counts on when a worker leaves and comes back under its name with counters of its own", () => {
    const { batches, value } = setUp()
    batches.set("a", 10)
    expect(value("warmpath_kv_event_batches_total")).toBe(10)
    batches.delete("a")
    expect(value("warmpath_kv_event_batches_total")).toBe(10)
    batches.set("a", 12)
    expect(value("warmpath_kv_event_batches_total")).toBe(22)
  })
  it("shows what the index let go, had no room for, and lost", () => {
    const { index, value } = setUp()
    Object.assign(index, { evictedBlocks: 7, storesFull: 2, storesOrphaned: 3, overflowed: 4 })
    expect(value("warmpath_index_evicted_blocks_total")).toBe(7)
    // The table was lost to a defect: what it counts begins again.
    Object.assign(index, { evictedBlocks: 1, resets: 1 })
    expect(
      ["evicted_blocks", "stores_full", "stores_orphaned", "overflows", "resets"].map((name) =>
        value(`warmpath_index_${name}_total`)
      )
    ).toEqual([8, 2, 3, 4, 1])
  })
})
