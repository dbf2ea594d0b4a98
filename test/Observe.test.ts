import { describe, expect, it, vi } from "vitest"
import * as Observe from "../src/Observe.ts"
import * as SettledRecord from "./support/SettledRecord.ts"

const counters = { gaps: 0, replays: 0, replayFailures: 0, purges: 0, restarts: 0, decodeErrors: 0, overflows: 0 }

/** Metrics over workers whose event counters a test sets. */
const setUp = () => {
  const batches = new Map<string, number>()
  const served = new Set(["m"])
  const facts = () => ({ ranks: [0], models: [...served].map((id) => ({ id })) })
  const index = { evictedBlocks: 0, storesFull: 0, storesOrphaned: 0, overflowed: 0, resets: 0, blocks: 5, bytes: 9 }
  const deps = {
    fleet: {
      list: () => [...batches.keys()].map((id) => ({ spec: { id }, slots: [0], facts: facts(), state: "ready" })),
      resolve: (model: string) => ({ model }),
      find: (id: string) => (batches.has(id) ? {} : undefined),
      rank: () => null
    },
    collector: {
      state: () => ({ ...counters, batches: [...batches.values()][0], unknown: { "field BlockStored.mood": 2 } })
    },
    trust: {
      of: () =>
        batches.size === 0 ? null : { trust: "degraded", credit: 0.75, error: { samples: 0, deliveredShare: null } }
    },
    index: { stats: () => index, heldBy: (_slot: number, layer: number) => [10, 13, 13, 15, 7][layer] },
    ledger: { worker: () => ({ queued: 2, active: 1, activeTokens: 700, waitMs: 1_500 }) },
    now: () => 0,
    inFlight: () => 0,
    inFlightOf: () => 3,
    waiting: () => 0
  } as unknown as Observe.Deps
  const { heard, metrics, refused, settled } = Observe.make(deps)
  const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(metrics())![1])
  return { batches, heard, index, metrics, refused, served, settled, value }
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
  it("counts a bug of the router as one, not as a lack of workers, nor as the client's fault", () => {
    const { metrics, refused } = setUp()
    for (const status of [500, 404, 501]) refused(status)
    const counted = [...metrics().matchAll(/^warmpath_requests_total\{outcome="(\w+)"\} ([1-9])$/gm)]
    expect(counted.map(([, outcome, count]) => [outcome, count])).toEqual([
      ["client_error", "2"],
      ["defect", "1"]
    ])
  })

  it("shows how each worker's cache is known, until it leaves", () => {
    const { batches, metrics, value } = setUp()
    batches.set("a", 1)
    const text = metrics()
    expect(text).toContain('warmpath_worker_trust{worker="a",rank="0",trust="degraded"} 1')
    expect(text).toContain('warmpath_worker_trust{worker="a",rank="0",trust="exact"} 0')
    expect(text).toContain('warmpath_worker_credit{worker="a",rank="0"} 0.75')
    expect(text).toContain('warmpath_worker_blocks{worker="a",rank="0",tier="host"} 3')
    expect(text).toContain('warmpath_worker_blocks{worker="a",rank="0",tier="disk"} 0')
    expect(text).toContain('warmpath_worker_blocks{worker="a",rank="0",tier="guess"} 7')
    // Nothing was delivered yet, and nothing is not zero.
    expect(text).not.toContain("warmpath_worker_delivered_ratio")
    expect(value("warmpath_kv_event_unknown_total")).toBe(2)
    batches.delete("a")
    expect(metrics()).not.toContain('worker="a"')
  })

  it("shows what each worker has to do, and how many there are that can take more", () => {
    const { batches, metrics, value } = setUp()
    batches.set("a", 1)
    const text = metrics()
    const rank = '{worker="a",rank="0"}'
    for (const line of ["queued_requests#2", "active_requests#1", "in_flight_requests#3", "wait_seconds#1.5"]) {
      expect(text).toContain(`warmpath_worker_${line.replace("#", `${rank} `)}\n`)
    }
    expect(text).toContain('warmpath_worker_state{worker="a",state="ready"} 1')
    expect(text).toContain('warmpath_worker_state{worker="a",state="open"} 0')
    expect([value("warmpath_workers"), value("warmpath_workers_able")]).toEqual([1, 1])
  })

  it("keeps nothing of two hundred workers that came, worked and went, whether or not anybody looked meanwhile", () => {
    for (const looks of [true, false]) {
      const { batches, metrics, settled } = setUp()
      const work = (id: string) => {
        batches.set(id, 1)
        settled(SettledRecord.make({}, [SettledRecord.tryOf({ worker: id })]))
      }
      work("stays")
      // What never was is shown from the first time it happens on.
      const before = metrics().split("\n").length
      for (let i = 0; i < 200; i++) {
        const id = `10.0.0.${i}:8000`
        work(id)
        if (looks) {
          const text = metrics()
          expect(text).toContain(`warmpath_worker_requests_total{worker="${id}",model="m",outcome="ok"} 1`)
          expect(text.split("\n").length).toBeLessThan(before * 2)
        }
        batches.delete(id)
      }
      const text = metrics()
      expect(text).not.toContain("10.0.0.")
      expect(text.split("\n").length).toBe(before)
      // What all of them did is not forgotten.
      expect(text).toContain('warmpath_requests_total{outcome="ok"} 201')
    }
  })

  it("drops the series of models that nobody serves any more, whether or not anybody looked meanwhile", () => {
    for (const looks of [true, false]) {
      const { batches, metrics, served, settled } = setUp()
      batches.set("a", 1)
      for (let i = 0; i < 50; i++) {
        const model = `model-${i}`
        served.clear()
        served.add(model)
        settled(SettledRecord.make({ model, worker: null, status: 503 }, []))
        settled(SettledRecord.make({ model }, [SettledRecord.tryOf({ worker: "a" })]))
        if (looks) expect(metrics()).toContain(`model="${model}"`)
      }
      expect(new Set(metrics().match(/model="[^"]*"/g))).toEqual(new Set(['model="model-49"']))
      served.clear()
      expect(metrics()).not.toContain('model="')
    }
  })

  it("shows how late events are read, and none that came before they were sent", () => {
    const { heard, value } = setUp()
    vi.setSystemTime(5_000_000)
    heard(4_980)
    heard(5_000 + 3_600)
    vi.useRealTimers()
    expect(value("warmpath_kv_event_lag_seconds_count")).toBe(2)
    expect(value("warmpath_kv_event_lag_seconds_sum")).toBe(20)
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

  it("shows what it shares with other routers, and counts on when one of its parts began anew", () => {
    const numbers = (sent: number) =>
      ({
        totals: new Proxy({}, { get: (_, name) => (name === "warmpath_load_messages_sent_total" ? sent : 0) }),
        levels: new Proxy({}, { get: (_, name) => (name === "warmpath_replicas" ? 3 : 0) }),
        roles: { owner: 2, follower: 5 }
      }) as unknown as ReturnType<NonNullable<Observe.Deps["replicas"]>>
    let sent = 7
    const deps = {
      fleet: { list: () => [] },
      index: {
        stats: () => ({
          blocks: 0,
          bytes: 0,
          evictedBlocks: 0,
          storesFull: 0,
          storesOrphaned: 0,
          overflowed: 0,
          resets: 0
        })
      },
      inFlight: () => 0,
      waiting: () => 0,
      replicas: () => numbers(sent)
    } as unknown as Observe.Deps
    const { metrics } = Observe.make(deps)
    expect(metrics()).toContain("warmpath_load_messages_sent_total 7")
    sent = 2
    const text = metrics()
    expect(text).toContain("warmpath_load_messages_sent_total 9")
    expect(text).toContain("warmpath_replicas 3")
    expect(text).toContain('warmpath_publishers{role="follower"} 5')
  })
})
