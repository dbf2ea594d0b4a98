/**
 * The life of a worker, as a total table: state × event → state. Pure; the actor `Fleet` acts on what changed.
 *
 *   joining ──▶ ready ◀──▶ suspect ──▶ open ──▶ halfOpen ──▶ ready        any ──▶ draining ──▶ gone
 *
 * `joining`   never answered yet: listed is not up, and no error.
 * `suspect`   something failed just now: still takes work, and is probed at once.
 * `open`      the breaker tripped: takes no work until it answers a probe after its back-off.
 * `halfOpen`  answers again: takes one request at a time until one succeeds.
 */
export const states = ["joining", "ready", "suspect", "open", "halfOpen", "draining", "gone"] as const
export type State = (typeof states)[number]

/** Past tense: what was seen. `Drained` is the operator's word; `Emptied` says that nothing is in flight any more. */
export const events = [
  "Answered",
  "Silent",
  "Succeeded",
  "Failed",
  "Tripped",
  "Drained",
  "Restored",
  "Emptied",
  "Removed"
] as const
export type Event = (typeof events)[number]

/** Missing a cell does not compile. */
const table: { readonly [S in State]: { readonly [E in Event]: State } } = {
  joining: {
    Answered: "ready",
    Silent: "joining",
    Succeeded: "joining",
    Failed: "joining",
    Tripped: "joining",
    // It never had work.
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
    // The end of a request that began before it opened proves nothing about new ones.
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
    // Listed again: takes work again, and is probed at once.
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

export const next = (state: State, event: Event): State => table[state][event]

/** May take a new request. A `halfOpen` worker only while none is on trial: the actor knows. */
export const takesWork = (state: State): boolean => state === "ready" || state === "suspect" || state === "halfOpen"
