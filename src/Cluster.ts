/** Cluster: what a router shows of the deployment it is one of: `GET /admin/cluster`. Read when asked for. */
import type { Bootstrap } from "../actors/Bootstrap.ts"
import type { FleetShare } from "../actors/FleetShare.ts"
import type { Leases } from "../actors/Leases.ts"
import type { Member, Members } from "../actors/Members.ts"
import type { Relay } from "../actors/Relay.ts"
import type { ReplicaLink } from "../actors/ReplicaLink.ts"
import type { Snapshots } from "../actors/Snapshots.ts"
import type { Bus } from "./ports/Bus.ts"
import type { Numbers } from "./telemetry/ReplicaMetrics.ts"

export interface Deps {
  readonly bus: Bus["Service"]
  readonly members: Members["Service"]
  readonly leases: Leases["Service"]
  readonly relay: Relay["Service"]
  readonly share: FleetShare["Service"]
  readonly link: Pick<ReplicaLink["Service"], "stats">
}

const iso = (ms: number): string => new Date(ms).toISOString()

const memberShown = ({ startedAtMs, ...member }: Member) => ({ ...member, startedAt: iso(startedAtMs) })

/**
 * `self` and `members`: routers and agents, alive as far as is known. `publishers`: who reads which engine's events, and by
 * what this router reads it. `relay`: numbers of that. `load`: what replicas tell each other of their requests. `workers`:
 * what operators told any router, and who announced itself.
 */
export const make =
  ({ bus, leases, link, members, relay, share }: Deps) =>
  () => ({
    self: { ...memberShown(members.self), alive: members.selfAlive() },
    bus: bus.status(),
    members: members.list().map(memberShown),
    publishers: leases.list().map(({ alive, epoch, name, owner }) => ({
      name,
      owner,
      alive,
      epoch,
      role: relay.roleOf(name),
      logPosition: relay.positionOf(name)
    })),
    relay: { ...relay.stats(), followedTo: relay.followedTo() },
    load: link.stats(),
    workers: share.list().map(({ told, ...worker }) => ({
      ...worker,
      told: told === null ? null : { state: told.state, by: told.by, at: iso(told.atMs) }
    }))
  })

type Counted = Deps & {
  readonly bootstrap: Pick<Bootstrap["Service"], "stats">
  readonly snapshots: Pick<Snapshots["Service"], "stats">
}

/** The same as metrics. */
export const numbers =
  ({ bootstrap, bus, link, members, relay, snapshots }: Counted) =>
  (): Numbers => {
    const { connected, why } = bus.status()
    const log = relay.stats()
    const load = link.stats()
    const pictures = bootstrap.stats()
    return {
      totals: {
        warmpath_log_entries_appended_total: log.appended,
        warmpath_log_append_failures_total: log.appendFailures,
        warmpath_log_entries_heard_total: log.heard,
        warmpath_log_entries_fenced_total: log.fenced,
        warmpath_log_losses_total: log.lost,
        warmpath_replays_served_total: log.replaysServed,
        warmpath_replays_asked_total: log.replaysAsked,
        warmpath_pictures_taken_total: pictures.taken,
        warmpath_pictures_failed_total: pictures.failed,
        warmpath_picture_bytes_given_total: snapshots.stats().bytes,
        warmpath_load_messages_sent_total: load.sent,
        warmpath_load_messages_unsent_total: load.unsent,
        warmpath_load_bytes_sent_total: load.sentBytes,
        warmpath_load_messages_heard_total: load.heard,
        warmpath_load_gaps_total: load.gaps,
        warmpath_load_expired_total: load.expired
      },
      levels: {
        warmpath_bus_connected: connected && why === "" ? 1 : 0,
        warmpath_replicas: members.list().filter(({ kind }) => kind === "router").length,
        warmpath_log_lag_entries: log.lagEntries,
        warmpath_log_lag_seconds: log.lagMs / 1_000,
        warmpath_load_open_elsewhere: load.owners.reduce((sum, { open }) => sum + open, 0)
      },
      roles: log.roles
    }
  }
