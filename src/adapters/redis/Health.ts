/** Health: whether Redis is there, why not, and a line of log for each change. */
import type { Status } from "../../ports/StateStore.ts"

export interface Health {
  readonly status: () => Status
  readonly connected: (server: string) => void
  readonly away: (why: string) => void
}

export const make = (changed: (status: Status) => void): Health => {
  let now: Status = { connected: false, why: "not connected yet", server: null }
  const become = (next: Status): void => {
    const isNews = next.connected !== now.connected || next.why !== now.why || next.server !== now.server
    now = next
    if (isNews) changed(now)
  }
  return {
    status: () => now,
    connected: (server) => become({ connected: true, why: "", server }),
    away: (why) => become({ connected: false, why, server: now.server })
  }
}
