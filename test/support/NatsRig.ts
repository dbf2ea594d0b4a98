/** Buses over a real nats-server, each with a way to it that can be cut. */
import { randomUUID } from "node:crypto"
import { jetstreamManager } from "@nats-io/jetstream"
import { connect } from "@nats-io/transport-node"
import { Effect, Layer, Logger, ManagedRuntime } from "effect"
import type { NatsServer } from "../../loadtest/servers/NatsServer.ts"
import * as NatsBus from "../../src/adapters/nats/NatsBus.ts"
import type { Paces } from "../../src/adapters/nats/Session.ts"
import { Bus, type Status } from "../../src/ports/Bus.ts"
import type { Broker } from "../ports/BusConformance.ts"
import * as TcpProxy from "./TcpProxy.ts"

/** Impatient where a deployment is not. */
export const paces: Partial<Paces> = {
  connectMsMin: 20,
  connectMsMax: 200,
  missingMs: 100,
  wrongMs: 300,
  readerMs: 300
}

export const newDeployment = (): string => `t${randomUUID().slice(0, 8)}`

export const options = (
  servers: ReadonlyArray<string>,
  deployment: string,
  given: Partial<NatsBus.Options> = {}
): NatsBus.Options => ({
  servers,
  deployment,
  name: "test",
  tls: null,
  credsFile: null,
  nkeySeedFile: null,
  user: null,
  password: null,
  token: null,
  connectTimeoutMs: 2_000,
  log: { ageMs: 600_000, bytesMax: 64 * 1024 * 1024, replicas: 1, storage: "file" },
  tables: { replicas: 1, storage: "file" },
  ...given
})

export interface Connected {
  readonly bus: Bus["Service"]
  /** Lines it logged. */
  readonly lines: ReadonlyArray<string>
  /** When the status is as wanted. */
  readonly until: (wanted: (status: Status) => boolean) => Promise<Status>
  readonly close: () => Promise<void>
}

export const open = async (given: NatsBus.Options, at: Partial<Paces> = paces): Promise<Connected> => {
  const lines: Array<string> = []
  const logger = Logger.make<unknown, void>(({ message }) => void lines.push(String(message)))
  const runtime = ManagedRuntime.make(NatsBus.layer(given, at).pipe(Layer.provide(Logger.layer([logger]))))
  const bus = await runtime.runPromise(Bus)
  const until = (wanted: (status: Status) => boolean) =>
    new Promise<Status>((resolve, reject) => {
      const look = (status: Status) => {
        if (!wanted(status)) return
        clearTimeout(late)
        stop()
        resolve(status)
      }
      const late = setTimeout(() => reject(new Error(`Its status stays ${JSON.stringify(bus.status())}`)), 20_000)
      const stop = bus.onStatus(look)
      look(bus.status())
    })
  return { bus, lines, until, close: () => runtime.dispose() }
}

/** One deployment on a server. Wiping restarts the server without its data. */
export const broker = async (server: NatsServer): Promise<Broker> => {
  const deployment = newDeployment()
  const opened: Array<{ readonly close: () => Promise<void> }> = []
  const asAdmin = async (work: (jsm: Awaited<ReturnType<typeof jetstreamManager>>) => Promise<unknown>) => {
    const nc = await connect({ servers: server.url })
    await work(await jetstreamManager(nc)).finally(() => nc.close())
  }
  return {
    replica: async () => {
      const proxy = await TcpProxy.open(server.port)
      const connected = await open(options([`nats://127.0.0.1:${proxy.port}`], deployment))
      opened.push(connected, proxy)
      await connected.until((status) => status.connected)
      const cut = async (away: boolean): Promise<void> => {
        proxy.cut(away)
        await connected.until((status) => status.connected !== away)
      }
      return { bus: connected.bus, cut }
    },
    wipe: server.wipe,
    truncate: (entries) =>
      asAdmin((jsm) => jsm.streams.purge(`WARMPATH_${deployment}`, entries === 0 ? undefined : { keep: entries })),
    close: async () => {
      for (const one of opened) await one.close()
    }
  }
}

export const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)
