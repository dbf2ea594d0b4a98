/** Whether every router's picture of every engine is the engine's true cache. */
import { setTimeout as sleep } from "node:timers/promises"
import * as TrueKeys from "../support/TrueKeys.ts"
import type { Cluster, Replica } from "./Cluster.ts"

/** Blocks that a router knows of an engine. */
export const keysOf = async ({ adminUrl }: Pick<Replica, "adminUrl">, id: string): Promise<ReadonlyArray<string>> => {
  const answer = await fetch(`${adminUrl}/admin/blocks/${encodeURIComponent(id)}`)
  return ((await answer.json()) as { readonly keys: ReadonlyArray<string> }).keys.toSorted()
}

/** Where they differ now: router, engine, how many blocks too few and too many. */
export const differences = async (cluster: Cluster): Promise<ReadonlyArray<string>> => {
  const found: Array<string> = []
  for (const engine of cluster.engines) {
    const truth = new Set(TrueKeys.within(engine, 0, "device"))
    for (const replica of cluster.living()) {
      const id = new URL(engine.url).host
      const keys = await keysOf(replica, id)
      const extra = keys.filter((key) => !truth.has(key)).length
      const short = truth.size - (keys.length - extra)
      if (extra > 0 || short > 0)
        found.push(`${replica.id} of ${id}: ${short} short, ${extra} too many of ${truth.size}`)
    }
  }
  return found
}

/** Waits until none differs; what still does after `withinMs`. Nothing may be under way. */
export const settle = async (cluster: Cluster, withinMs: number): Promise<ReadonlyArray<string>> => {
  const endMs = performance.now() + withinMs
  let found = await differences(cluster)
  while (found.length > 0 && performance.now() < endMs) {
    await sleep(250)
    found = await differences(cluster)
  }
  return found
}
