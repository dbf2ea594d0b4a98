import { describe, expect, it } from "vitest"
import { defaults, type Followed, type Options } from "../../actors/Followed.ts"
import { type Input, type Order, Publisher } from "../../actors/Publisher.ts"
import { decode } from "../../src/adapters/kvevents/KvEvents.ts"
import type { KvDelta } from "../../src/domain/KvEvent.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import * as Vllm from "../support/VllmPublisher.ts"

const hasher = BlockHash.make()

/** A publisher, its engine and ring, and the wire between them, in virtual time. */
const world = (given: {
  readonly ringMax: number
  readonly replayable: boolean
  readonly options?: Partial<Options>
}) => {
  const engine = Vllm.make(hasher, "m", "map")
  const view = new Set<string>()
  const live: Array<readonly [number, Uint8Array]> = []
  let ring: Array<readonly [number, Uint8Array]> = []
  let next = 0
  let nowMs = 0
  let out: Order | null = null
  const self = {
    engine,
    /** What the index was told. */
    view,
    begun: 0,
    clears: 0,
    room: true,
    now: () => nowMs,
    order: () => out,
    /** Numbers and buffers a payload; it arrives unless lost. */
    publish: (payload: Uint8Array, lost: boolean) => {
      ring.push([next, payload])
      if (ring.length > given.ringMax) ring.shift()
      if (!lost) live.push([next, payload])
      next++
    },
    restart: () => {
      engine.restart()
      ring = []
      live.length = 0
      next = 0
    },
    deliver: (max = Infinity) => {
      for (const [seq, payload] of live.splice(0, max)) feed({ _tag: "Live", seq, payload })
    },
    /** Serves the order that is out, or fails it; live messages may come in between. */
    serve: (fault: "none" | "fail" | "cut", between = () => {}) => {
      if (out === null) return
      const { from, id } = out
      self.begun++
      feed({ _tag: "ReplayBegun", id })
      const answer = ring.filter(([seq]) => seq >= from)
      for (const [seq, payload] of fault === "none"
        ? answer
        : answer.slice(0, fault === "cut" ? answer.length >> 1 : 0)) {
        feed({ _tag: "Replayed", id, seq, payload })
      }
      between()
      if (out?.id === id) out = null
      feed(fault === "none" ? { _tag: "ReplayDone", id } : { _tag: "ReplayFailed", id, reason: fault })
    },
    /** Lets time pass, from one thing that is due to the next. */
    pass: (ms: number) => {
      const end = nowMs + ms
      while (out !== null) self.serve("none")
      for (let steps = 0; publisher.wakeMs <= end; steps++) {
        expect(steps).toBeLessThan(1_000)
        nowMs = Math.max(nowMs, publisher.wakeMs)
        feed({ _tag: "Tick" })
        expect(publisher.wakeMs).toBeGreaterThan(nowMs)
        while (out !== null) self.serve("none")
      }
      nowMs = end
    }
  }
  const followed: Followed = {
    name: "w",
    slot: 0,
    model: "m",
    source: { endpoint: "", replayEndpoint: given.replayable ? "" : null, topic: "", rank: 0 },
    blockSize: null,
    blockCount: null,
    decode
  }
  const publish = (delta: KvDelta): boolean => {
    if (delta._tag === "Cleared") {
      view.clear()
      self.clears++
      return true
    }
    if (!self.room) return false
    if (delta._tag === "Deepened") throw new Error("no tiers here")
    for (const name of Vllm.keyNames(delta.keys)) delta._tag === "Stored" ? view.add(name) : view.delete(name)
    return true
  }
  const publisher = new Publisher(
    followed,
    { ...defaults, hasher, ...given.options },
    {
      publish,
      replay: (order) => {
        expect(out).toBeNull()
        out = order
      },
      abandon: (id) => {
        expect(out?.id).toBe(id)
        out = null
      },
      say: () => {}
    },
    nowMs
  )
  const feed = (input: Input) => publisher.feed(input, nowMs)
  return Object.assign(self, { publisher, feed })
}

const rng = (seed: number) => {
  let random = Math.imul(seed, 7_919)
  return (n: number) => {
    random = (Math.imul(random, 1_664_525) + 1_013_904_223) | 0
    return (random >>> 8) % n
  }
}

