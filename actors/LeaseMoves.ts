/**
 * LeaseMoves: who should read a publisher, and what a replica does about its lease. Pure; told the time.
 *
 * Members are put in an order for each publisher: agents that name it, then routers that are ready, then the others; among
 * equals by rendezvous hashing, so that a member that comes or goes moves only its own share.
 */
import type { Member } from "./MemberTable.ts"

/** Murmur3's finaliser over FNV-1a: names that differ in one letter are far apart. */
const hashOf = (text: string): number => {
  let h = 0x811c_9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x0100_0193)
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35)
  return (h ^ (h >>> 16)) >>> 0
}

const classOf = ({ kind, prefers, ready }: Member, name: string): number => {
  if (kind === "agent") return prefers.includes(name) ? 0 : 3
  return ready ? 1 : 2
}

/** Ids of the members that may read a publisher, who should do so first. */
export const order = (name: string, members: ReadonlyArray<Member>): ReadonlyArray<string> =>
  members
    .map((member) => ({ id: member.id, level: classOf(member, name), weight: hashOf(`${name}\0${member.id}`) }))
    .filter(({ level }) => level < 3)
    .sort((a, b) => a.level - b.level || b.weight - a.weight || (a.id < b.id ? -1 : 1))
    .map(({ id }) => id)

export interface Options {
  /** A free lease is claimed by the first in order at once, by each next one so much later. */
  readonly rankMs: number
  /** A lease that vanished from the table is its last owner's for so long. */
  readonly vanishedMs: number
  /** Who should have a lease takes it from who has it after this long as the first in order. */
  readonly settleMs: number
  /** One of a dead replica that nobody here wants is removed after this: its worker is gone. */
  readonly buryMs: number
}

export const defaults: Options = {
  // A claim and its news take a few ms; the last of five comes 800 ms after a death was noticed.
  rankMs: 200,
  // A broker without its data: its members are known again after a heartbeat.
  vanishedMs: 1_000,
  // A replica that comes and goes moves nothing; one that stays has its share a few seconds after it is ready.
  settleMs: 5_000,
  // Those who want it have claimed it long before.
  buryMs: 60_000
}

const ranksMax = 4

/** All that counts for one lease. Times are ms of one monotonic clock. */
export interface Seen {
  readonly nowMs: number
  readonly wanted: boolean
  /** `mine`: claimed by this process; `namesake`: by an earlier one of this id; `dead`: by a replica that is not alive. */
  readonly held: "mine" | "namesake" | "other" | "dead" | "free"
  /** Since when nobody alive has it. */
  readonly freeFromMs: number
  /** It vanished without being given up: whose it was, then. */
  readonly vanishedOf: "none" | "self" | "other"
  /** Own place in the order; -1 for none. */
  readonly rank: number
  /** Since when that is the first place, and the lease has its owner. */
  readonly firstFromMs: number
}

export const decide = (seen: Seen, options: Options): "none" | "claim" | "move" | "release" => {
  const { firstFromMs, freeFromMs, held, nowMs, rank, vanishedOf, wanted } = seen
  if (!wanted) {
    const buried = held === "dead" && nowMs - freeFromMs >= options.buryMs
    return buried || held === "mine" || held === "namesake" ? "release" : "none"
  }
  if (rank < 0) return "none"
  switch (held) {
    case "mine":
      return "none"
    case "namesake":
      return "claim"
    case "other":
      return rank === 0 && nowMs - firstFromMs >= options.settleMs ? "move" : "none"
    case "dead":
    case "free": {
      if (vanishedOf === "self") return "claim"
      const pauseMs = Math.min(rank, ranksMax) * options.rankMs + (vanishedOf === "other" ? options.vanishedMs : 0)
      return nowMs - freeFromMs >= pauseMs ? "claim" : "none"
    }
  }
}
