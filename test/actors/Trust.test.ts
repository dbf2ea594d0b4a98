import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import { TestClock } from "effect/testing"
import { make, Trust, type View } from "../../actors/Trust.ts"

const slot = 3

/** One slot whose stream is whole, a clock, and all that was said of it. */
const rig = () => {
  let nowMs = 1_000
  const lines: Array<string> = []
  const changes: Array<View> = []
  const suspects: Array<number> = []
  const trust = make(
    () => nowMs,
    (level, message) => lines.push(`${level} ${message}`)
  )
  trust.onChange((at, view) => {
    assert.strictEqual(at, slot)
    changes.push(view)
  })
  trust.onSuspect(() => suspects.push(nowMs))
  trust.join(slot, "a")
  // It has shown that it does report what it finds.
  trust.delivered(slot, 0, 16, 2_000)
  trust.health(slot, "whole", "")
  return {
    trust,
    lines,
    changes,
    suspects,
    view: () => trust.of(slot)!,
    wait: (ms: number) => {
      nowMs += ms
    },
    /** Requests of 1 000 tokens, of which this share was delivered. */
    deliver: (count: number, share: number) => {
      for (let i = 0; i < count; i++) trust.delivered(slot, 1_000, Math.round(share * 1_000), 2_000)
    }
  }
}

