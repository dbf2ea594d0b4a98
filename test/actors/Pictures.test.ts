import { describe, expect, it } from "vitest"
import type { Worker } from "../../actors/FleetEntry.ts"
import type { State } from "../../actors/Followed.ts"
import * as Pictures from "../../actors/Pictures.ts"
import type { WorkerFacts } from "../../src/domain/Worker.ts"
import { facts } from "../support/FakeEngine.ts"

const slot = 2
const source = { endpoint: "tcp://a:1", replayEndpoint: null, topic: "", rank: 0 }
const worker = (more: Partial<WorkerFacts> = {}, slots: ReadonlyArray<number> = [slot]) =>
  ({ slots, spec: { id: "a", url: "http://a:1" }, engine: {}, facts: facts(more), model: "m" }) as unknown as Worker
const whole = { health: "whole", why: "", complete: true, restarts: 0, blockSize: 16 } as State
const report = { cachedTokens: 160, outputTokens: 40, promptTokens: 320 }
const finished = {
  prompts: 1,
  promptTokens: 320,
  exact: true,
  predictedTokens: 160,
  deliveredTokens: 160,
  evictedBlocks: 3,
  reportedPromptTokens: 320
}

/** Pictures over actors that only write down what they are told. */
const setUp = (present = worker()) => {
  const heard: Array<string> = []
  const say =
    (name: string) =>
    (...args: ReadonlyArray<unknown>) =>
      void heard.push([name, ...args].join(" "))
  let onState: (slot: number, state: State) => void = () => {}
  const states = new Map<number, State>()
  const pictures = Pictures.make({
    workersMax: 8,
    collector: {
      start: ({ name, slot, source }: { name: string; slot: number; source: { endpoint: string } }) =>
        say("follow")(name, slot, source.endpoint),
      stop: say("stop"),
      state: (slot: number) => states.get(slot) ?? null,
      expected: say("expect"),
      resync: () => {},
      onState: (listener: typeof onState) => {
        onState = listener
      }
    },
    guesses: {
      computed: () => (settled: unknown) => void heard.push(JSON.stringify(settled)),
      forget: say("forget guesses of"),
      leave: () => {},
      told: () => {}
    },
    trust: {
      join: () => {},
      leave: () => {},
      health: say("health"),
      restarted: say("restarted"),
      delivered: (...args: ReadonlyArray<unknown>) => {
        say("deliver")(...args)
        return true
      },
      onChange: () => {},
      onSuspect: () => {}
    },
    ledger: {
      join: () => {},
      leave: () => {},
      setEligible: () => {},
      setPriority: say("priority"),
      setCapacity: say("capacity")
    },
    index: { drop: say("drop"), onReset: () => {} },
    workerOf: () => present,
    describe: () => null,
    fork: () => {}
  } as unknown as Pictures.Deps)
  const state = (next: Partial<State>) => {
    states.set(slot, { ...whole, ...next })
    onState(slot, { ...whole, ...next })
  }
  return { pictures, state, heard, said: () => heard.splice(0) }
}
const keys = [Int32Array.from({ length: 40 })]

describe("Pictures", () => {
  it("follows the events of each rank, by its own name", () => {
    const { pictures, said } = setUp()
    const eventSources = [0, 1].map((rank) => ({ ...source, rank, endpoint: `tcp://a:${rank}` }))
    pictures.join(worker({ ranks: [0, 1], eventSources }, [2, 5]))
    expect(said().filter((line) => line.startsWith("follow"))).toEqual([
      "follow a/dp0 2 tcp://a:0",
      "follow a/dp1 5 tcp://a:1"
    ])
  })

  it("tells the ledger of each rank that serves by priority, and when it no longer does", () => {
    const { pictures, said } = setUp()
    const before = worker({ unsetPriority: Number.POSITIVE_INFINITY, ranks: [0, 1] }, [2, 5])
    pictures.join(before)
    pictures.change(worker({ ranks: [0, 1] }, [2, 5]), before, true)
    expect(said().filter((line) => line.startsWith("priority"))).toEqual([
      "priority 2 Infinity",
      "priority 5 Infinity",
      "priority 2 ",
      "priority 5 "
    ])
  })

  it("does not take the events of one of several ranks for the cache of a worker that chooses among them", () => {
    const { pictures, said } = setUp()
    pictures.join(worker({ eventSources: [source, { ...source, rank: 1 }] }))
    expect(said()).toContain("health 2 absent events of 2 ranks, and no request can name one")
  })

  it("guesses what events do not tell, and nothing while they tell all", () => {
    const { pictures, said, state } = setUp()
    pictures.join(worker({ eventSources: [source] }))
    said()
    pictures.computed(slot, keys, true)!(report)
    expect(said()).toEqual(['{"reportedBlocks":10,"estimated":false,"outputBlocks":3}'])
    state({})
    expect(said()).toContain("forget guesses of 2")
    expect(pictures.computed(slot, keys, true)).toBeNull()
    // What is keyed by its text no event tells of; its blocks are the engine's in another measure.
    pictures.computed(slot, keys, false)!({ ...report, promptTokens: 640 })
    expect(said()).toEqual(['{"reportedBlocks":5,"estimated":true,"outputBlocks":3}'])
    state({ why: "joined late" })
    expect(said()).not.toContain("forget guesses of 2")
    state({ health: "broken" })
    expect(pictures.computed(slot, keys, true)).not.toBeNull()
  })

  it("guesses about the next worker of a slot whatever the last one's events told", () => {
    const { pictures, state } = setUp()
    pictures.join(worker({ eventSources: [source] }))
    state({})
    pictures.vacate(slot)
    pictures.join(worker())
    expect(pictures.computed(slot, keys, true)).not.toBeNull()
  })

  it("forgets guesses when the engine is another process, by its events or by its own word", () => {
    const { pictures, said, state } = setUp()
    pictures.join(worker({ eventSources: [source] }))
    state({ health: "broken" })
    said()
    state({ health: "broken", restarts: 1 })
    expect(said()).toContain("forget guesses of 2")
    pictures.change(worker({ eventSources: [source] }), worker({ eventSources: [source] }), true)
    expect(said()).toEqual(["priority 2 ", "capacity 2 16000", "restarted 2", "forget guesses of 2"])
  })

  it("believes the block size that events show before the one that is told", () => {
    const { pictures, state } = setUp()
    pictures.join(worker({ eventSources: [source], blockSize: 32 }))
    expect(pictures.blockSizes[slot]).toBe(32)
    state({ blockSize: 64 })
    pictures.change(
      worker({ eventSources: [source], blockSize: 32, tokenizes: false }),
      worker({ eventSources: [source], blockSize: 32 }),
      false
    )
    expect(pictures.blockSizes[slot]).toBe(64)
  })

  it("expects to hear of a request that must have stored a block, and of no other", () => {
    const { pictures, said, state } = setUp()
    pictures.join(worker({ eventSources: [source] }))
    state({})
    said()
    pictures.delivered(slot, finished, 70)
    // Three blocks of 16 tokens were evicted since it was placed.
    expect(said()).toEqual(["deliver 2 160 160 320 48", "expect 2 70"])
    pictures.delivered(slot, { ...finished, deliveredTokens: 304 }, 70)
    expect(said()).toEqual(["deliver 2 160 304 320 48"])
    // An engine that reports nothing: what was predicted will do, if all is known.
    pictures.delivered(slot, { ...finished, deliveredTokens: null }, 70)
    expect(said()).toEqual(["expect 2 1070"])
  })
})
