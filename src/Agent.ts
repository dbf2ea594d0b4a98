/**
 * Agent: runs beside an engine whose event sockets the routers cannot reach. It reads the engine's KV events and hands
 * them on over the bus, and announces the engine at the address by which routers reach it.
 *
 * It looks at its one worker as a router does, with a `Fleet` of one: so it finds the same event sources, under the same
 * names, and follows a restart. It announces a worker only while that answers. When the agent ends, what it read is read
 * by whoever can, and the worker stays: it may well go on serving.
 */
import { Context, Effect, FiberMap, Layer, type Scope } from "effect"
import * as Announcements from "../actors/Announcements.ts"
import * as Fleet from "../actors/Fleet.ts"
import { takesWork } from "../actors/FleetLifecycle.ts"
import type { Program as Probe } from "../actors/FleetProbe.ts"
import { Members } from "../actors/Members.ts"
import { nameOf, sourceOf } from "../actors/Pictures.ts"
import { Relay } from "../actors/Relay.ts"
import * as Engines from "./adapters/Engines.ts"
import type { EventSource, WorkerSpec } from "./domain/Worker.ts"
import { Bus } from "./ports/Bus.ts"
import type { Who } from "./ports/EventStream.ts"

export interface Options {
  /** The worker as it is reached from here, under the id that routers know it by. */
  readonly worker: WorkerSpec
  /** Where routers reach it. */
  readonly advertise: string
  readonly knobs: Fleet.Knobs
  /** What answers at an address, when it is not asked of the engine itself. */
  readonly detect?: Probe["detect"]
}

export interface Agent {
  /** The worker, as it was last seen. */
  readonly worker: () => Fleet.WorkerStatus | undefined
  /** Publishers that are read, by name. */
  readonly publishers: () => ReadonlyArray<string>
}

/** Between two looks whether the worker answers. */
const lookMs = 250

/** Runs until the scope closes. */
export const start = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<Agent, never, Bus | Members | Relay | Scope.Scope> {
  const { advertise, knobs } = options
  const { id } = options.worker
  const bus = yield* Bus
  const members = yield* Members
  const relay = yield* Relay
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const engines = yield* Effect.acquireRelease(Effect.sync(Engines.make), (made) => Effect.promise(made.close))
  const fibers = yield* FiberMap.make<string>()
  const publishers = new Map<string, string>()

  /** Reads exactly these publishers; what is read already goes on undisturbed. */
  const read = (worker: Fleet.Worker): void => {
    const wanted = new Map<string, { readonly who: Who; readonly source: EventSource; readonly text: string }>()
    for (const slot of worker.slots) {
      const source = sourceOf(worker, slot)
      if (source === null) continue
      const who = { name: nameOf(worker, slot), model: worker.model }
      wanted.set(who.name, { who, source, text: JSON.stringify([who, source]) })
    }
    for (const [name, text] of publishers) {
      if (wanted.get(name)?.text === text) continue
      publishers.delete(name)
      if (!wanted.has(name)) fork(FiberMap.remove(fibers, name))
    }
    for (const [name, { source, text, who }] of wanted) {
      if (publishers.has(name)) continue
      publishers.set(name, text)
      fork(FiberMap.run(fibers, name, Effect.scoped(Effect.andThen(relay.serveSource(source, who), Effect.never))))
    }
    if (wanted.size === 0) {
      fork(Effect.logWarning(`Worker "${id}" publishes no KV events, so there is nothing to hand on but its address`))
    }
  }

  const fleet = Context.get(
    yield* Layer.build(
      Fleet.Fleet.layer({
        knobs,
        aliases: {},
        detect: options.detect ?? engines.detect,
        inFlight: () => 0,
        reusable: () => true,
        onJoin: read,
        onChange: read,
        onVacate: () => {},
        onLeave: () => {},
        // The middle: only routers, who visit many workers, must not visit them all at once.
        random: () => 0.5
      })
    ),
    Fleet.Fleet
  )
  yield* Effect.orDie(fleet.add(options.worker, "config"))

  const said = Announcements.encode({ spec: { id, url: advertise }, ttlMs: Announcements.ttlMsDefault })
  let answers = false
  let announcedMs = -Infinity
  yield* Effect.clockWith((clock) =>
    Effect.sync(() => {
      const now = Number(clock.monotonicTimeNanosUnsafe()) / 1e6
      const state = fleet.find(id)?.state
      const before = answers
      answers = state !== undefined && takesWork(state)
      if (answers !== before) {
        members.setReady(answers)
        fork(
          Effect.logInfo(
            answers
              ? `Worker "${id}" is announced at ${advertise}; read here: ${[...publishers.keys()].join(", ") || "no events"}`
              : `Worker "${id}" is not announced any more: it does not answer`
          )
        )
      }
      if (!answers || now - announcedMs < Announcements.repeatMs) return
      // Where it cannot be sent, it is tried again at the next look.
      if (bus.publish(Announcements.subject, said)) announcedMs = now
    })
  ).pipe(
    Effect.andThen(Effect.sleep(lookMs)),
    Effect.forever,
    Effect.tapCause((cause) => Effect.logError(`Worker "${id}" is announced no more`, cause)),
    Effect.forkScoped
  )
  return { worker: () => fleet.find(id), publishers: () => [...publishers.keys()] }
})
