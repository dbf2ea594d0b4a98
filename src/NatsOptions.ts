/** NatsOptions: what the configuration says about NATS, as the bus wants it. */
import type { Options } from "./adapters/nats/NatsBus.ts"
import type { Config } from "./Config.ts"

/** A server in the same region answers in a tenth of it; the next one is tried then. */
const connectTimeoutMs = 2_000

/** `name`: what the server shows of this process. */
export const of = (config: Config, name: string): Options => ({
  servers: config.nats,
  deployment: config.deployment,
  name,
  tls:
    config.natsTlsCa !== null || config.natsTlsCert !== null || config.nats.some((url) => url.startsWith("tls:"))
      ? { caFile: config.natsTlsCa, certFile: config.natsTlsCert, keyFile: config.natsTlsKey }
      : null,
  credsFile: config.natsCredsFile,
  nkeySeedFile: config.natsNkeyFile,
  user: config.natsUser,
  password: config.natsPassword,
  token: config.natsToken,
  connectTimeoutMs,
  log: {
    ageMs: config.natsLogAgeMs,
    bytesMax: config.natsLogBytesMax,
    replicas: config.natsReplicas,
    storage: config.natsStorage
  },
  // Small, and what operators said of workers should outlive a restart of the server.
  tables: { replicas: config.natsReplicas, storage: "file" }
})
