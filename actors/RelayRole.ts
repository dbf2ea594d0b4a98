/**
 * RelayRole: by what a replica reads one publisher of events. Pure; told the time.
 *
 * `owner`     has the lease: reads the engine's socket, and writes what it hears to the log.
 * `follower`  reads the log, which somebody else writes.
 * `solo`      reads the engine's socket for itself: the others are out of reach, or of no use.
 * `none`      nothing yet: it is not known whether there is anybody.
 */
export type Role = "owner" | "follower" | "solo" | "none"

/** Times are ms of one monotonic clock; Infinity for what is not so. */
export interface Seen {
  readonly nowMs: number
  /** The role it has. */
  readonly role: Role
  /** The lease is its own, and the others know it to be alive. */
  readonly mine: boolean
  /** Since when broker, log, members or leases are out of reach or not known. */
  readonly unwellFromMs: number
  /** Since when nobody alive has the lease. */
  readonly ownerlessFromMs: number
  /** Since when the owner says that it does not hear the engine, or does not answer. */
  readonly troubleFromMs: number
}

/**
 * Longer than a broker's restart and than a takeover, and as long as a picture may be behind: each change of source costs a
 * replay.
 */
export const patienceMs = 5_000

export const decide = (seen: Seen): Role => {
  const { mine, nowMs, ownerlessFromMs, role, troubleFromMs, unwellFromMs } = seen
  if (mine) return "owner"
  const direct = role === "owner" || role === "solo"
  // Who reads the socket goes on with it; who does not waits a while.
  if (unwellFromMs < Infinity) return direct || nowMs - unwellFromMs >= patienceMs ? "solo" : role
  if (ownerlessFromMs < Infinity) return direct || nowMs - ownerlessFromMs >= patienceMs ? "solo" : role
  return nowMs - troubleFromMs >= patienceMs ? "solo" : "follower"
}
