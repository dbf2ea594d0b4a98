import { describe, expect, it } from "vitest"
import { baseCredit, type Event, events, next, type State, shown, states } from "../../actors/TrustTable.ts"

/** What moves a slot, by event; every event that is not listed for a state leaves it where it is. */
const moves: { readonly [E in Event]: Partial<Record<State, State>> } = {
  Whole: { approximate: "exact", degraded: "exact" },
  Broken: { approximate: "degraded", exact: "degraded", contradicted: "degraded" },
  Absent: { exact: "approximate", degraded: "approximate", contradicted: "approximate" },
  Contradicted: { exact: "contradicted" },
  Confirmed: { contradicted: "exact" },
  Restarted: { contradicted: "exact" }
}

describe("TrustTable", () => {
  for (const state of states) {
    for (const event of events) {
      const expected = moves[event][state] ?? state
      it(`a picture that is ${state} and hears ${event} is ${expected}`, () =>
        expect(next(state, event)).toBe(expected))
    }
  }

  it("calls nothing exact but a whole stream that is not contradicted", () => {
    expect(states.filter((state) => shown[state] === "exact")).toEqual(["exact"])
    for (const state of states) {
      for (const event of events) {
        if (next(state, event) === "exact" && state !== "exact") {
          expect(["Whole", "Confirmed", "Restarted"]).toContain(event)
        }
      }
    }
  })

  it("reaches every state from every other", () => {
    for (const from of states) {
      const reached = new Set<State>([from])
      for (const state of reached) for (const event of events) reached.add(next(state, event))
      expect([...reached].sort()).toEqual([...states].sort())
    }
  })

  it("believes most what is exact", () => {
    for (const state of states) {
      expect(baseCredit[state]).toBeGreaterThan(0)
      expect(baseCredit[state]).toBeLessThanOrEqual(baseCredit.exact)
    }
  })
})
