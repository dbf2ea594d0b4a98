import { describe, expect, it } from "vitest"
import { type Event, events, next, type State, states, takesWork } from "../../actors/FleetLifecycle.ts"

/** Every cell, written out a second time by hand; a state or event without one does not compile. */
const expected: { readonly [S in State]: { readonly [E in Event]: State } } = {
  joining: {
    Answered: "ready",
    Silent: "joining",
    Succeeded: "joining",
    Failed: "joining",
    Tripped: "joining",
    Drained: "gone",
    Restored: "joining",
    Emptied: "joining",
    Removed: "gone"
  },
  ready: {
    Answered: "ready",
    Silent: "suspect",
    Succeeded: "ready",
    Failed: "suspect",
    Tripped: "open",
    Drained: "draining",
    Restored: "ready",
    Emptied: "ready",
    Removed: "gone"
  },
  suspect: {
    Answered: "ready",
    Silent: "suspect",
    Succeeded: "ready",
    Failed: "suspect",
    Tripped: "open",
    Drained: "draining",
    Restored: "suspect",
    Emptied: "suspect",
    Removed: "gone"
  },
  open: {
    Answered: "halfOpen",
    Silent: "open",
    Succeeded: "open",
    Failed: "open",
    Tripped: "open",
    Drained: "draining",
    Restored: "open",
    Emptied: "open",
    Removed: "gone"
  },
  halfOpen: {
    Answered: "halfOpen",
    Silent: "open",
    Succeeded: "ready",
    Failed: "open",
    Tripped: "open",
    Drained: "draining",
    Restored: "halfOpen",
    Emptied: "halfOpen",
    Removed: "gone"
  },
  draining: {
    Answered: "draining",
    Silent: "draining",
    Succeeded: "draining",
    Failed: "draining",
    Tripped: "draining",
    Drained: "draining",
    Restored: "suspect",
    Emptied: "gone",
    Removed: "gone"
  },
  gone: {
    Answered: "gone",
    Silent: "gone",
    Succeeded: "gone",
    Failed: "gone",
    Tripped: "gone",
    Drained: "gone",
    Restored: "gone",
    Emptied: "gone",
    Removed: "gone"
  }
}

describe("FleetLifecycle", () => {
  for (const state of states) {
    for (const event of events) {
      it(`a ${state} worker that ${event} is ${expected[state][event]}`, () => {
        expect(next(state, event)).toBe(expected[state][event])
      })
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
