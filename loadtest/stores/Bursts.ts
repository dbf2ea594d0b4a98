/**
 * Bursts: every store is written and asked a little at a time, in turn, so that what else the machine does falls on all alike.
 */
import { setImmediate as nextTurn } from "node:timers/promises"
import { Effect } from "effect"
import * as Random from "../Random.ts"
import { own } from "./Cpu.ts"
import { type Answer, isRight, type Store, type Way } from "./Stores.ts"
import type { Query, Told } from "./Workload.ts"

/** As the router's writer does: one batch at a time. */
const batchMax = 256
const inFlight = 16

export interface Spent {
  wallMs: number
  clientUs: number
  serverUs: number
}

export interface Written extends Spent {
  readonly store: Store
  shares: number
}

export interface Asked extends Spent {
  readonly store: Store
  readonly way: Way
  /** Of one lookup at a time, in µs. */
  readonly latencies: Array<number>
  serial: number
  /** With 16 in flight. */
  crowded: number
  crowdedMs: number
  wrong: number
}

export interface Options {
  readonly rounds: number
  /** Lookups a burst, one at a time; four times as many with 16 in flight. */
  readonly burst: number
  /** The client polls without sleep. */
  readonly isSpinning: boolean
  /** Leaves out ways that need a core for each end. */
  readonly isSparing: boolean
  readonly seed: number
  /** Each way is asked for so long before anything counts, so that its code is compiled. */
  readonly warmMs: number
}

const spend = <A, E>(spent: Spent, { isNetworked, serverUs }: Store, work: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.gen(function* () {
    const server = serverUs?.() ?? 0
    const client = own()
    const started = performance.now()
    const done = yield* work
    spent.wallMs += performance.now() - started
    const after = own()
    // What the threads of this process did is the client's, but where a server is one of them.
    const others = isNetworked || serverUs === null ? after.others - client.others : 0
    spent.clientUs += after.thread - client.thread + others
    spent.serverUs += (serverUs?.() ?? 0) - server
    return done
  })

const shuffled = <A>(all: ReadonlyArray<A>, random: Random.Random): Array<A> =>
  all
    .map((one) => ({ one, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ one }) => one)

/** Writes all shares to every store. */
export const write = Effect.fnUntraced(function* (
  stores: ReadonlyArray<Store>,
  shares: ReadonlyArray<Told>,
  say: (done: number) => void
) {
  const random = Random.make(3)
  const all = stores.map((store): Written => ({ store, wallMs: 0, clientUs: 0, serverUs: 0, shares: 0 }))
  for (let at = 0; at < shares.length; at += batchMax) {
    const batch = shares.slice(at, at + batchMax)
    for (const written of shuffled(all, random)) {
      yield* spend(written, written.store, written.store.write(batch))
      written.shares += batch.length
    }
    say(Math.min(shares.length, at + batchMax))
  }
  return all
})

/** One at a time. */
const serial = Effect.fnUntraced(function* (
  { lookup, now }: Way,
  queries: ReadonlyArray<Query>,
  latencies: Array<number>
) {
  const answers: Array<Answer> = []
  for (const query of queries) {
    const started = performance.now()
    const answer = now === undefined ? yield* lookup(query) : now(query)
    latencies.push((performance.now() - started) * 1_000)
    answers.push(now === undefined ? answer : answer.slice())
  }
  return answers
})

/** As many at a time as `inFlight`, or as one thread can do that waits for nothing. */
const crowd = ({ lookup, now }: Way, queries: ReadonlyArray<Query>): Effect.Effect<ReadonlyArray<Answer>, unknown> =>
  now === undefined
    ? Effect.forEach(queries, lookup, { concurrency: inFlight })
    : Effect.sync(() => queries.map((query) => now(query).slice()))

/** This process' event loop never sleeps. */
const sleepless = Effect.acquireRelease(
  Effect.sync(() => {
    let isOn = true
    const turn = () => {
      if (isOn) setImmediate(turn)
    }
    turn()
    return () => {
      isOn = false
    }
  }),
  (stop) => Effect.sync(stop)
)

const warm = Effect.fnUntraced(function* (way: Way, queries: ReadonlyArray<Query>, ms: number) {
  const untilMs = performance.now() + ms
  do {
    yield* serial(way, queries, [])
    if (way.isSerial !== true) yield* crowd(way, queries)
  } while (performance.now() < untilMs)
})

/** Looks up requests every way, drawn from the same ones. */
export const ask = Effect.fnUntraced(function* (
  stores: ReadonlyArray<Store>,
  queries: ReadonlyArray<Query>,
  { burst, isSparing, isSpinning, rounds, seed, warmMs }: Options,
  say: (round: number) => void
) {
  const random = Random.make(seed)
  const none = { wallMs: 0, clientUs: 0, serverUs: 0, serial: 0, crowded: 0, crowdedMs: 0, wrong: 0 }
  const all = stores.flatMap((store) =>
    store.ways
      .filter(({ needsCores }) => !(isSpinning && isSparing && needsCores))
      .map((way): Asked => ({ ...none, store, way, latencies: [] }))
  )
  if (isSpinning) yield* sleepless
  for (const { way } of all) {
    if (isSpinning) yield* way.spin?.(true) ?? Effect.void
    yield* warm(way, queries, warmMs)
    if (isSpinning) yield* way.spin?.(false) ?? Effect.void
  }
  for (let round = 1; round <= rounds; round++) {
    const picks = (count: number) =>
      Array.from({ length: count }, () => queries[Math.floor(random() * queries.length)]!)
    for (const asked of shuffled(all, random)) {
      const { latencies, store, way } = asked
      const count = burst * (way.times ?? 1)
      const [few, many] = [picks(count), picks(4 * count)]
      if (isSpinning) yield* way.spin?.(true) ?? Effect.void
      // A turn of the event loop: what the one before left behind is done.
      yield* Effect.promise(() => nextTurn())
      const answers = yield* spend(asked, store, serial(way, few, latencies))
      yield* Effect.promise(() => nextTurn())
      const started = performance.now()
      const more = way.isSerial === true ? [] : yield* crowd(way, many)
      asked.crowdedMs += performance.now() - started
      if (isSpinning) yield* way.spin?.(false) ?? Effect.void
      asked.serial += few.length
      asked.crowded += more.length
      asked.wrong += answers.filter((answer, i) => !isRight(answer, few[i]!)).length
      asked.wrong += more.filter((answer, i) => !isRight(answer, many[i]!)).length
    }
    say(round)
  }
  return all
}, Effect.scoped)
