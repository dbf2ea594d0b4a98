/**
 * StateStoreMemory: the StateStore inside one process, one client for each router, with the faults a store has.
 *
 * Written as anyone would at first: for each block the entries of those who hold it. Nothing is shared with the records that
 * other adapters keep, so that these can be checked against it. It keeps what it is told until it is wiped.
 */
import { Clock, Effect, Layer } from "effect"
import type { KeyLanes } from "../domain/Block.ts"
import { GUESS, type Layer as IndexLayer, layersMax } from "../domain/Tier.ts"
import { type Interface, type Reach, type Share, StateStore, StoreError, type Stretch } from "./StateStore.ts"

export interface Hub {
  /** A store for one more router. */
  readonly client: () => Client
  /** It loses everything, and begins another life. */
  readonly wipe: () => void
}

export interface Client {
  readonly store: Interface
  readonly layer: Layer.Layer<StateStore>
  /** Cut off from the store, or not any more. */
  readonly cut: (away: boolean) => void
  /** Answers come too late, or not any more. What is asked is done even so. */
  readonly slow: (late: boolean) => void
}

export interface Options {
  /** Draws generations and the first tenure; in [0, 1). */
  readonly random?: () => number
  readonly deadlineMs?: number
  readonly lookupMs?: number
}

interface Block {
  readonly stride: number
  readonly piece: number
  readonly place: number
  readonly key: KeyLanes
  readonly parent: KeyLanes | null
  touched: number
  readonly holders: Map<string, { readonly tenure: number; readonly layer: IndexLayer }>
}

interface Life {
  readonly generation: string
  lastTenure: number
  /** Tenures that count, the newest last. */
  readonly names: Map<string, ReadonlyArray<number>>
  readonly blocks: Map<bigint, Block>
}

const chunkBlocks = 64

const keyAt = (keys: KeyLanes, i: number): bigint => (BigInt(keys[i * 2 + 1]!) << 32n) | BigInt(keys[i * 2]! >>> 0)

const begin = (random: () => number): Life => ({
  generation: Array.from({ length: 16 }, () => Math.floor(random() * 16).toString(16)).join(""),
  lastTenure: Math.floor(random() * 2 ** 28),
  names: new Map(),
  blocks: new Map()
})

const nameOf = ({ names }: Life, tenure: number): string | undefined =>
  [...names].find(([, tenures]) => tenures.includes(tenure))?.[0]

const put = (life: Life, { held, keys, layer, parent, piece, stride, tenure, told }: Share, touched: number): void => {
  if (nameOf(life, tenure) === undefined) return
  for (let place = 0; place < keys.length / 2; place++) {
    if (((told >>> place) & 1) === 0) continue
    const key = keyAt(keys, place)
    const before = place === 0 ? parent : keys.slice(2 * place - 2, 2 * place)
    const block = life.blocks.get(key) ?? {
      ...{ stride, piece, place, touched, holders: new Map() },
      ...{ key: keys.slice(2 * place, 2 * place + 2), parent: before === null ? null : before.slice() }
    }
    block.touched = touched
    const entry = `${tenure} ${layer}`
    if (((held >>> place) & 1) === 1) block.holders.set(entry, { tenure, layer })
    else block.holders.delete(entry)
    if (block.holders.size === 0) life.blocks.delete(key)
    else life.blocks.set(key, block)
  }
}

/** Names and layers that hold a block, as one word each. */
const holdersOf = (life: Life, block: Block | undefined) =>
  new Map(
    Array.from(block?.holders.values() ?? [], ({ layer, tenure }) => ({ layer, name: nameOf(life, tenure) }))
      .filter((holder): holder is { layer: IndexLayer; name: string } => holder.name !== undefined)
      .map((holder) => [`${holder.layer} ${holder.name}`, holder])
  )

