/** SqliteStore: the StateStore in a file of one router. How it is laid out, and what it costs: README.md. */
import { Clock, Effect, Schedule, type Scope } from "effect"
import * as PieceWalk from "../../hot/PieceWalk.ts"
import * as ShareWire from "../../hot/ShareWire.ts"
import { type Interface, StateStore, type StoreUnusable } from "../../ports/StateStore.ts"
import type { Answers, Ask, Facts } from "./Asked.ts"
import * as Helper from "./Helper.ts"
import type { Place } from "./Nodes.ts"

export interface Options {
  readonly file: string
  /** Pieces not written for this long go. */
  readonly ttlMs: number
  /** Beyond this the pieces written longest ago go. The log beside the file has up to 32 MiB more. */
  readonly bytesMax: number
  readonly deadlineMs?: number
  readonly lookupMs?: number
}

const sweepEvery = "30 seconds"

export const open = (options: Options): Effect.Effect<Interface, StoreUnusable, Scope.Scope> =>
  Effect.gen(function* () {
    const { bytesMax, deadlineMs = 1_000, file, lookupMs = 20, ttlMs } = options
    const url = `sqlite:${file}`
    const helper = yield* Helper.open(url, { file, ttlMs, bytesMax })
    /** Life that the router knows of. */
    let life: string | null = null

    const ask = <A extends Ask>(what: string, one: A, withinMs = deadlineMs) =>
      Effect.map(helper.ask(what, one, withinMs), ({ value }) => value)
    /** Of the life that the router knows; the first it hears of when it knows none. */
    const askLife = <A extends Ask>(what: string, one: (life: string | null) => A) =>
      Effect.suspend(() =>
        Effect.map(helper.ask(what, one(life), deadlineMs), (answer) => {
          life ??= answer.life
          return answer.value
        })
      )
    const nowS = Effect.map(Clock.currentTimeMillis, (ms) => Math.floor(ms / 1_000))

    const read: Interface["read"] = Effect.fnUntraced(function* (take) {
      const names = new Map(yield* ask("read its tenures", { _tag: "Tenures" }))
      const nameOf = (tenure: number) => names.get(tenure)
      let after: Place | null = null
      do {
        const chunk: Answers["Read"] = yield* ask("read its records", { _tag: "Read", after })
        after = chunk.last
        const stretches = chunk.nodes.flatMap((node) => PieceWalk.stretch(node, nameOf) ?? [])
        if (stretches.length > 0 && !(yield* take(stretches))) return
      } while (after !== null)
    })

    yield* nowS.pipe(
      Effect.flatMap((now) => helper.ask("drop what is old", { _tag: "Sweep", nowS: now }, deadlineMs)),
      Effect.ignore,
      Effect.repeat(Schedule.spaced(sweepEvery)),
      Effect.forkScoped
    )
    return StateStore.of({
      url,
      status: helper.status,
      generation: Effect.map(ask("read its generation", { _tag: "Generation" }), (generation) => {
        life = generation
        return generation
      }),
      enter: (name) => askLife(`enter ${name}`, (life) => ({ _tag: "Enter", life, name })),
      settle: (name, tenure) => askLife(`settle ${name}`, (life) => ({ _tag: "Settle", life, name, tenure })),
      leave: (name, tenure) =>
        Effect.asVoid(askLife(`leave ${name}`, (life) => ({ _tag: "Leave", life, name, tenure }))),
      write: (shares) =>
        Effect.flatMap(nowS, (now) =>
          Effect.asVoid(
            askLife(`write ${shares.length} shares`, (life) => ({
              ...{ _tag: "Write", life },
              ...{ shares: ShareWire.encode(shares), nowS: now }
            }))
          )
        ),
      lookup: (keys, count, stride) =>
        ask(`look up ${count} blocks`, { _tag: "Lookup", keys: keys.slice(0, 2 * count), count, stride }, lookupMs),
      read,
      names: ask("read its names", { _tag: "Names" }),
      findings: Effect.map(ask("measure it", { _tag: "Facts" }), ({ names, pieces, usedBytes }: Facts) => [
        { what: "file", value: file, fix: null },
        { what: "names", value: String(names), fix: null },
        { what: "pieces", value: String(pieces), fix: null },
        {
          what: "size",
          value: `${(usedBytes / 2 ** 20).toFixed(1)} of ${(bytesMax / 2 ** 20).toFixed(0)} MiB`,
          fix:
            usedBytes > 0.98 * bytesMax
              ? "It is full: what was written longest ago goes early. Raise storeBytesMax to remember more."
              : null
        }
      ])
    })
  })
