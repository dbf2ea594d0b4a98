/**
 * Examine: visits all workers at once, listens to all of them while each is probed, and judges them together. Nothing is
 * left behind but a few blocks in the engines' caches.
 */
import { Effect } from "effect"
import * as EngineAdapters from "../adapters/Engines.ts"
import type { WorkerSpec } from "../domain/Worker.ts"
import type { Hasher } from "../hot/BlockHash.ts"
import type { EventStream } from "../ports/EventStream.ts"
import type { WorkerFinding } from "./Finding.ts"
import * as JudgeEvents from "./JudgeEvents.ts"
import * as JudgeFleet from "./JudgeFleet.ts"
import * as JudgeReach from "./JudgeReach.ts"
import * as JudgeTokens from "./JudgeTokens.ts"
import * as JudgeUsage from "./JudgeUsage.ts"
import * as Listen from "./Listen.ts"
import * as Meet from "./Meet.ts"
import * as Probing from "./Probing.ts"
import type { Seen } from "./Seen.ts"

export interface Options extends Omit<Meet.Options, "engines"> {
  readonly workers: ReadonlyArray<WorkerSpec>
  readonly aliases: Readonly<Record<string, string>>
  readonly hasher: Hasher
  /** What is being done, for people who wait. */
  readonly progress: (worker: string, does: string) => void
}

const concurrency = 8
/** A publisher in the same region has shaken hands by then. */
const connectMs = 3_000

/** Everything there is to see. `ready`: when the ears of all workers are open. */
const visit = Effect.fnUntraced(function* (options: Options) {
  const engines = yield* Effect.acquireRelease(
    Effect.sync(() => [EngineAdapters.make(), EngineAdapters.make()] as const),
    (both) => Effect.promise(() => Promise.all(both.map((one) => one.close())))
  )
  const { progress, workers } = options
  const met = yield* Effect.forEach(
    workers,
    Effect.fnUntraced(function* (spec) {
      progress(spec.id, "asking what it is")
      const reach = yield* Effect.promise(() => Meet.reach(spec))
      const met = reach.hasModels ? yield* Effect.promise(() => Meet.meet(spec, { ...options, engines })) : reach.why
      if (typeof met === "string") return { spec, reach, met, ears: [] }
      const ears = yield* Effect.forEach(met.facts.eventSources, (source) =>
        Listen.open(source, met.engine.decode, spec.id)
      )
      return { spec, reach, met, ears }
    }),
    { concurrency }
  )
  yield* Listen.ready(
    met.flatMap(({ ears }) => ears),
    connectMs
  )
  const probed = yield* Effect.forEach(
    met,
    Effect.fnUntraced(function* (one) {
      if (typeof one.met === "string") return { ...one, probes: [] }
      progress(one.spec.id, "sending four short requests")
      return { ...one, probes: yield* Probing.probe(one.spec, one.met, one.ears) }
    }),
    { concurrency }
  )
  return yield* Effect.forEach(
    probed,
    Effect.fnUntraced(function* ({ ears, met, probes, reach, spec }): Effect.fn.Return<Seen> {
      if (typeof met === "string") return { spec, reach, known: null, why: met }
      progress(spec.id, "asking for a replay")
      const listened = yield* Effect.forEach(ears, (ear) => ear.listened, { concurrency })
      const { again, canonical, facts, model, tokenizer } = met
      return { spec, reach, known: { again, canonical, facts, listened, model, probes, tokenizer }, why: "" }
    }),
    { concurrency }
  )
})

/** From all that was seen to findings, worker by worker. Pure. */
const judge = (
  seen: ReadonlyArray<Seen>,
  { aliases, hasher }: Pick<Options, "aliases" | "hasher">
): ReadonlyArray<WorkerFinding> => [
  ...seen.flatMap((one) => {
    const reached = JudgeReach.judge(one)
    if (one.known === null) return reached
    const { findings, isElsewhere } = JudgeEvents.judge(one, one.known, seen, hasher)
    const isOff = isElsewhere || findings.some(({ code }) => code === "prefix-caching-off")
    return [
      ...reached,
      ...findings,
      ...JudgeUsage.judge(one.spec.id, one.known, isOff),
      ...(isElsewhere ? [] : JudgeTokens.judge(one.spec.id, one.known))
    ]
  }),
  ...JudgeFleet.judge(seen, aliases)
]

export const examine = (options: Options): Effect.Effect<ReadonlyArray<WorkerFinding>, never, EventStream> =>
  Effect.scoped(visit(options)).pipe(Effect.map((seen) => judge(seen, options)))
