import { assert, describe, it } from "vitest"
import { type Name, type Step, SyncTenures } from "../../actors/SyncTenures.ts"

const ttlMs = 100_000

/** A table of two slots, and what the index holds of them. */
const make = () => {
  const held = new Set<string>()
  const forgotten: Array<string> = []
  const tenures = new SyncTenures({
    ttlMs,
    holds: (slot, isGuess) => held.has(`${slot}${isGuess ? "?" : ""}`),
    forget: ({ text }) => forgotten.push(text),
    random: () => 0
  })
  const name = (slot = 0): Name => tenures.of(slot, false)!
  return { tenures, held, forgotten, name }
}
const idle = Number.POSITIVE_INFINITY
type Timed = Step & { readonly _tag: "Enter" | "Settle" }
const shown = (step: Step | null): string =>
  step === null ? "" : `${step._tag} ${"text" in step ? step.text : "name" in step ? step.name.text : step.from}`

/** A worker that was told of, and is live under tenure 7. */
const live = () => {
  const made = make()
  const { tenures } = made
  tenures.join(0, "w", 32, true)
  tenures.changed(0, false, true)
  tenures.entered(tenures.next(0, idle) as Timed, 7, 3)
  tenures.settled(tenures.next(0, idle) as Timed, true, 0)
  assert.strictEqual(made.name().state, "live")
  return made
}

