/**
 * Connect: one connection to Redis, be it to a server, to the one that sentinels name, or to all of a cluster.
 *
 * It never mends itself: what breaks is given up for a new one, so that who is the primary, what is loaded there and which
 * life it is are always looked at anew. Files with certificates are read for each, so that rotated ones are taken.
 */
import { readFile } from "node:fs/promises"
import { Redacted } from "effect"
import { createClient, createCluster, RESP_TYPES } from "redis"
import type { Address, Host } from "./Address.ts"
import { Late, within } from "./Deadline.ts"
import * as Failure from "./Failure.ts"

export type Argument = string | Buffer
/** Without maps and doubles: the older protocol, which every Redis speaks and no permission is needed for. */
export type Reply = Buffer | string | number | null | ReadonlyArray<Reply>
export type Send = (args: ReadonlyArray<Argument>) => Promise<Reply>

export interface Options {
  readonly user: string | null
  readonly password: Redacted.Redacted | null
  /** With TLS: authorities besides the system's, and what is shown to a server that asks for it; PEM. */
  readonly caFile: string | null
  readonly certFile: string | null
  readonly keyFile: string | null
}

export interface Connection {
  /** To the server that has this key. */
  readonly send: (key: Argument, args: ReadonlyArray<Argument>) => Promise<Reply>
  /** To each server that is written to. */
  readonly primaries: () => ReadonlyArray<Send>
  /** Where it came out, to begin at next time. */
  readonly hosts: () => ReadonlyArray<Host>
  /** When it broke, and why. */
  readonly broken: Promise<unknown>
  readonly close: () => void
}

/** Commands that wait for an answer, by server: a bulk read's and several batches', far less than memory. */
const queueMax = 20_000

const plain = {
  RESP: 2,
  disableClientInfo: true,
  maintNotifications: "disabled",
  commandsQueueMaxLength: queueMax
} as const
/** Bytes stay bytes; no timer of the client's for each command, which ends only what was not sent yet. */
const commandOptions = { timeout: 0, typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } } as const

interface Secure {
  readonly tls?: true
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

const secureOf = async ({ isTls }: Address, { caFile, certFile, keyFile }: Options): Promise<Secure> => {
  if (!isTls) return {}
  const read = async (name: "ca" | "cert" | "key", file: string | null) =>
    file === null ? {} : { [name]: await readFile(file, "utf8") }
  return {
    tls: true,
    ...(await read("ca", caFile)),
    ...(await read("cert", certFile)),
    ...(await read("key", keyFile))
  }
}

const credentialsOf = (address: Address, { password, user }: Options) => {
  const name = user ?? address.user
  return {
    ...(name === null ? {} : { username: name }),
    ...(password === null ? {} : { password: Redacted.value(password) })
  }
}

const named = ({ host, port }: Host): string => `${host.includes(":") ? `[${host}]` : host}:${port}`

type Credentials = ReturnType<typeof credentialsOf>

const toServer = async (host: Host, secure: Secure, credentials: Credentials, database: number, ms: number) => {
  const client = createClient({
    ...plain,
    ...credentials,
    database,
    commandOptions,
    socket: { ...host, ...secure, connectTimeout: ms, reconnectStrategy: false }
  })
  let fail: (error: unknown) => void = () => {}
  const broken = new Promise<unknown>((resolve) => {
    fail = resolve
  })
  client.on("error", fail)
  // The client's own deadline ends with the socket, and a frozen server takes sockets.
  await within(ms, named(host), client.connect()).catch((error) => {
    client.destroy()
    throw error
  })
  const send: Send = (args) => client.sendCommand(args as Array<Argument>) as Promise<Reply>
  // For those who look at the server's list of clients; a user may lack the permission.
  send(["CLIENT", "SETNAME", "warmpath"]).catch(() => {})
  const connection: Connection = {
    send: (_, args) => send(args),
    primaries: () => [send],
    hosts: () => [host],
    broken,
    close: () => client.destroy()
  }
  return connection
}

/** Whether another user would be heard. */
const isAboutWho = (error: unknown): boolean =>
  ["NOAUTH", "WRONGPASS"].includes(Failure.wordOf(error)) || /without any password/.test(Failure.wordsOf(error))

/** Which server the first sentinel that answers calls by the name. Sentinels often know no users: then without. */
const primaryOf = async (
  address: Address,
  hosts: ReadonlyArray<Host>,
  secure: Secure,
  options: Options,
  ms: number
) => {
  const reasons: Array<string> = []
  let unusable: Failure.Unusable | null = null
  for (const host of hosts) {
    try {
      const own = credentialsOf(address, options)
      const open = (given: Credentials) => toServer(host, secure, given, 0, ms)
      const sentinel = await open(own).catch((error) => (isAboutWho(error) ? open({}) : Promise.reject(error)))
      const asked = sentinel.send("", ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.primary!])
      const found = await within(ms, named(host), asked).finally(sentinel.close)
      if (found !== null) {
        const [name, port] = found as ReadonlyArray<Buffer>
        return { host: name!.toString(), port: Number(port!.toString()) }
      }
      unusable = new Failure.Unusable(
        "ERR_REDIS_PRIMARY",
        `the sentinel ${named(host)} watches no primary named "${address.primary}"`,
        "SENTINEL MASTERS names those it watches."
      )
    } catch (error) {
      if (Failure.isUnknownCommand(error))
        unusable = new Failure.Unusable(
          "ERR_REDIS_MODE",
          `${named(host)} is no sentinel`,
          "A single server is redis://host:port; sentinels listen on 26379 by default."
        )
      reasons.push(`${named(host)}: ${Failure.wordsOf(error)}`)
    }
  }
  throw unusable ?? new Error(`no sentinel says where the primary is (${reasons.join("; ")})`)
}