const find = (life: Life, keys: KeyLanes, count: number): ReadonlyArray<Reach> => {
  const reach = new Map([...life.names.keys()].map((name) => [name, new Array<number>(layersMax).fill(0)]))
  for (let i = 0; i < Math.min(count, keys.length / 2); i++) {
    const holders = holdersOf(life, life.blocks.get(keyAt(keys, i)))
    for (const [name, blocks] of reach) {
      for (let layer = 0; layer < layersMax; layer++) {
        const within = layer === GUESS ? [GUESS] : [0, 1, 2, 3].filter((tier) => tier <= layer)
        if (blocks[layer] === i && within.some((tier) => holders.has(`${tier} ${name}`))) blocks[layer] = i + 1
      }
    }
  }
  return Array.from(reach, ([name, blocks]) => ({ name, blocks })).filter(({ blocks }) => blocks.some((n) => n > 0))
}

const stretches = (life: Life): Array<Stretch> =>
  [...life.blocks.values()]
    .map((block) => ({
      ...{ stride: block.stride, piece: block.piece, base: block.place, touched: block.touched },
      ...{ parent: block.parent, keys: block.key.slice() },
      holders: Array.from(holdersOf(life, block).values(), (holder) => ({ ...holder, mask: 1 << block.place }))
    }))
    .filter(({ holders }) => holders.length > 0)

export const make = ({ deadlineMs = 1_000, lookupMs = 20, random = Math.random }: Options = {}): Hub => {
  let life = begin(random)

  const client = (): Client => {
    let isAway = false
    let isSlow = false
    /** Life that the router knows of. */
    let known: Life | null = null
    const failed = (what: string, reason: StoreError["reason"], detail: string) =>
      new StoreError({ what, reason, detail })

    const call = <A>(what: string, run: (nowS: number) => A, withinMs = deadlineMs): Effect.Effect<A, StoreError> =>
      Effect.gen(function* () {
        if (isAway) return yield* failed(what, "away", "not connected")
        const done = run(Math.floor((yield* Clock.currentTimeMillis) / 1_000))
        if (!isSlow) return done
        yield* Effect.sleep(withinMs)
        return yield* failed(what, "late", `no answer in ${withinMs} ms`)
      })
    /** Of the life that the router knows, or not at all. */
    const sameLife = <A>(what: string, run: (nowS: number) => A): Effect.Effect<A, StoreError> =>
      Effect.suspend(() => {
        if (!isAway && known !== null && known !== life) {
          return Effect.fail(failed(what, "refused", "the store has begun anew"))
        }
        return call(what, (nowS) => {
          known = life
          return run(nowS)
        })
      })

    const store = StateStore.of({
      url: "memory:",
      status: () => ({ connected: !isAway, why: isAway ? "cut off" : "", server: "memory" }),
      generation: call("read its generation", () => {
        known = life
        return life.generation
      }),
      enter: (name) =>
        sameLife(`enter ${name}`, () => {
          const tenure = ++life.lastTenure
          life.names.set(name, [...(life.names.get(name) ?? []), tenure])
          return tenure
        }),
      settle: (name, tenure) =>
        sameLife(`settle ${name}`, () => {
          const isLast = life.names.get(name)?.at(-1) === tenure
          if (isLast) life.names.set(name, [tenure])
          return isLast
        }),
      leave: (name, tenure) =>
        sameLife(`leave ${name}`, () => {
          if (life.names.get(name)?.at(-1) === tenure) life.names.delete(name)
        }),
      write: (shares) =>
        sameLife(`write ${shares.length} shares`, (nowS) => {
          for (const share of shares) put(life, share, nowS)
        }),
      lookup: (keys, count) => call(`look up ${count} blocks`, () => find(life, keys, count), lookupMs),
      read: (take) =>
        Effect.gen(function* () {
          const all = yield* call("read it all", () => stretches(life))
          for (let at = 0; at < all.length; at += chunkBlocks) {
            if (isAway) return yield* failed("read it all", "away", "not connected")
            if (!(yield* take(all.slice(at, at + chunkBlocks)))) return
          }
        }),
      names: call("read names", () => Array.from(life.names, ([name, { length }]) => ({ name, tenures: length }))),
      findings: call("say how it is", () => [{ what: "blocks", value: String(life.blocks.size), fix: null }])
    })
    return {
      store,
      layer: Layer.succeed(StateStore, store),
      cut: (away) => {
        isAway = away
      },
      slow: (late) => {
        isSlow = late
      }
    }
  }
  return {
    client,
    wipe: () => {
      life = begin(random)
    }
  }
}
