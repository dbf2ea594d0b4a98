/** Cluster: what a router shows of the deployment it is one of: `GET /admin/cluster`. Read when asked for. */
import type { FleetShare } from "../actors/FleetShare.ts"
import type { Leases } from "../actors/Leases.ts"
import type { Member, Members } from "../actors/Members.ts"
import type { Relay } from "../actors/Relay.ts"
import type { ReplicaLink } from "../actors/ReplicaLink.ts"
import type { Bus } from "./ports/Bus.ts"

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
