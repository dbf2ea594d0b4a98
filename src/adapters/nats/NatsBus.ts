/** NatsBus: the Bus over NATS. What is stored where, and what an account needs for it: README.md. */
import { Context, Effect, Layer } from "effect"
import { Bus } from "../../ports/Bus.ts"
import * as Ask from "./Ask.ts"
import type * as Connect from "./Connect.ts"
import type { Guard } from "./Health.ts"
import * as Health from "./Health.ts"
import * as Layout from "./Layout.ts"
import * as Log from "./Log.ts"
import * as Session from "./Session.ts"
import * as Subjects from "./Subjects.ts"
import * as Tables from "./Tables.ts"

export interface Options extends Connect.Options {
  /** Replicas of the same deployment share everything, those of others nothing. Letters, digits, `_` and `-`. */
  readonly deployment: string
  readonly log: Layout.LogOptions
  readonly tables: Layout.TableOptions
}

/** Subjects that are not the deployment's: for whoever listens there. */
export class Outside extends Context.Service<
  Outside,
  {
    /** `subject` in full. May be lost; false when it cannot be sent: away, or too large. */
    readonly publish: (subject: string, data: Uint8Array) => boolean
  }
>()("warmpath/adapters/nats/Outside") {}

/** Of a message's limit, for the headers. */
const headerBytesMax = 1_024
/** A server's default, until one says otherwise. */
const payloadBytesMax = 1_048_576

/** Begins at once, connected or not. Throws where the deployment's name is of no use. */
const make = Effect.fnUntraced(function* (options: Options, paces: Session.Paces) {
  const subjects = Subjects.make(options.deployment)
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const health = Health.make()
  const guard: Guard = (call) => {
    try {
      call()
    } catch (error) {
      fork(Effect.logError("What heard from the bus failed", error))
    }
  }
  health.onStatus(({ connected, server, why }) => {
    if (why !== "") fork(Effect.logWarning(connected ? `NATS: ${why}` : `NATS is away: ${why}`))
    else fork(Effect.logInfo(`NATS: connected to ${server}`))
  })
  const sessions = yield* Session.make(options, paces, health, (session) =>
    Layout.lookAt(session, subjects, options.log, options.tables)
  )
  const bytesMax = (): number => (sessions.current()?.nc.info?.max_payload ?? payloadBytesMax) - headerBytesMax
  const log = Log.make(sessions, subjects, health, paces.readerMs, guard, bytesMax)

  const outside = Outside.of({
    publish: (subject, data) => {
      const session = sessions.current()
      if (session === null || data.length > bytesMax()) return false
      session.nc.publish(subject, data)
      return true
    }
  })
  const bus = Bus.of({
    status: health.status,
    onStatus: (listener) => health.onStatus((status) => guard(() => listener(status))),
    bytesMax,
    publish: (subject, data) => {
      const session = sessions.current()
      if (session === null || data.length > bytesMax() || subjects.isLogged(subject)) return false
      session.nc.publish(subjects.full(subject), data)
      return true
    },
    subscribe: (subject, take) => {
      const begin = ({ nc }: Session.Session): (() => void) => {
        const subscription = nc.subscribe(subjects.full(subject), {
          callback: (error, message) => {
            if (error === null) guard(() => take(subjects.within(message.subject), new Uint8Array(message.data)))
          }
        })
        return () => {
          if (!nc.isClosed()) subscription.unsubscribe()
        }
      }
      return Effect.acquireRelease(
        Effect.sync(() => sessions.each(begin)),
        (stop) => Effect.sync(stop)
      ).pipe(Effect.asVoid)
    },
    ask: Ask.makeAsk(sessions, subjects, guard, bytesMax),
    serve: Ask.makeServe(sessions, subjects, bytesMax),
    ...log,
    table: yield* Tables.make(sessions, subjects, paces, guard)
  })
  return Context.make(Bus, bus).pipe(Context.add(Outside, outside))
})

export const layer = (options: Options, paces: Partial<Session.Paces> = {}): Layer.Layer<Bus | Outside> =>
  Layer.effectContext(make(options, { ...Session.defaults, ...paces }))
