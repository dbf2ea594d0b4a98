/**
 * Watches who reads which engine's events, among routers that live: how long any has had no reader, and more than one that
 * reads for all. Where the broker is away routers read for themselves; those count as readers, and are as many as there are.
 */
import { setTimeout as sleep } from "node:timers/promises"
import type { Cluster } from "./Cluster.ts"

/** What `/admin/cluster` says that is watched here. */
interface Shown {
  readonly publishers: ReadonlyArray<{ readonly name: string; readonly role: string }>
}

export interface Watch {
  /**
   * Longest time without a reader, and with two or more, over all publishers; and between two looks: so long this machine
   * stood still, or was busy. ms.
   */
  readonly stop: () => Promise<{
    readonly noneMs: number
    readonly manyMs: number
    readonly looks: number
    readonly stalledMs: number
  }>
}

const everyMs = 100

const rolesOf = async (adminUrl: string): Promise<Shown["publishers"] | null> =>
  fetch(`${adminUrl}/admin/cluster`, { signal: AbortSignal.timeout(1_000) }).then(
    async (answer) => (answer.ok ? ((await answer.json()) as Shown).publishers : null),
    () => null
  )

export const start = (cluster: Cluster): Watch => {
  const since = new Map<string, { none: number | null; many: number | null }>()
  let noneMs = 0
  let manyMs = 0
  let looks = 0
  let stalledMs = 0
  let lookedMs = performance.now()
  let going = true

  const look = async (): Promise<void> => {
    const asked = cluster.living()
    const answers = await Promise.all(asked.map(({ adminUrl }) => rolesOf(adminUrl)))
    const nowMs = performance.now()
    const readers = new Map<string, number>()
    const owners = new Map<string, number>()
    for (const [at, publishers] of answers.entries()) {
      // Killed while it was asked: what it said is history.
      const isDead = asked[at]!.killedMs < nowMs
      for (const { name, role } of publishers ?? []) {
        readers.set(name, (readers.get(name) ?? 0) + ((role === "owner" || role === "solo") && !isDead ? 1 : 0))
        owners.set(name, (owners.get(name) ?? 0) + (role === "owner" && !isDead ? 1 : 0))
      }
    }
    // One that lives and does not answer may be a reader: nothing can be said.
    if (answers.some((answer, at) => answer === null && asked[at]!.killedMs > nowMs)) return
    looks++
    stalledMs = Math.max(stalledMs, nowMs - lookedMs)
    lookedMs = nowMs
    for (const [name, count] of readers) {
      const was = since.get(name) ?? { none: null, many: null }
      since.set(name, was)
      was.none = count === 0 ? (was.none ?? nowMs) : null
      was.many = owners.get(name)! > 1 ? (was.many ?? nowMs) : null
      if (was.none !== null) noneMs = Math.max(noneMs, nowMs - was.none)
      if (was.many !== null) manyMs = Math.max(manyMs, nowMs - was.many)
    }
  }

  const loop = (async () => {
    while (going) {
      await look()
      await sleep(everyMs)
    }
  })()
  return {
    stop: async () => {
      going = false
      await loop
      return { noneMs, manyMs, looks, stalledMs }
    }
  }
}
