/**
 * Address: where Redis is, as a URL says it.
 *
 *   redis://[user@]host[:6379][/database]            rediss://…            one server, without and with TLS
 *   redis-cluster://[user@]host[:6379],…             rediss-cluster://…    a cluster, found through any of these
 *   redis-sentinel://[user@]host[:26379],…/primary   rediss-sentinel://…   whichever server sentinels call by that name
 */
export interface Host {
  readonly host: string
  readonly port: number
}

export type Mode = "standalone" | "cluster" | "sentinel"

export interface Address {
  readonly mode: Mode
  readonly isTls: boolean
  readonly hosts: ReadonlyArray<Host>
  readonly user: string | null
  readonly database: number
  /** What sentinels call the primary; null elsewhere. */
  readonly primary: string | null
  /** The URL without what may be secret in it. */
  readonly shown: string
}

const form = /^redis(s?)(?:-(cluster|sentinel))?:\/\/(?:([^@/]*)@)?([^/?#@]+)(?:\/([^?#]*))?$/

/** Without a password, wherever one may stand. */
export const shown = (url: string): string => url.replace(/^([a-z-]+:\/\/[^:@/]*):[^@/]*@/i, "$1@")

const hostOf = (text: string, port: number): Host | null => {
  const found = /^(\[[0-9a-f:.%]+\]|[^:[\]\s]+)(?::(\d{1,5}))?$/i.exec(text.trim())
  if (found === null) return null
  const at = found[2] === undefined ? port : Number(found[2])
  return at === 0 || at > 65_535 ? null : { host: found[1]!.replace(/^\[|\]$/g, ""), port: at }
}

/** Or what is wrong with it, in words. */
export const parse = (url: string): Address | string => {
  const found = form.exec(url)
  if (found === null)
    return "it is not of the form redis://host:6379, redis-cluster://host:6379,… or redis-sentinel://host:26379,…/primary"
  const [, tls, kind, user = "", list = "", path = ""] = found
  const mode = (kind ?? "standalone") as Mode
  if (user.includes(":")) return "a password does not belong in it"
  const hosts = list.split(",").map((text) => hostOf(text, mode === "sentinel" ? 26_379 : 6_379))
  if (hosts.includes(null)) return `"${list}" is not a list of host:port`
  if (mode === "standalone" && hosts.length > 1)
    return "several servers are redis-cluster:// or redis-sentinel://, and redis:// is one"
  const [primary, database = ""] = mode === "sentinel" ? path.split("/") : [null, path]
  if (primary === "") return "the primary's name is missing behind the sentinels: redis-sentinel://host:26379/mymaster"
  if (mode === "cluster" && database !== "") return "a cluster has no numbered databases"
  if (!/^\d{0,5}$/.test(database)) return `"${database}" is not the number of a database`
  return {
    mode,
    isTls: tls === "s",
    hosts: hosts as ReadonlyArray<Host>,
    user: user === "" ? null : decodeURIComponent(user),
    database: Number(database),
    primary: primary ?? null,
    shown: shown(url)
  }
}
