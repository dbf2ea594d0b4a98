/** Server: what a connection leads to, and why it may be of no use. */
import { connect } from "node:net"
import { connect as connectTls } from "node:tls"
import { ErrorReply } from "redis"
import type { Address, Host, Mode } from "./Address.ts"
import type { Connection } from "./Connect.ts"
import { isForbidden, Unusable, wordOf, wordsOf } from "./Failure.ts"
import { otherLayout } from "./NamesScript.ts"

export interface Server {
  /** `redis 7.0.15`. */
  readonly name: string
  /** Of this start of its process; empty where it does not say. */
  readonly run: string
}

/** ACLs, and scripts that are replicated by what they do. */
const oldest = 6

export type Info = Readonly<Record<string, string>>

const infoOf = (text: string): Info =>
  Object.fromEntries([...text.matchAll(/^([a-z0-9_]+):(.*?)\r?$/gim)].map(([, name, value]) => [name, value]))

export const info = async ({ primaries }: Connection, section: string): Promise<Info> =>
  infoOf(String(await primaries()[0]!(["INFO", section])))

const schemes: Readonly<Record<string, string>> = {
  standalone: "redis://host:port",
  cluster: "redis-cluster://host:port",
  sentinel: "redis-sentinel://host:port,…/primary"
}

/** What is wrong with a server's version; null when nothing is. */
export const versionProblem = (version: string): string | null =>
  version === "" || Number(version.split(".")[0]) >= oldest
    ? null
    : `Redis ${version} is too old: Warmpath needs ${oldest}.0 or newer`

/** Rejects with what is wrong with it. */
export const look = async (connection: Connection, mode: Mode): Promise<Server> => {
  const server = await info(connection, "server")
  const found = server.redis_mode ?? "standalone"
  const wanted = mode === "cluster" ? "cluster" : "standalone"
  if (found !== wanted)
    throw new Unusable("ERR_REDIS_MODE", `it is a ${found} server`, `The store's URL is then ${schemes[found] ?? ""}.`)
  const problem = versionProblem(server.redis_version ?? "")
  if (problem !== null) throw new Unusable("ERR_REDIS_VERSION", problem, "Upgrade it, or use Valkey.")
  // One that was promoted a moment ago, or a URL that names the wrong one.
  const { role } = await info(connection, "replication")
  if (role === "slave")
    throw new Error("it is a replica, and takes no writes; name the primary, or sentinels that know it")
  const valkey = server.valkey_version
  return {
    name: valkey === undefined ? `redis ${server.redis_version ?? "of unknown version"}` : `valkey ${valkey}`,
    run: server.run_id ?? ""
  }
}

const codeOf = (error: unknown): string => String((error as { readonly code?: unknown }).code ?? "")

/** Whether a server answers: with a handshake over TLS, or to a ping without. */
const answers = ({ host, port }: Host, isTls: boolean, ms: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = isTls ? connectTls({ host, port, rejectUnauthorized: false }) : connect({ host, port })
    const end = (does: boolean) => () => {
      socket.destroy()
      resolve(does)
    }
    socket.setTimeout(ms, end(false))
    socket.once("error", end(false)).once("close", end(false))
    if (isTls) socket.once("secureConnect", end(true))
    else socket.once("data", end(true)).write("PING\r\n")
  })

/** For one that did not answer as it was addressed: whether it would with TLS, or without. */
export const otherWire = async ({ hosts, isTls }: Address, ms: number): Promise<Unusable | null> => {
  if (!(await answers(hosts[0]!, !isTls, ms))) return null
  return isTls
    ? new Unusable("ERR_REDIS_TLS", "it does not speak TLS", "Begin the store's URL with redis instead of rediss.")
    : new Unusable("ERR_REDIS_TLS", "it speaks TLS only", "Begin the store's URL with rediss instead of redis.")
}

const user = "Set storeUser and storePassword (WARMPATH_STORE_PASSWORD)."

/** What an operator must change, or null when it is merely away. */
export const unusable = (error: unknown, { isTls }: Address, permissions: string): Unusable | null => {
  if (error instanceof Unusable) return error
  if (!(error instanceof Error)) return null
  const said = error.message
  const word = wordOf(error)
  if (isForbidden(error)) return new Unusable("ERR_REDIS_PERMISSION", wordsOf(error), `It needs: ${permissions}`)
  if (word === "WRONGPASS" || word === "NOAUTH" || /without any password|invalid password/.test(said))
    return new Unusable("ERR_REDIS_AUTH", `it refuses who we are (${said})`, user)
  if (/cluster support disabled/.test(said))
    return new Unusable("ERR_REDIS_MODE", "it is no cluster", `The store's URL is then ${schemes.standalone}.`)
  if (/DB index is out of range|SELECT is not allowed/.test(said))
    return new Unusable("ERR_REDIS_DATABASE", said, "Take another number at the end of the store's URL.")
  if (word === "DENIED")
    return new Unusable("ERR_REDIS_AUTH", "it is in protected mode", "Give it a user and a password, or bind it.")
  const code = codeOf(error)
  if (isTls && /CERT|SELF_SIGNED|UNABLE_TO|ERR_TLS|ERR_SSL|ERR_OSSL/.test(code))
    return new Unusable("ERR_REDIS_TLS", `TLS fails: ${said}`, "See storeTlsCa, storeTlsCert and storeTlsKey.")
  if (code === "ENOENT" || code === "EACCES")
    return new Unusable("ERR_REDIS_TLS", said, "See storeTlsCa, storeTlsCert and storeTlsKey.")
  if (error instanceof ErrorReply && said.startsWith(otherLayout))
    return new Unusable(
      "ERR_REDIS_LAYOUT",
      `another release of Warmpath keeps its data there (layout ${said.slice(otherLayout.length + 1)})`,
      "Use the same release, or another namespace."
    )
  return null
}
