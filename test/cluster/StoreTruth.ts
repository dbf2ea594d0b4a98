/** Whether what a metadata store answers is what simulated engines hold, asked through an adapter of one's own. */
import { Effect, Schedule } from "effect"
import type { SimEngine } from "../../loadtest/fleet/SimEngine.ts"
import { DEVICE, HOST } from "../../src/domain/Tier.ts"
import { type Interface, type StoreError, strideOf } from "../../src/ports/StateStore.ts"
import * as TrueKeys from "../support/TrueKeys.ts"

export interface Differences {
  /** What it says is held, and is not. */
  readonly wrong: ReadonlyArray<string>
  /** What is held, and it does not say. */
  readonly missing: ReadonlyArray<string>
  /** Blocks that engines hold, and chains that were looked up. */
  readonly compared: { readonly blocks: number; readonly chains: number }
}

const reaches = ["device", "host"] as const
const triesMax = 100
const shownMax = 8

const first = (lines: ReadonlyArray<string>): ReadonlyArray<string> =>
  lines.length <= shownMax ? lines : [...lines.slice(0, shownMax), `${lines.length - shownMax} more`]

/** A checker has time, and the machine may be busy. */
const patient = <A>(ask: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> =>
  Effect.retry(ask, {
    schedule: Schedule.spaced("100 millis"),
    times: triesMax,
    while: ({ reason }) => reason !== "refused"
  })

/** Keys that each name holds within each reach, as hex. What is guessed has names of its own. */
const contents = Effect.fnUntraced(function* (store: Interface) {
  const held = new Map<string, readonly [device: Set<string>, host: Set<string>]>()
  yield* patient(
    Effect.suspend(() => {
      held.clear()
      return store.read((chunk) =>
        Effect.sync(() => {
          for (const { base, holders, keys } of chunk) {
            for (const { layer, mask, name } of holders) {
              const sets = held.get(name) ?? [new Set<string>(), new Set<string>()]
              held.set(name, sets)
              for (let i = 0; i < keys.length / 2; i++) {
                if (((mask >>> (base + i)) & 1) === 0) continue
                if (layer === DEVICE) sets[DEVICE].add(TrueKeys.hex(keys, i))
                if (layer === DEVICE || layer === HOST) sets[HOST].add(TrueKeys.hex(keys, i))
              }
            }
          }
          return true
        })
      )
    })
  )
  return held
})

/** By all that is stored, and by lookups of every chain of which an engine holds something. Nothing may be under way. */
export const compare = Effect.fnUntraced(function* (store: Interface, engines: ReadonlyArray<SimEngine>) {
  const wrong: Array<string> = []
  const missing: Array<string> = []
  const truths = new Map(
    engines.map((engine) => [
      new URL(engine.url).host,
      reaches.map((reach) => new Set(TrueKeys.within(engine, 0, reach)))
    ])
  )
  const held = yield* contents(store)
  for (const name of held.keys()) {
    if (!name.endsWith("?") && !truths.has(name)) wrong.push(`${name} is no engine`)
  }
  for (const [name, truth] of truths) {
    for (const [at, reach] of reaches.entries()) {
      const said = held.get(name)?.[at] ?? new Set<string>()
      const extra = [...said].filter((key) => !truth[at]!.has(key)).length
      const short = truth[at]!.size - (said.size - extra)
      if (extra > 0) wrong.push(`${name}: ${extra} blocks within reach of ${reach} that it does not hold`)
      if (short > 0) missing.push(`${name}: ${short} of ${truth[at]!.size} blocks within reach of ${reach}`)
    }
  }
  let chains = 0
  for (const engine of engines) {
    for (const chain of TrueKeys.chains(engine, 0)) {
      chains++
      const count = chain.length / 2
      const answers = yield* patient(store.lookup(chain, count, strideOf(engine.options.blockSize)))
      for (const [name, truth] of truths) {
        const answer = answers.find((each) => each.name === name)
        for (const [at, reach] of reaches.entries()) {
          let depth = 0
          while (depth < count && truth[at]!.has(TrueKeys.hex(chain, depth))) depth++
          const said = answer?.blocks[at] ?? 0
          const text = `${name} is looked up with ${said} blocks of a chain within reach of ${reach}, of ${depth}`
          if (said > depth) wrong.push(text)
          if (said < depth) missing.push(text)
        }
      }
    }
  }
  const blocks = [...truths.values()].reduce((sum, truth) => sum + truth[HOST]!.size, 0)
  return { wrong: first(wrong), missing: first(missing), compared: { blocks, chains } } satisfies Differences
})
