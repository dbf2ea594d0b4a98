/** Health: what is wrong with the bus, by where it shows, and who wants to hear of changes. */
import type { Status } from "../../ports/Bus.ts"

/** Calls someone else's code; what it throws is logged, and does not reach the connection. */
export type Guard = (call: () => void) => void

export interface Health {
  readonly status: () => Status
  readonly onStatus: (listener: (status: Status) => void) => () => void
  readonly connected: (server: string) => void
  readonly away: (why: string) => void
  /** A problem of one kind, or none any more when empty. */
  readonly problem: (kind: string, why: string) => void
}

export const make = (): Health => {
  const problems = new Map<string, string>([["connection", "not connected yet"]])
  const listeners = new Set<(status: Status) => void>()
  let connected = false
  let server: string | null = null

  const status = (): Status => ({ connected, why: [...problems.values()].join("; "), server })
  let last = status()
  const changed = (): void => {
    const now = status()
    if (now.connected === last.connected && now.why === last.why && now.server === last.server) return
    last = now
    for (const listener of [...listeners]) listener(now)
  }
  return {
    status,
    onStatus: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    connected: (to) => {
      connected = true
      server = to
      problems.delete("connection")
      changed()
    },
    away: (why) => {
      connected = false
      // What was wrong on that connection is to be seen anew on the next.
      problems.clear()
      problems.set("connection", why)
      changed()
    },
    problem: (kind, why) => {
      if (why === "") problems.delete(kind)
      else problems.set(kind, why)
      // While it is away, that is what there is to say.
      if (connected) changed()
    }
  }
}