describe("Publisher", () => {
  it("answers the same to the same inputs at the same times", () => {
    const run = () => {
      const w = world({ ringMax: 100, replayable: true })
      w.feed({ _tag: "Connected" })
      w.publish(w.engine.store([1]), true)
      w.publish(w.engine.store([2]), false)
      w.deliver()
      w.pass(60_000)
      return { state: w.publisher.state(w.now()), wakeMs: w.publisher.wakeMs, view: [...w.view] }
    }
    expect(run()).toEqual(run())
  })

  it("waits for nothing while there is nothing to wait for", () => {
    const w = world({ ringMax: 100, replayable: false })
    w.feed({ _tag: "Connected" })
    w.publish(w.engine.store([1]), false)
    w.deliver()
    expect(w.publisher.wakeMs).toBe(Infinity)
  })

  it("takes its next replay from what the budget gains, and says when", () => {
    const w = world({ ringMax: 100, replayable: true, options: { replaysMax: 2, regainMs: 5_000 } })
    w.feed({ _tag: "Connected" })
    w.serve("none")
    const hole = () => {
      w.publish(w.engine.store([w.now(), w.begun]), true)
      w.publish(w.engine.store([w.now() + 1, w.begun]), false)
      w.deliver()
    }
    hole()
    w.serve("none")
    hole()
    expect(w.order()).toBeNull()
    expect(w.publisher.state(w.now())).toMatchObject({
      health: "broken",
      recovery: { phase: "waiting", nextTryInMs: 5_000, replaysLeft: 0 }
    })
    w.pass(5_000)
    expect(w.publisher.health).toBe("whole")
  })

  it.each(Array.from({ length: 12 }, (_, i) => i))(
    "never leaves what the engine does not hold, and heals, whatever happens, seed %i",
    (seed) => {
      const random = rng(seed + 1)
      for (let round = 0; round < 40; round++) {
        const replayable = random(5) > 0
        const ringMax = random(3) === 0 ? 5 : 10_000
        const w = world({ ringMax, replayable, options: { heldMax: random(3) === 0 ? 3 : 100 } })
        w.feed({ _tag: "Connected" })
        const chains: Array<ReadonlyArray<number>> = []
        for (let i = 0; i < 200; i++) {
          const what = random(100)
          if (what < 45) {
            const chain = Array.from({ length: 1 + random(4) }, (_, depth) => random(4) + depth * 10)
            w.publish(w.engine.store(chain), random(10) === 0)
            chains.push(chain)
          } else if (what < 55 && chains.length > 0) {
            // Each store added a copy of its last block, so each can be taken back once.
            w.publish(w.engine.evict(chains.splice(random(chains.length), 1)[0]!), random(10) === 0)
          } else if (what < 57) w.feed({ _tag: "Disconnected" })
          else if (what < 60) w.feed({ _tag: "Connected" })
          else if (what < 61) {
            // What the old process sent and had not arrived is lost with its connection.
            w.feed({ _tag: "Disconnected" })
            w.restart()
            chains.length = 0
            w.feed({ _tag: "Connected" })
          } else if (what < 64) w.serve(random(3) === 0 ? "cut" : "fail")
          else if (what < 78) w.serve("none", () => w.deliver(random(3)))
          else if (what < 82) {
            w.room = random(3) > 0
            w.deliver(1)
            w.room = true
          } else if (what < 84) w.feed({ _tag: "Expected", tookMs: 100 })
          else if (what < 85) w.feed({ _tag: "Resync", why: "told to" })
          else if (what < 92) w.pass(random(4) === 0 ? random(70_000) : random(500))
          else w.deliver(1 + random(5))
        }
        w.feed({ _tag: "Connected" })
        w.deliver()
        w.publish(w.engine.store([99]), false)
        w.deliver()
        w.pass(10 * 60_000)
        const state = w.publisher.state(w.now())
        const truth = new Set(w.engine.keys())
        const excess = [...w.view].filter((key) => !truth.has(key))
        expect({ seed, round, excess }).toEqual({ seed, round, excess: [] })
        expect({ seed, round, health: state.health, phase: state.recovery.phase, held: state.lagEvents }).toEqual({
          seed,
          round,
          health: "whole",
          phase: "none",
          held: 0
        })
        if (state.complete) expect([...w.view].sort()).toEqual(w.engine.keys())
        else expect(state.why).not.toBe("")
        expect(state.replays).toBeLessThanOrEqual(defaults.replaysMax + w.now() / defaults.regainMs)
      }
    }
  )
})
