/** What is measured: one router alone, or two replicas over a nats-server of their own. */
import { readFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { order } from "../../actors/LeaseMoves.ts"
import type { Member } from "../../actors/MemberTable.ts"
import { publishers } from "../micro/IngestWorkload.ts"
import * as NatsServer from "../servers/NatsServer.ts"
import * as Replica from "./Replica.ts"
import type { Given, State } from "./Words.ts"

export type Kind = "alone" | "pair"

export interface Group {
  /** The router alone; or owner, then follower. */
  readonly replicas: ReadonlyArray<Replica.Replica>
  /** CPU of the nats-server so far; 0 without one, NaN where the system does not tell. */
  readonly natsUs: () => number
  readonly close: () => Promise<void>
}

const ids = { alone: ["alone"], pair: ["owner", "follower"] } as const
const patienceMs = 30_000

const member = (id: string): Member => ({
  id,
  kind: "router",
  ready: true,
  url: null,
  version: "",
  startedAtMs: 0,
  prefers: []
})
/** Of engines that are all the owner's to read, as leases are given by name. */
export const engineNames: ReadonlyArray<string> = Array.from({ length: 1_000 }, (_, i) => `engine-${i}`)
  .filter((name) => order(name, ids.pair.map(member))[0] === "owner")
  .slice(0, publishers)

/** Linux counts in hundredths of a second. */
const cpuUsOf = (pid: number): number => {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ")
    return (Number(fields[11]) + Number(fields[12])) * 10_000
  } catch {
    return Number.NaN
  }
}

/** Resolves once it holds of a replica; rejects with its state when it does not for long. */
const until = async (replica: Replica.Replica, what: string, holds: (state: State) => boolean): Promise<void> => {
  for (const startedMs = performance.now(); ; await sleep(20)) {
    const state = await replica.ask("state")
    if (holds(state)) return
    if (performance.now() - startedMs > patienceMs)
      throw new Error(
        `The replica "${replica.id}" is not ${what} after ${patienceMs / 1_000} s: ${JSON.stringify(state)}`
      )
  }
}

export const start = async (
  kind: Kind,
  given: Omit<Given, "id" | "nats" | "deployment">,
  flags: ReadonlyArray<string>
): Promise<Group> => {
  const server = kind === "alone" ? null : await NatsServer.start()
  const pid = server === null ? 0 : Number(/\[(\d+)\]/.exec(server.output())![1])
  const replicas: Array<Replica.Replica> = []
  for (const id of ids[kind]) {
    const replica = await Replica.start({ ...given, id, nats: server?.url ?? null, deployment: "bench" }, flags)
    replicas.push(replica)
    const role = kind === "alone" ? "solo" : id
    await until(replica, "ready", ({ ready, roles, whole }) => ready && whole && roles.every((each) => each === role))
  }
  return {
    replicas,
    natsUs: () => (server === null ? 0 : cpuUsOf(pid)),
    close: async () => {
      await Promise.all(replicas.map((replica) => replica.close()))
      await server?.close()
    }
  }
}

/** Of all, the one that has got least far. Rejects when nothing moves. */
export const reached = async (
  { replicas }: Group,
  of: (replica: Replica.Replica) => number,
  wanted: number
): Promise<void> => {
  let before = -1
  for (let movedMs = performance.now(); ; await sleep(2)) {
    const least = Math.min(...replicas.map(of))
    if (least >= wanted) break
    if (least !== before) movedMs = performance.now()
    else if (performance.now() - movedMs > patienceMs) {
      const states = await Promise.all(replicas.map(async (each) => ({ id: each.id, ...(await each.ask("state")) })))
      throw new Error(`Of ${wanted} only ${least} have arrived: ${JSON.stringify(states)}`)
    }
    before = least
  }
}
