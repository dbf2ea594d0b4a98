/**
 * How far the picture of one slot's cache may be believed, as a total table: state × event → state. Pure.
 *
 *   approximate ──Whole──▶ exact ──Broken──▶ degraded ──Whole──▶ exact         any ──Absent──▶ approximate
 *                            └──Contradicted──▶ contradicted ──Confirmed──▶ exact
 *
 * `approximate`   no events: a model of the cache stands in.
 * `exact`         every event was applied, and the engine delivers what was predicted.
 * `degraded`      the stream is broken: something is missing, and being healed.
 * `contradicted`  the stream is whole, and yet the engine delivers far less than predicted. Shown as degraded.
 */
import type { Trust } from "../src/domain/Worker.ts"

export const states = ["approximate", "exact", "degraded", "contradicted"] as const
export type State = (typeof states)[number]

/**
 * `Whole`, `Broken`, `Absent`: what the stream has become. `Contradicted`, `Confirmed`: what deliveries say of the
 * picture. `Restarted`: the engine's process is another.
 */
export const events = ["Whole", "Broken", "Absent", "Contradicted", "Confirmed", "Restarted"] as const
export type Event = (typeof events)[number]

/** Missing a cell does not compile. */
const table: { readonly [S in State]: { readonly [E in Event]: State } } = {
  approximate: {
    Whole: "exact",
    // Heard, and not yet proven.
    Broken: "degraded",
    Absent: "approximate",
    // A model claims nothing; that it is wrong lowers the delivered share, and with it the credit.
    Contradicted: "approximate",
    Confirmed: "approximate",
    Restarted: "approximate"
  },
  exact: {
    Whole: "exact",
    Broken: "degraded",
    Absent: "approximate",
    Contradicted: "contradicted",
    Confirmed: "exact",
    // The stream tells of a restart itself, by a reconnect, and sooner than a probe does: it may be whole again already.
    Restarted: "exact"
  },
  degraded: {
    Whole: "exact",
    Broken: "degraded",
    Absent: "approximate",
    // First the stream must be whole: what it lacks now explains it.
    Contradicted: "degraded",
    Confirmed: "degraded",
    Restarted: "degraded"
  },
  contradicted: {
    // Still whole, for another reason: that was not what was wrong.
    Whole: "contradicted",
    Broken: "degraded",
    Absent: "approximate",
    Contradicted: "contradicted",
    Confirmed: "exact",
    // What was held against it was another process's.
    Restarted: "exact"
  }
}

export const next = (state: State, event: Event): State => table[state][event]

/** What of it is told to others. */
export const shown: { readonly [S in State]: Trust } = {
  approximate: "approximate",
  exact: "exact",
  degraded: "degraded",
  contradicted: "degraded"
}

/**
 * Share of a slot's overlap that is believed, before deliveries are asked. Little is taken off: of a prompt of 100 000
 * tokens a twentieth is half a second of prefill, and work leaves the worker that holds it. In replayed traffic 0.95 for
 * all caches costs a tenth of p90 TTFT, 0.9 a tenth to four (loadtest/results/approximate.md).
 */
export const baseCredit: { readonly [S in State]: number } = {
  exact: 1,
  // What is missing is seconds old, and nearly all of a cache is older. Of two equal holders the known one goes first.
  degraded: 0.95,
  // The delivered share says how much is wrong.
  contradicted: 1,
  // As good as what is known, where its model is right: the delivered share says when it is not.
  approximate: 1
}