const toCluster = async (hosts: ReadonlyArray<Host>, secure: Secure, credentials: Credentials, ms: number) => {
  const socket = { ...secure, connectTimeout: ms, reconnectStrategy: false } as const
  const cluster = createCluster({
    RESP: 2,
    commandOptions,
    rootNodes: hosts.map((host) => ({ socket: { ...host } })),
    defaults: { ...plain, ...credentials, socket },
    maxCommandRedirections: 5,
    topologyRefreshOnReconnectionAttemptStrategy: false
  })
  let last: unknown = null
  let fail: (error: unknown) => void = () => {}
  const broken = new Promise<unknown>((resolve) => {
    fail = resolve
  })
  cluster.on("error", (error) => {
    last = error
  })
  cluster.on("node-error", (error, { host, port }) => {
    last = error
    // Those that were primaries a moment ago may go in peace.
    if (cluster.masters.some((node) => node.host === host && node.port === port)) fail(error)
  })
  const giveUp = () => cluster.destroy()
  await within(ms, hosts.map(named).join(", "), cluster.connect()).catch((error) => {
    giveUp()
    throw error instanceof Late ? error : (last ?? error)
  })
  const connection: Connection = {
    send: (key, args) => cluster.sendCommand(key, false, args as Array<Argument>) as Promise<Reply>,
    primaries: () =>
      cluster.masters.map((node) => async (args) => {
        const client = await cluster.nodeClient(node)
        return client.sendCommand(args as Array<Argument>, commandOptions) as Promise<Reply>
      }),
    hosts: () => cluster.masters.map(({ host, port }) => ({ host, port })),
    broken,
    close: giveUp
  }
  return connection
}

/** `known`: hosts of an earlier connection, for when those of the URL are gone. */
export const open = async (address: Address, options: Options, known: ReadonlyArray<Host>, ms: number) => {
  const secure = await secureOf(address, options)
  const credentials = credentialsOf(address, options)
  if (address.mode === "cluster") {
    const hosts = new Map([...address.hosts, ...known].map((host) => [named(host), host]))
    return toCluster([...hosts.values()], secure, credentials, ms)
  }
  const host =
    address.mode === "sentinel" ? await primaryOf(address, address.hosts, secure, options, ms) : address.hosts[0]!
  return toServer(host, secure, credentials, address.database, ms)
}