describe("Trust", () => {
  it("knows nothing exactly before events are heard, and says what changes", () => {
    const lines: Array<string> = []
    const trust = make(
      () => 0,
      (level, message) => lines.push(`${level} ${message}`)
    )
    trust.join(slot, "a")
    assert.deepInclude(trust.of(slot), { trust: "approximate", state: "approximate", why: "no events", credit: 1 })
    trust.health(slot, "absent", "nothing heard yet")
    assert.strictEqual(trust.of(slot)?.why, "nothing heard yet")
    trust.health(slot, "whole", "")
    assert.deepInclude(trust.of(slot), { trust: "exact", credit: 1 })
    trust.health(slot, "broken", "sequence gap at 812")
    assert.deepInclude(trust.of(slot), { trust: "degraded", credit: 0.95, why: "sequence gap at 812" })
    trust.health(slot, "whole", "batches before 813 are lost")
    trust.health(slot, "absent", "silent though its worker works, for 60 s")
    assert.deepStrictEqual(lines, [
      'info The cache of worker "a" is known exactly',
      'warning The cache of worker "a" is degraded: sequence gap at 812',
      'info The cache of worker "a" is known exactly, though not all of it (batches before 813 are lost)',
      'info The cache of worker "a" is known approximately: silent though its worker works, for 60 s'
    ])
  })

  it("is silent while nothing changes but the reason", () => {
    const { changes, lines, trust, view, wait } = rig()
    const [said, told, since] = [lines.length, changes.length, view().sinceMs]
    wait(5_000)
    trust.health(slot, "whole", "joined late")
    assert.deepStrictEqual([lines.length, changes.length, view().sinceMs], [said, told, since])
    assert.strictEqual(view().why, "joined late")
  })

  it("believes a worker that delivers what was predicted, whatever else it had", () => {
    const { changes, trust, view } = rig()
    const told = changes.length
    for (let i = 0; i < 100; i++) trust.delivered(slot, 1_000, 1_400, 2_000)
    assert.deepInclude(view(), { trust: "exact", credit: 1 })
    assert.strictEqual(changes.length, told)
    assert.closeTo(view().error.meanTokens, -400, 1e-6)
    assert.closeTo(view().error.meanShare, -0.2, 1e-6)
    assert.closeTo(view().error.underTokens, 400, 1e-6)
    assert.deepInclude(view().error, { overTokens: 0, samples: 100, deliveredShare: 1 })
  })

  it("does not doubt a picture for a few blocks evicted meanwhile", () => {
    const { deliver, suspects, view } = rig()
    for (let i = 0; i < 50; i++) {
      deliver(9, 1)
      deliver(1, 0)
    }
    assert.strictEqual(view().trust, "exact")
    assert.isAbove(view().credit, 0.8)
    assert.deepStrictEqual(suspects, [])
    const few = rig()
    few.deliver(7, 0)
    assert.strictEqual(few.view().trust, "exact")
  })

  it("learns nothing from requests for which nothing was predicted", () => {
    const { trust, view } = rig()
    for (let i = 0; i < 50; i++) trust.delivered(slot, 0, 0, 2_000)
    assert.deepInclude(view(), { trust: "exact", credit: 1 })
    assert.isNull(view().error.deliveredShare)
  })

  it("degrades a whole stream that its engine contradicts, and has it read again", () => {
    const { deliver, lines, suspects, view } = rig()
    deliver(8, 0.25)
    assert.deepInclude(view(), {
      trust: "degraded",
      state: "contradicted",
      why: "its engine takes from its cache 25 % of what was predicted"
    })
    assert.closeTo(view().credit, 0.25 / 0.8, 1e-9)
    assert.deepStrictEqual(suspects, [1_000])
    assert.strictEqual(
      lines.at(-1),
      'warning The cache of worker "a" is degraded: its engine takes from its cache 25 % of what was predicted'
    )
  })

  it("holds nothing against a picture that its engine said it evicted between placement and admission", () => {
    const { trust, view } = rig()
    for (let i = 0; i < 40; i++) trust.delivered(slot, 1_000, 100, 2_000, 950)
    assert.deepInclude(view(), { state: "exact", credit: 1 })
    assert.isAbove(view().error.overTokens, 890)
    for (let i = 0; i < 40; i++) trust.delivered(slot, 1_000, 100, 2_000, 50)
    assert.deepInclude(view(), { state: "contradicted" })
  })

  it("keeps a contradiction until it is refuted, whatever is said of the stream", () => {
    const { deliver, trust, view } = rig()
    deliver(20, 0.2)
    trust.health(slot, "whole", "joined late")
    assert.deepInclude(view(), { state: "contradicted" })
    assert.match(view().why, /20 %/)
    deliver(20, 0.75)
    assert.strictEqual(view().state, "contradicted")
    deliver(60, 1)
    assert.deepInclude(view(), { state: "exact", why: "" })
    assert.isAbove(view().credit, 0.8)
  })

  it("must contradict a picture anew after it was read again", () => {
    const { deliver, trust, view } = rig()
    deliver(8, 0)
    trust.health(slot, "broken", "read again from the start")
    trust.health(slot, "whole", "")
    assert.strictEqual(view().state, "exact")
    // What it delivered is still the best guess of what it will.
    assert.strictEqual(view().credit, 0.1)
    deliver(7, 0)
    assert.strictEqual(view().state, "exact")
    deliver(1, 0)
    assert.strictEqual(view().state, "contradicted")
  })

  it("asks for a fresh reading ever more rarely", () => {
    const { deliver, suspects, trust, wait } = rig()
    for (let i = 0; i < 600; i++) {
      deliver(10, 0)
      trust.health(slot, "broken", "read again from the start")
      trust.health(slot, "whole", "")
      wait(1_000)
    }
    assert.deepStrictEqual(suspects, [1_000, 61_000, 181_000, 421_000])
  })

  it("says when the credit has moved, and not for less", () => {
    const { changes, deliver } = rig()
    const from = changes.length
    deliver(200, 0.9)
    assert.strictEqual(changes.length, from)
    deliver(200, 0.6)
    const credits = changes.slice(from).map(({ credit }) => credit)
    assert.isAtMost(credits.length, 12)
    assert.closeTo(credits.at(-1)!, 0.75, 0.02)
    for (const [i, credit] of credits.entries()) if (i > 0) assert.isAbove(Math.abs(credit - credits[i - 1]!), 0.02)
  })

  it("never believes less than a tenth", () => {
    const { deliver, trust, view } = rig()
    trust.health(slot, "absent", "silent")
    deliver(100, 0)
    assert.deepInclude(view(), { trust: "approximate" })
    assert.closeTo(view().credit, 0.1, 1e-9)
  })

  it("begins anew with another process, and with events after none", () => {
    const { deliver, trust, view } = rig()
    deliver(10, 0)
    trust.restarted(slot)
    assert.deepInclude(view(), { state: "exact", why: "", credit: 1 })
    trust.health(slot, "absent", "silent")
    deliver(10, 0.5)
    trust.health(slot, "whole", "")
    assert.deepInclude(view(), { state: "exact", credit: 1 })
    assert.strictEqual(view().error.samples, 0)
  })

  it("takes no zero for a report while an engine that announces blocks has never told anything else", () => {
    const { changes, deliver, suspects, trust, view } = rig()
    trust.restarted(slot)
    const told = changes.length
    for (let i = 0; i < 50; i++) assert.isFalse(trust.delivered(slot, 1_000, 0, 2_000))
    assert.deepInclude(view(), { state: "exact", credit: 1 })
    assert.deepStrictEqual([suspects.length, changes.length, view().error.samples], [0, told, 0])
    // From the first hit on it is known to tell, and its zeros count.
    assert.isTrue(trust.delivered(slot, 0, 16, 2_000))
    deliver(8, 0)
    assert.deepInclude(view(), { state: "contradicted" })
  })

  it("counts every zero where no event shows that there is a cache", () => {
    const { deliver, trust, view } = rig()
    trust.restarted(slot)
    trust.health(slot, "absent", "no events")
    deliver(20, 0)
    assert.closeTo(view().credit, 0.1, 1e-9)
  })

  it("hears nothing of a slot that has left", () => {
    const { changes, deliver, trust } = rig()
    trust.leave(slot)
    const told = changes.length
    deliver(20, 0)
    trust.health(slot, "broken", "late")
    trust.restarted(slot)
    assert.isNull(trust.of(slot))
    assert.strictEqual(changes.length, told)
  })

  it.effect("logs each change of state once", () => {
    const lines: Array<string> = []
    const logger = Logger.layer([Logger.make(({ logLevel, message }) => void lines.push(`${logLevel} ${message}`))])
    return Effect.gen(function* () {
      const trust = yield* Trust
      yield* TestClock.adjust("1 minute")
      trust.join(slot, "a")
      trust.health(slot, "broken", "reconnected")
      trust.health(slot, "broken", "2 reconnects in 3 s")
      yield* TestClock.adjust("1 second")
      trust.health(slot, "whole", "")
      yield* Effect.yieldNow
      assert.strictEqual(trust.of(slot)?.sinceMs, 61_000)
      assert.deepStrictEqual(lines, [
        'Warn The cache of worker "a" is degraded: 2 reconnects in 3 s',
        'Info The cache of worker "a" is known exactly'
      ])
    }).pipe(Effect.provide(Trust.layer), Effect.provide(logger))
  })

  it.effect("says nothing of what heals within a second, as when another replica reads its events from now on", () => {
    const lines: Array<string> = []
    const logger = Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))])
    return Effect.gen(function* () {
      const trust = yield* Trust
      trust.join(slot, "a")
      trust.health(slot, "whole", "")
      for (let i = 0; i < 3; i++) {
        trust.health(slot, "broken", "disconnected")
        assert.strictEqual(trust.of(slot)?.state, "degraded")
        yield* TestClock.adjust("900 millis")
        trust.health(slot, "whole", "")
        yield* TestClock.adjust("5 seconds")
      }
      assert.deepStrictEqual(lines, ['The cache of worker "a" is known exactly'])
      trust.health(slot, "broken", "sequence gap at 812")
      yield* TestClock.adjust("1 second")
      trust.leave(slot)
      assert.deepStrictEqual(lines.slice(1), ['The cache of worker "a" is degraded: sequence gap at 812'])
    }).pipe(Effect.provide(Trust.layer), Effect.provide(logger))
  })
})
