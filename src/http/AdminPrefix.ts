/**
 * GET and POST /admin/prefix: who holds the beginning of a prompt, as the index knows it and as the store does.
 *
 * The prompt takes the very path of a request: parsed, tokenised and hashed by the same code. Nothing is placed or learned.
 */
import { Effect, Result } from "effect"
import type { Fleet, Worker } from "../../actors/Fleet.ts"
import type { Route } from "../../actors/FleetRoutes.ts"
import { nameOf, type Pictures } from "../../actors/Pictures.ts"
import type { PrefixIndex } from "../../actors/PrefixIndex.ts"
import { guessesOf } from "../../actors/WarmStart.ts"
import { GUESS, layersMax, tiers } from "../domain/Tier.ts"
import type { Hasher } from "../hot/BlockHash.ts"
import { type Reach, type Interface as Store, strideOf } from "../ports/StateStore.ts"
import type { Tokenizer } from "../ports/Tokenizer.ts"
import { fault, type Reply } from "./AdminReply.ts"
import type { Question } from "./PrefixQuestion.ts"
import * as PromptBlocks from "./PromptBlocks.ts"

export interface Deps {
  readonly fleet: Pick<Fleet["Service"], "list" | "models" | "resolve" | "worker">
  readonly hasher: Hasher
  readonly tokenizerOf: (route: Route) => Tokenizer | null
  readonly depths: PrefixIndex["Service"]["depths"]
  readonly blockSizes: Pictures["blockSizes"]
  readonly workersMax: number
  /** Longest body of a POST. */
  readonly bodyBytesMax: number
  /** Where there is none, only the index is asked. */
  readonly store?: Pick<Store, "lookup" | "url">
}

const layers = [...tiers, "guess"] as const

/** Leading blocks by layer, and the tokens in them. */
const shown = (blocks: ReadonlyArray<number>, blockSize: number) => ({
  blocks: Object.fromEntries(layers.map((layer, i) => [layer, blocks[i] ?? 0])),
  tokens: Object.fromEntries(layers.map((layer, i) => [layer, (blocks[i] ?? 0) * blockSize]))
})

/** What the store says of each name, tiers and guesses together. */
class Told {
  readonly #reaches = new Map<string, ReadonlyArray<number>>()

  constructor(reaches: ReadonlyArray<Reach>) {
    for (const { blocks, name } of reaches) this.#reaches.set(name, blocks)
  }

  /** What was told of a worker; nobody else is told of it. */
  take(name: string): ReadonlyArray<number> {
    const own = this.#reaches.get(name)
    const guessed = this.#reaches.get(guessesOf(name))
    this.#reaches.delete(name)
    this.#reaches.delete(guessesOf(name))
    return layers.map((_, layer) =>
      Math.max(own?.[layer] ?? 0, (layer === GUESS ? guessed?.reduce((a, b) => Math.max(a, b), 0) : 0) ?? 0)
    )
  }

  get rest(): ReadonlyArray<[string, ReadonlyArray<number>]> {
    return [...this.#reaches]
  }
}

export const answer = Effect.fnUntraced(function* (
  { asksStore, request }: Question,
  deps: Deps
): Effect.fn.Return<Reply> {
  const { blockSizes, fleet, store, workersMax } = deps
  const found = fleet.resolve(request.model)
  if (found === undefined) {
    const known = fleet.models().map(({ id }) => id)
    const fix =
      known.length === 0 ? "No worker has told its models yet." : `Use one of ${known.slice(0, 20).join(", ")}.`
    return fault(404, "unknown_model", `There is no model "${request.model.slice(0, 200)}" here.`, fix)
  }
  const hashed = yield* Effect.promise(async () =>
    PromptBlocks.hash(deps.hasher, deps.tokenizerOf(found), request.prompts, { ...found, salt: request.salt })
  )
  const seats = fleet.list().flatMap(({ slots, state }) =>
    slots.flatMap((slot) => {
      const worker = fleet.worker(slot)
      return worker === undefined || worker.model !== found.model ? [] : [{ slot, state, worker }]
    })
  )
  const depths = new Uint32Array(layersMax * workersMax)
  const rows = new Map<(typeof seats)[number], unknown>()
  const cuts: Array<{ readonly blockSize: number; readonly blocks: number }> = []
  const elsewhere: Array<unknown> = []
  let failed: string | null = null
  for (const blockSize of new Set(seats.map(({ slot }) => blockSizes[slot]!))) {
    const { count, keys } = hashed.keysFor(blockSize)[0]!
    cuts.push({ blockSize, blocks: count })
    let told: Told | null = null
    if (asksStore && store !== undefined) {
      const came = yield* Effect.result(store.lookup(keys, count, strideOf(blockSize)))
      if (Result.isSuccess(came)) told = new Told(came.success)
      else failed = came.failure.message
    }
    const layered = deps.depths(keys, count, depths)
    for (const seat of seats) {
      const { slot, state, worker } = seat
      if (blockSizes[slot] !== blockSize) continue
      const held = layers.map((_, layer) =>
        layered ? depths[layer * workersMax + slot]! : layer === GUESS ? 0 : depths[slot]!
      )
      rows.set(seat, {
        id: worker.spec.id,
        rank: rankOf(worker, slot),
        state,
        blockSize,
        index: shown(held, blockSize),
        store: told === null ? null : shown(told.take(nameOf(worker, slot)), blockSize)
      })
    }
    for (const [name, blocks] of told?.rest ?? []) elsewhere.push({ name, blockSize, ...shown(blocks, blockSize) })
  }
  const json = {
    model: found.served,
    /** False: keyed by its text, which no event tells of. */
    exact: hashed.exact,
    tokens: hashed.promptTokens,
    prompt: cuts,
    workers: seats.map((seat) => rows.get(seat)),
    store: asksStore && store !== undefined ? { url: store.url, error: failed } : null,
    /** Names in the store that are no workers of this router. */
    elsewhere
  }
  return { status: 200, json }
})

const rankOf = ({ facts, slots }: Worker, slot: number): number | null => facts.ranks[slots.indexOf(slot)] ?? null
