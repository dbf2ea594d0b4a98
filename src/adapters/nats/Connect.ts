/**
 * Connect: one connection to NATS, and in words why there is none.
 *
 * Files with keys are read anew for every connection, so that rotated ones are taken without a restart. A connection that
 * breaks is given up for a new one: what the client would hold back or drop meanwhile is ours to say.
 */
import { readFile } from "node:fs/promises"
import {
  type Authenticator,
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  errors,
  type NatsConnection,
  nkeyAuthenticator,
  TimeoutError
} from "@nats-io/transport-node"
import { Redacted } from "effect"

export interface Tls {
  readonly caFile: string | null
  /** Of the client, where the server asks for a certificate. */
  readonly certFile: string | null
  readonly keyFile: string | null
}

export interface Options {
  /** `nats://host:4222`, `tls://host:4222`; all of them, or a name that resolves to all. */
  readonly servers: ReadonlyArray<string>
  /** What the server shows of this client. */
  readonly name: string
  readonly tls: Tls | null
  /** A file of a JWT and its seed, as `nsc` writes it. */
  readonly credsFile: string | null
  readonly nkeySeedFile: string | null
  readonly user: string | null
  readonly password: Redacted.Redacted | null
  readonly token: Redacted.Redacted | null
  /** For one server. */
  readonly connectTimeoutMs: number
}

/** A server that says nothing is given up after three of these. */
const pingMs = 1_000

const authenticatorOf = async (options: Options): Promise<Authenticator | undefined> => {
  if (options.credsFile !== null) return credsAuthenticator(await readFile(options.credsFile))
  if (options.nkeySeedFile === null) return undefined
  const seed = (await readFile(options.nkeySeedFile, "utf8")).trim()
  return nkeyAuthenticator(new TextEncoder().encode(seed))
}

export const open = async (options: Options): Promise<NatsConnection> => {
  const { name, password, servers, tls, token, user } = options
  const authenticator = await authenticatorOf(options)
  const given: ConnectionOptions = {
    servers: [...servers],
    name,
    timeout: options.connectTimeoutMs,
    reconnect: false,
    pingInterval: pingMs,
    maxPingOut: 2,
    noAsyncTraces: true
  }
  if (authenticator !== undefined) given.authenticator = authenticator
  if (user !== null) given.user = user
  if (password !== null) given.pass = Redacted.value(password)
  if (token !== null) given.token = Redacted.value(token)
  if (tls !== null) {
    given.tls = {}
    if (tls.caFile !== null) given.tls.caFile = tls.caFile
    if (tls.certFile !== null) given.tls.certFile = tls.certFile
    if (tls.keyFile !== null) given.tls.keyFile = tls.keyFile
  }
  return connect(given)
}

/** Without what may be secret in it. */
export const named = (servers: ReadonlyArray<string>): string =>
  servers.map((server) => server.replace(/\/\/[^@/]*@/, "//")).join(", ")

const reasonOf = (error: unknown, options: Options): string => {
  if (error instanceof errors.AuthorizationError)
    return "it refuses who we are; check the user, password, token, nkey or credentials file, and the account's permissions"
  if (error instanceof TimeoutError || (error instanceof Error && error.name === "TimeoutError"))
    return (
      `no answer in ${options.connectTimeoutMs} ms` +
      (options.tls === null || options.tls.certFile === null
        ? "; a server that wants a client certificate looks like this, too"
        : "")
    )
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause instanceof Error && error.cause.message !== "" ? `: ${error.cause.message}` : ""
  return `${error.message}${cause}`
}

export const failure = (error: unknown, options: Options): string =>
  `cannot connect to ${named(options.servers)}: ${reasonOf(error, options)}`

/** Buckets with compare-and-set, and streams as they are used here. */
const oldest = [2, 9] as const

/** What is wrong with a server of this version; empty when nothing is. */
export const versionProblem = (version: string): string => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  return major > oldest[0] || (major === oldest[0] && minor >= oldest[1])
    ? ""
    : `nats-server ${version} is too old: Warmpath needs ${oldest.join(".")} or newer`
}
