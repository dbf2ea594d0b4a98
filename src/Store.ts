/** Store: the metadata store that the configuration names, opened. */
import { createHash } from "node:crypto"
import { homedir } from "node:os"
import { join } from "node:path"
import { Effect, Schedule, type Scope } from "effect"
import type { Config } from "./Config.ts"
import type { Interface, StoreUnusable } from "./ports/StateStore.ts"
import * as StateStorePart from "./ports/StateStorePart.ts"

/** Says nothing of the seed, and keeps routers with other keys apart. */
const printOf = (seed: number): string =>
  createHash("sha256").update(`warmpath block keys ${seed}`).digest("hex").slice(0, 8)

/** What routers share that share a store. */
export const namespaceOf = ({ deployment, hashSeed }: Pick<Config, "deployment" | "hashSeed">): string =>
  `warmpath.${deployment}.${printOf(hashSeed)}`

/** The file that is taken when none is named: one for each port, as each router needs its own. */
export const fileOf = (config: Pick<Config, "deployment" | "hashSeed" | "port">, env = process.env): string =>
  join(
    env.XDG_STATE_HOME || join(homedir(), ".local", "state"),
    "warmpath",
    `${namespaceOf(config).slice("warmpath.".length)}.${config.port}.sqlite`
  )

/** The router that had the file may still be letting its last requests end. */
const busyMsMax = 5_000
const busyTickMs = 250

const openSqlite = (config: Config, file: string) =>
  Effect.promise(() => import("./adapters/sqlite/SqliteStore.ts")).pipe(
    Effect.flatMap(({ open }) => open({ file, ttlMs: config.storeTtlMs, bytesMax: config.storeBytesMax })),
    Effect.retry({
      while: ({ code }) => code === "ERR_STORE_BUSY",
      schedule: Schedule.spaced(busyTickMs),
      times: busyMsMax / busyTickMs
    })
  )

const openRedis = (config: Config) =>
  Effect.promise(() => import("./adapters/redis/RedisStore.ts")).pipe(
    Effect.flatMap(({ open }) =>
      open({
        url: config.store,
        namespace: namespaceOf(config),
        ttlMs: config.storeTtlMs,
        user: config.storeUser,
        password: config.storePassword,
        caFile: config.storeTlsCa,
        certFile: config.storeTlsCert,
        keyFile: config.storeTlsKey
      })
    )
  )

const openRdma = (config: Config) =>
  Effect.promise(() => import("./adapters/rdma/RdmaStore.ts")).pipe(
    Effect.flatMap(({ open }) => open({ url: config.store, token: config.storeToken })),
    Effect.map((whole) => StateStorePart.make(whole, namespaceOf(config)))
  )

/** Fails where waiting cannot help. Null: none, as configured; or the embedded one cannot be had, which is said. */
export const open = (config: Config): Effect.Effect<Interface | null, StoreUnusable, Scope.Scope> => {
  const { store } = config
  if (store === "none") return Effect.succeed(null)
  if (store.startsWith("sqlite:")) return openSqlite(config, store.slice("sqlite:".length))
  if (store.startsWith("rdma:")) return openRdma(config)
  if (store !== "sqlite") return openRedis(config)
  // A router on any free port is a trial; what it knew would be found by nobody.
  if (config.port === 0) return Effect.succeed(null)
  return openSqlite(config, fileOf(config)).pipe(
    Effect.catch((error) =>
      Effect.as(Effect.logWarning(`Nothing is remembered over a restart. ${error.message}`), null)
    )
  )
}
