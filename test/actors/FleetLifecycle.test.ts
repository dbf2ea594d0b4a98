import { describe, expect, it } from "vitest"
import { type Event, events, next, type State, states, takesWork } from "../../actors/FleetLifecycle.ts"

/** What moves a worker, by event; every event that is not listed for a state leaves it where it is. */
const moves: { readonly [E in Event]: Partial<Record<State, State>> } = {
  Answered: { joining: "ready", suspect: "ready", open: "halfOpen" },
  Silent: { ready: "suspect", halfOpen: "open" },
  Succeeded: { suspect: "ready", halfOpen: "ready" },
  Failed: { ready: "suspect", halfOpen: "open" },
  Tripped: { ready: "open", suspect: "open", halfOpen: "open" },
  Drained: { joining: "gone", ready: "draining", suspect: "draining", open: "draining", halfOpen: "draining" },
  Restored: { draining: "suspect" },
  Emptied: { draining: "gone" },
  Removed: { joining: "gone", ready: "gone", suspect: "gone", open: "gone", halfOpen: "gone", draining: "gone" }
}

describe("FleetLifecycle", () => {
  for (const state of states) {
    for (const event of events) {
      const expected = moves[event][state] ?? state
      it(`a ${state} worker that ${event} is ${expected}`, () => expect(next(state, event)).toBe(expected))
    }
  }

  it("gives work only to workers that answered and are not on their way out", () => {
    expect(states.filter(takesWork)).toEqual(["ready", "suspect", "halfOpen"])
  })

  it("lets no worker come back from the dead", () => {
    expect(events.every((event) => next("gone", event) === "gone")).toBe(true)
  })

  it("lets a removed worker go from every state", () => {
    expect(states.every((state) => next(state, "Removed") === "gone")).toBe(true)
  })
})
