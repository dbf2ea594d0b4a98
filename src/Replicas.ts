/**
 * Replicas: what makes this router one of several; built only where NATS servers are configured.
 *
 * It comes in three steps, as the parts need each other: what the collector hears; what collector, index and ledger are
 * joined to; and one fleet for all.
 */
import { randomUUID } from "node:crypto"
import { hostname } from "node:os"
import { Context, Effect, Layer, type Scope } from "effect"
import packageJson from "warmpath/package.json" with { type: "json" }
import { Bootstrap } from "../actors/Bootstrap.ts"
import type { Collector } from "../actors/Collector.ts"
import { Fleet } from "../actors/Fleet.ts"
import { FleetShare } from "../actors/FleetShare.ts"
import * as LeaseMoves from "../actors/LeaseMoves.ts"
import { Leases } from "../actors/Leases.ts"
import type { Ledger } from "../actors/Ledger.ts"
import { Members } from "../actors/Members.ts"
import type { PrefixIndex } from "../actors/PrefixIndex.ts"
import { Relay } from "../actors/Relay.ts"
import { ReplicaLink } from "../actors/ReplicaLink.ts"
import { Snapshots } from "../actors/Snapshots.ts"
import * as NatsBus from "./adapters/nats/NatsBus.ts"
import * as Cluster from "./Cluster.ts"
import type { Config } from "./Config.ts"
import * as NatsOptions from "./NatsOptions.ts"
import { Bus } from "./ports/Bus.ts"
import { EventStream } from "./ports/EventStream.ts"

export interface Joined {
  readonly link: ReplicaLink["Service"]
  /** Why balancers should send clients elsewhere; null when they need not. */
  readonly unready: () => string | null
  /** The fleet has been told of its first workers: this router is not ready before they have been looked at. */
  readonly listed: (workers: Fleet["Service"]["list"]) => void
  /** Takes its leave of the others: it is about to shut down. */
  readonly draining: () => void
  readonly share: (fleet: Fleet["Service"]) => Effect.Effect<Shared, never, Scope.Scope>
}

export interface Shared {
  readonly fleet: FleetShare["Service"]
  /** For the admin API. */
  readonly shown: ReturnType<typeof Cluster.make>
  /** For metrics. */
  readonly numbers: ReturnType<typeof Cluster.numbers>
}

export interface Replicas {
  /** This one's name among them. */
  readonly id: string
  /** Who reads the socket of a publisher for this one: `Relay.readerOf`. */
  readonly readerOf: (name: string) => string | null
  /** The events of all engines, whoever reads them. */
  readonly stream: EventStream["Service"]
  /** Of the routers that are alive, this one is the first in order to speak for a worker. */
  readonly isFirst: (name: string) => boolean
  /** To whoever listens on a subject that is not the deployment's; false when it cannot be sent. */
  readonly publish: NatsBus.Outside["Service"]["publish"]
  readonly join: (
    services: Context.Context<Collector | PrefixIndex>,
    ledger: Ledger["Service"],
    now: () => number
  ) => Effect.Effect<Joined, never, Scope.Scope>
}

/** Unique over time and hosts: a replica that starts again is another one. */
export const newId = (): string =>
  `${hostname()
    .replaceAll(/[^A-Za-z0-9-]/g, "-")
    .slice(0, 40)}-${randomUUID().slice(0, 8)}`

/** As the other replicas reach it; null where only this host does, or the port is not known yet. */
const adminUrl = ({ adminHost, adminPort }: Config): string | null =>
  adminPort === 0 || /^(127\.|localhost$|::1$)/.test(adminHost)
    ? null
    : `http://${adminHost === "0.0.0.0" || adminHost === "::" ? hostname() : adminHost}:${adminPort}`

/** An engine that is there says what it is within a tenth of this; one that is not must not keep the router from serving. */
const firstLookMs = 3_000

export const open = Effect.fnUntraced(function* (
  config: Config,
  direct: Layer.Layer<EventStream>
): Effect.fn.Return<Replicas, never, Scope.Scope> {
  const id = config.replicaId ?? newId()
  const shared: Context.Context<Bus | NatsBus.Outside | EventStream | Leases | Members | Relay> = yield* Layer.build(
    Relay.layer.pipe(
      Layer.provide(direct),
      Layer.provideMerge(Leases.layer()),
      Layer.provideMerge(Members.layer({ id, kind: "router", url: adminUrl(config), version: packageJson.version })),
      Layer.provideMerge(NatsBus.layer(NatsOptions.of(config, id)))
    )
  )
  const members = Context.get(shared, Members)

  const join: Replicas["join"] = Effect.fnUntraced(function* (services, ledger, now) {
    const known = Context.merge(shared, services)
    const startedMs = now()
    let workers: Fleet["Service"]["list"] | null = null
    const looked = (): boolean =>
      workers !== null && (workers().every(({ state }) => state !== "joining") || now() - startedMs > firstLookMs)
    const joined = yield* Layer.build(
      Layer.mergeAll(
        Snapshots.layer({ id }).pipe(Layer.provideMerge(Bootstrap.layer({ id, looked }))),
        ReplicaLink.layer({ self: { id }, ledger, now })
      )
    ).pipe(Effect.provide(known))
    const bootstrap = Context.get(joined, Bootstrap)
    const link = Context.get(joined, ReplicaLink)
    yield* bootstrap.ready.pipe(
      Effect.andThen(Effect.sync(() => members.setReady(true))),
      Effect.tapCause(Effect.logError),
      Effect.forkScoped
    )
    let others = new Set<string>()
    yield* Effect.acquireRelease(
      Effect.sync(() =>
        members.onChange(() => {
          const alive = new Set(members.list().map((member) => member.id))
          for (const other of others) if (!alive.has(other)) link.gone(other)
          others = alive
        })
      ),
      (stop) => Effect.sync(stop)
    )
    return {
      link,
      unready: () => (bootstrap.isReady() ? null : "learning from the other routers what engines hold"),
      draining: () => {
        members.setReady(false)
        Context.get(shared, Leases).giveUp()
      },
      listed: (list) => {
        workers = list
      },
      share: (fleet) =>
        Layer.build(FleetShare.layer({ self: { id }, workersMax: config.workersMax })).pipe(
          Effect.provide(Context.merge(shared, Context.make(Fleet, fleet))),
          Effect.map((made) => {
            const share = Context.get(made, FleetShare)
            const parts = {
              bus: Context.get(shared, Bus),
              members,
              leases: Context.get(shared, Leases),
              relay: Context.get(shared, Relay),
              share,
              link,
              bootstrap,
              snapshots: Context.get(joined, Snapshots)
            }
            return { fleet: share, shown: Cluster.make(parts), numbers: Cluster.numbers(parts) }
          })
        )
    }
  })
  const isFirst = (name: string): boolean => {
    const routers = members.list().filter(({ kind }) => kind === "router")
    // Two that are cut off from each other speak for the same ones: what the last of them wrote whole then counts.
    return routers.length < 2 || LeaseMoves.order(name, routers)[0] === id
  }
  const { readerOf } = Context.get(shared, Relay)
  return {
    id,
    readerOf,
    stream: Context.get(shared, EventStream),
    isFirst,
    publish: Context.get(shared, NatsBus.Outside).publish,
    join
  }
})
