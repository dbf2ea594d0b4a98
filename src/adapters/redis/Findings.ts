/** Findings: what an operator should know of a Redis that keeps metadata. */
import type { Finding } from "../../ports/StateStore.ts"
import type { Address } from "./Address.ts"
import type { Send } from "./Connect.ts"
import type { Keys } from "./Pieces.ts"
import * as Server from "./Server.ts"
import type { Session } from "./Session.ts"

const pings = 300
const pagesMax = 100
const sampleMax = 100

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

const roundTripMs = async (send: Send): Promise<number> => {
  const taken: Array<number> = []
  for (let i = 0; i < pings; i++) {
    const began = performance.now()
    await send(["PING"])
    taken.push(performance.now() - began)
  }
  return median(taken)
}

const MB = (bytes: number): string => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`

const memory = (info: Server.Info): Finding => {
  const used = Number(info.used_memory ?? 0)
  const most = Number(info.maxmemory ?? 0)
  const policy = info.maxmemory_policy ?? "unknown"
  const value = `${MB(used)} of ${most === 0 ? "no limit" : MB(most)}, maxmemory-policy ${policy}`
  if (most === 0) return { what: "memory", value, fix: "Set maxmemory, with maxmemory-policy volatile-lru." }
  // Names and the generation have no time to live: only these policies may drop them.
  const fix = policy.startsWith("allkeys")
    ? "Set maxmemory-policy volatile-lru: this one may drop the table of names, and with it everything."
    : policy === "noeviction" && used > 0.8 * most
      ? "Raise maxmemory, or set maxmemory-policy volatile-lru: once full, nothing new is kept."
      : null
  return { what: "memory", value, fix }
}

/** How many pieces a server has, and the bytes of one, from a part of its keys. */
const sampled = async (send: Send, { piecePrefix }: Keys): Promise<{ pieces: number; bytes: number }> => {
  const all = Number(await send(["DBSIZE"]))
  let [cursor, seen, own]: [string, number, Array<Buffer>] = ["0", 0, []]
  for (let page = 0; page < pagesMax; page++) {
    const [next, keys] = (await send(["SCAN", cursor, "COUNT", "200"])) as [Buffer, ReadonlyArray<Buffer>]
    seen += keys.length
    own = own.concat(keys.filter((key) => key.toString("latin1").startsWith(piecePrefix)))
    cursor = String(next)
    if (cursor === "0" || (own.length >= sampleMax && page >= 10)) break
  }
  const sizes = await Promise.all(own.slice(0, sampleMax).map((key) => send(["MEMORY", "USAGE", key])))
  const pieces = seen === 0 ? 0 : Math.round((all * own.length) / seen)
  const mean = sizes.reduce<number>((sum, size) => sum + Number(size ?? 0), 0) / Math.max(1, sizes.length)
  return { pieces, bytes: pieces * mean }
}

/** Some of it needs permissions that the rest does without: then it is left out. */
const unlessForbidden = (what: string, work: Promise<Finding>): Promise<Finding> =>
  work.catch((error) => ({ what, value: `unknown (${error instanceof Error ? error.message : error})`, fix: null }))

export const all = async (
  session: Session,
  address: Address,
  keys: Keys,
  lookupMs: number
): Promise<ReadonlyArray<Finding>> => {
  const { calls, connection, server } = session
  const primaries = connection.primaries()
  const tripMs = Math.max(...(await Promise.all(primaries.map(roundTripMs))))
  const own = async (): Promise<Finding> => {
    const parts = await Promise.all(primaries.map((send) => sampled(send, keys)))
    const sum = (of: "pieces" | "bytes") => parts.reduce((total, part) => total + part[of], 0)
    return { what: "stored", value: `some ${sum("pieces")} pieces, ${MB(sum("bytes"))}`, fix: null }
  }
  const persistence = async (): Promise<Finding> => {
    const info = await Server.info(connection, "persistence")
    const aof = info.aof_enabled === "1" ? "append-only file" : "no append-only file"
    const failed = info.rdb_last_bgsave_status === "err" || info.aof_last_write_status === "err"
    const fix = failed ? "It fails to persist, and may refuse to write: see its log." : null
    return { what: "persistence", value: `${aof}; not needed, since routers write all of theirs again`, fix }
  }
  const isLocal = address.hosts.every(({ host }) => /^(localhost|127\.|::1$)/.test(host))
  return [
    { what: "server", value: `${server.name}, ${address.mode}, ${primaries.length} written to`, fix: null },
    {
      what: "round trip",
      value: `${tripMs.toFixed(2)} ms (median of ${pings})`,
      fix:
        3 * tripMs > lookupMs
          ? `A lookup takes up to 3, and has ${lookupMs} ms: raise storeLookupMs, or move it nearer.`
          : null
    },
    {
      what: "script",
      value: calls.why === null ? "as Functions" : `by EVALSHA, because: ${calls.why}`,
      fix: null
    },
    await unlessForbidden("memory", Server.info(connection, "memory").then(memory)),
    await unlessForbidden("stored", own()),
    await unlessForbidden("persistence", persistence()),
    {
      what: "TLS",
      value: address.isTls ? "on" : "off",
      fix: address.isTls || isLocal ? null : "Passwords and block keys travel in the clear; rediss:// encrypts them."
    }
  ]
}
