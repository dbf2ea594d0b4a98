import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Replays from "../../actors/RelayReplays.ts"
import { Bus } from "../../src/ports/Bus.ts"
import * as BusMemory from "../../src/ports/BusMemory.ts"
import { ReplayFailed, type Subscription } from "../../src/ports/EventStream.ts"

const MiB = 1 << 20
const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/** A bus that brings one message in so many turns of the event loop. */
const slowHub = (turnsPerMessage: number) => {
  const waiting: Array<() => void> = []
  let turnsLeft = 0
  const run = (): void => {
    if (turnsLeft > 0) turnsLeft--
    else {
      waiting.shift()?.()
      turnsLeft = turnsPerMessage
    }
    if (turnsLeft > 0 || waiting.length > 0) setImmediate(run)
  }
  return BusMemory.make({
    later: (message) => {
      waiting.push(message)
      if (turnsLeft === 0 && waiting.length === 1) setImmediate(run)
    }
  })
}

/** An engine that keeps so many batches, and hands on one in each turn; `fails` after so many in one replay. */
const engine = (batches: number, payload: Uint8Array, fails = Infinity) => {
  const told = { replays: 0, batches: 0 }
  const replay: Subscription["replay"] = (from, take) =>
    Effect.gen(function* () {
      told.replays++
      for (let seq = from, i = 0; seq < batches; seq++, i++) {
        if (i === fails) return yield* new ReplayFailed({ endpoint: "tcp://engine", from, reason: "broken off" })
        told.batches++
        take(seq, payload)
        yield* turn
      }
    })
  return { told, subscription: { replay } }
}

/** Asks for all there is. What was heard, in order, and how far the engine's side was ahead at most. */
const asked = (hub: BusMemory.Hub, { subscription, told }: ReturnType<typeof engine>, from = 0) =>
  Effect.scoped(
    Effect.gen(function* () {
      let served = 0
      yield* Replays.serve(
        "owner",
        (name) => (name === "w0" ? subscription : null),
        () => served++
      ).pipe(Effect.provideService(Bus, hub.client().bus))
      const heard: Array<number> = []
      let ahead = 0
      const outcome = yield* Replays.ask(hub.client().bus, "owner", { name: "w0", from }, (seq) => {
        ahead = Math.max(ahead, told.batches - heard.length)
        heard.push(seq)
      })
      return { outcome, heard, ahead, served }
    })
  )

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)

describe("RelayReplays", () => {
  it.live("keeps a replay for a slow replica within bounds, and brings all of it in order", () =>
    Effect.gen(function* () {
      const source = engine(640, new Uint8Array(64 * 1024))
      const { ahead, heard, outcome, served } = yield* asked(slowHub(40), source)
      assert.deepStrictEqual(outcome, { _tag: "done" })
      assert.deepStrictEqual(heard, numbers(0, 640))
      assert.isAtMost(ahead * 64 * 1024, 9 * MiB)
      assert.strictEqual(served, 1)
    })
  )

  it.live("asks for many small batches a thousand at a time", () =>
    Effect.gen(function* () {
      const source = engine(2_500, new Uint8Array(1))
      const { heard, outcome } = yield* asked(BusMemory.make(), source, 100)
      assert.deepStrictEqual(outcome, { _tag: "done" })
      assert.deepStrictEqual(heard, numbers(100, 2_500))
      assert.strictEqual(source.told.replays, 3)
    })
  )

  it.live("passes on that the engine broke off, after what came before", () =>
    Effect.gen(function* () {
      const { heard, outcome, served } = yield* asked(BusMemory.make(), engine(2_000, new Uint8Array(1), 3))
      assert.deepStrictEqual(outcome, { _tag: "refused", reason: "broken off" })
      assert.deepStrictEqual(heard, [0, 1, 2])
      assert.strictEqual(served, 0)
    })
  )
})
