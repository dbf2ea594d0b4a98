/** Stores: what is measured, all with one face: where blocks are kept, and the ways to look up a request there. */
import type { Effect, Scope } from "effect"
import type { Reach } from "../../src/ports/StateStore.ts"
import type { Query, Told, Workload } from "./Workload.ts"

/** Who holds how much: leading blocks by worker, or as the port `StateStore` tells it, with workers named `w0`, `w1`, …. */
export type Answer = Int32Array | ReadonlyArray<Reach>

export interface Way {
  readonly name: string
  readonly lookup: (query: Query) => Effect.Effect<Answer, unknown>
  /** Without waiting for anything; `lookup` is this in an Effect. The answer is good until the next. */
  readonly now?: (query: Query) => Int32Array
  /** It has no room for 16 deep lookups at once. */
  readonly isSerial?: true
  /** Lookups a burst, for one of the other ways: so that its bursts are not over before they began. */
  readonly times?: number
  /** Times that something is sent and waited for, where a walk over pieces asks so often. */
  readonly trips: (rounds: number) => number
  /** Both ends have to spin, and so want a core each. */
  readonly needsCores?: true
  /** Has both ends poll without sleep, where an event loop that never sleeps is not enough; or not any more. */
  readonly spin?: (isOn: boolean) => Effect.Effect<void, unknown>
}

export interface Store {
  readonly name: string
  /** Asked over a connection: what sleeps, at either end, is woken. */
  readonly isNetworked: boolean
  /** What goes over the wire is made when this is called, as far as the store's own client does not make it. */
  readonly write: (shares: ReadonlyArray<Told>) => Effect.Effect<void, unknown>
  /** CPU of the server so far, in µs; null when it has none. */
  readonly serverUs: (() => number) | null
  /** What it uses now. */
  readonly bytes: Effect.Effect<number, unknown>
  /** Records that found no room, or had to go for others; those that refuse a write fail it instead. */
  readonly lost?: Effect.Effect<number, unknown>
  readonly ways: ReadonlyArray<Way>
}

export type Open = (workload: Workload) => Effect.Effect<Store, unknown, Scope.Scope>

export const nameOf = (worker: number): string => `w${worker}`

export const depthsOf = (answer: Answer, workers: number): Int32Array => {
  if (answer instanceof Int32Array) return answer
  const depths = new Int32Array(workers)
  for (const { blocks, name } of answer) depths[Number(name.slice(1))] = blocks[0]!
  return depths
}

export const isRight = (answer: Answer, { depths }: Query): boolean => {
  const said = depthsOf(answer, depths.length)
  return said.length === depths.length && said.every((depth, worker) => depth === depths[worker])
}
