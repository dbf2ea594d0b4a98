/**
 * A conversation stays where its first request went, which was the least loaded worker: what a gateway does that pins a
 * session to a worker in a table. Load is requests in flight; the other setting counts their prompt tokens. A worker
 * that may no longer be chosen loses its sessions to others. Requests without a session go by their first block, and
 * those without a full block to the least loaded. The table is never cleared: a run's sessions are some hundred thousand.
 */
import * as Conversation from "./Conversation.ts"
import * as Pick from "./Pick.ts"
import type { Make, Sent, Setting } from "./Rival.ts"

const make =
  (load: (sent: Sent) => ArrayLike<number>): Make =>
  ({ sent }) => {
    const loads = load(sent)
    const homes = new Map<number, number>()
    let next = 0
    return {
      place: (asked) => {
        const conversation = Conversation.of(asked)
        const home = conversation === null ? undefined : homes.get(conversation)
        if (home !== undefined && asked.eligible[home] === 1) return home
        const slot = Pick.lowestFrom(loads, asked.eligible, next)
        next = slot + 1
        if (conversation !== null) homes.set(conversation, slot)
        return slot
      }
    }
  }

export const settings: ReadonlyArray<Setting> = [
  {
    name: "session-sticky",
    about: "a session stays where it began, at the fewest requests in flight",
    isDefault: true,
    scrapeMs: null,
    make: make((sent) => sent.outstanding)
  },
  {
    name: "session-sticky-tokens",
    about: "a session stays where it began, at the fewest prompt tokens in flight",
    isDefault: false,
    scrapeMs: null,
    make: make((sent) => sent.promptTokens)
  }
]