describe("SyncTenures", () => {
  it("enters a name with its first block, and settles once that has been written", () => {
    const { name, tenures } = make()
    tenures.join(0, "w", 32, true)
    assert.strictEqual(shown(tenures.next(0, idle)), "")
    assert.isNull(tenures.changed(0, false, false))
    assert.strictEqual(tenures.changed(0, false, true), name())
    const enter = tenures.next(0, 1) as Timed
    assert.strictEqual(shown(enter), "Enter w")
    tenures.entered(enter, 7, 3)
    assert.strictEqual(shown(tenures.next(0, 3)), "")
    assert.strictEqual(shown(tenures.next(0, 4)), "Settle w")
  })

  it("settles what is wrong in the store at once, whatever waits", () => {
    const { tenures } = live()
    tenures.cleared(0, false)
    const enter = tenures.next(1, 4) as Timed
    tenures.entered(enter, 8, 9)
    assert.strictEqual(shown(tenures.next(1, 4)), "Settle w")
  })

  it("queues nothing of a name that waits to be told anew, and walks the index for it once it has entered", () => {
    const { name, tenures } = live()
    tenures.redo(name())
    assert.isNull(tenures.changed(0, false, true))
    const enter = tenures.next(1, idle) as Timed
    assert.isNull(tenures.changed(0, false, true))
    tenures.entered(enter, 8, 5)
    assert.strictEqual(tenures.changed(0, false, true), name())
    assert.strictEqual(shown(tenures.next(1, idle)), "Walk 0")
    tenures.walked(500, 90)
    assert.strictEqual(shown(tenures.next(1, idle)), "Walk 500")
    tenures.walked(0, 120)
    assert.strictEqual(shown(tenures.next(1, 120)), "")
    assert.strictEqual(shown(tenures.next(1, 121)), "Settle w")
  })

  it("stays live until it has entered when it is only due again", () => {
    const { name, tenures } = live()
    for (let ms = 0; ms <= 0.44 * ttlMs; ms += 1_000) assert.strictEqual(shown(tenures.next(ms, idle)), "")
    const enter = tenures.next(0.46 * ttlMs, idle) as Timed
    assert.strictEqual(shown(enter), "Enter w")
    assert.strictEqual(tenures.changed(0, false, true), name())
    tenures.entered(enter, 8, 5)
    assert.strictEqual(name().state, "filling")
  })

  for (const [what, happens] of [
    ["is cleared", (made: ReturnType<typeof live>) => made.tenures.cleared(0, false)],
    ["must be told anew", (made: ReturnType<typeof live>) => made.tenures.redo(made.name())],
    ["is another router's", (made: ReturnType<typeof live>) => made.tenures.own(0, false)],
    ["has left, and its slot is another's", (made: ReturnType<typeof live>) => made.tenures.join(0, "v", 32, true)],
    ["was in a store that has begun anew", (made: ReturnType<typeof live>) => made.tenures.begunAnew()],
    ["is lost with all else", (made: ReturnType<typeof live>) => made.tenures.lost()]
  ] as const) {
    it(`takes no late answer for one on what came since, when it ${what}`, () => {
      const entering = live()
      entering.tenures.cleared(0, false)
      const enter = entering.tenures.next(1, idle) as Timed
      const before = entering.name()
      happens(entering)
      const { state } = entering.name()
      entering.tenures.entered(enter, 8, 5)
      assert.strictEqual(entering.name().state, state)
      if (entering.name() !== before) assert.strictEqual(shown(entering.tenures.next(1, idle)), "Leave w")

      const settling = live()
      settling.tenures.cleared(0, false)
      settling.tenures.entered(settling.tenures.next(1, idle) as Timed, 8, 5)
      const settle = settling.tenures.next(1, idle) as Timed
      assert.strictEqual(settle._tag, "Settle")
      happens(settling)
      const after = settling.name().state
      assert.strictEqual(settling.tenures.settled(settle, true, 2), "void")
      assert.strictEqual(settling.name().state, after)

      const walking = live()
      walking.tenures.redo(walking.name())
      walking.tenures.entered(walking.tenures.next(1, idle) as Timed, 8, 5)
      assert.strictEqual(shown(walking.tenures.next(1, idle)), "Walk 0")
      happens(walking)
      const then = walking.name().state
      walking.tenures.walked(0, 50)
      assert.strictEqual(walking.name().state, then)
    })
  }

  it("tries again ever more rarely when another router has entered since", () => {
    const { name, tenures } = live()
    let atMs = 1
    const waits: Array<number> = []
    for (let i = 0; i < 4; i++) {
      tenures.cleared(0, false)
      tenures.entered(tenures.next(atMs, idle) as Timed, 8 + i, 5)
      assert.strictEqual(tenures.settled(tenures.next(atMs, idle) as Timed, false, atMs), "fenced")
      assert.strictEqual(shown(tenures.next(atMs, idle)), "")
      waits.push(name().retryMs - atMs)
      atMs = name().retryMs + 1_000
    }
    assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000])
  })

  it("does not let one that came back on another slot leave", () => {
    const { name, tenures } = live()
    tenures.leave(0)
    tenures.join(1, "w", 32, true)
    assert.strictEqual(name(1).state, "asked")
    assert.strictEqual(shown(tenures.next(1, idle)), "Enter w")
  })

  it("does not let one leave that is its own again, as it was another router's when it came back", () => {
    const { name, tenures } = live()
    tenures.leave(0)
    tenures.join(0, "w", 32, false)
    tenures.own(0, true)
    assert.strictEqual(name().state, "asked")
    for (const expected of ["Enter w", "Enter w?"]) {
      assert.strictEqual(shown(tenures.next(1, idle)), expected)
      tenures.entered(tenures.next(1, idle) as Timed, 8, 0)
    }
    assert.strictEqual(shown(tenures.next(1, idle)), "Settle w")
  })

  it("tells many anew in one walk, those first of whom the store is wrong, and those of other pieces in another", () => {
    const { held, tenures } = make()
    for (let slot = 0; slot < 3; slot++) {
      held.add(`${slot}`)
      tenures.join(slot, `w${slot}`, slot === 1 ? 8 : 32, true)
    }
    tenures.of(2, false)!.isWrong = true
    for (const expected of ["Enter w2", "Enter w0"]) {
      const enter = tenures.next(1, idle) as Timed
      assert.strictEqual(shown(enter), expected)
      tenures.entered(enter, 9, 0)
    }
    const walk = tenures.next(1, idle) as Step & { readonly _tag: "Walk" }
    assert.deepEqual(
      walk.names.map(({ text }) => text),
      ["w2", "w0"]
    )
    assert.strictEqual(walk.stride, 32)
    tenures.walked(0, 0)
    for (const _ of walk.names) tenures.settled(tenures.next(1, idle) as Timed, true, 1)
    assert.strictEqual(shown(tenures.next(1_200, idle)), "Enter w1")
  })

  it("asks whether its tenures count once it stood still, and again when others have given back what they took over", () => {
    const { tenures } = live()
    for (let ms = 0; ms <= 10_000; ms += 1_000) assert.strictEqual(shown(tenures.next(ms, idle)), "", `${ms}`)
    for (const ms of [11_800, 17_000]) {
      assert.strictEqual(shown(tenures.next(ms, idle)), "Settle w")
      assert.strictEqual(tenures.settled(tenures.next(ms, idle) as Timed, true, ms), "sure")
      for (let later = 1_000; later < 4_500; later += 1_000) {
        assert.strictEqual(shown(tenures.next(ms + later, idle)), "", `${ms + later}`)
      }
      for (let later = 4_000; ms + later < 16_500; later += 500) tenures.next(ms + later, idle)
    }
  })
})
