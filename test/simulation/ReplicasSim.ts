/**
 * Replicas of one deployment through some minutes of trouble, in virtual time: killed, cut off, started anew, their
 * broker wiped, their engines restarted. All follows from the seed.
 */
import { Context, Effect, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { Bootstrap } from "../../actors/Bootstrap.ts"
import { Snapshots } from "../../actors/Snapshots.ts"
import * as Random from "../../loadtest/Random.ts"
import * as BusMemory from "../../src/ports/BusMemory.ts"
import { memory } from "../../src/ports/EventStream.ts"
import { hasher } from "../support/EventRig.ts"
import { nameOf, pass, type Replica, sourceOf, start } from "../support/Replicas.ts"
import * as Vllm from "../support/VllmPublisher.ts"

export interface Outcome {
  /** What should not have been, with its time in ms. */
  readonly wrongs: ReadonlyArray<string>
  readonly happened: Readonly<Record<string, number>>
  /** Longest times in ms that a publisher had no owner, or two, while the broker worked. */
  readonly ownerlessMs: number
  readonly twoOwnersMs: number
  /** From the last batch, 5 s after the last trouble, until every picture was whole and true. */
  readonly healedMs: number
  readonly fenced: number
  readonly appended: number
  readonly lookedAgain: number
  readonly batches: number
  /** Pictures that replicas took of each other. */
  readonly taken: number
}

const publishers = 5
const stepMs = 50
const troubleMs = 60_000
/** The engines publish, and nothing fails. */
const calmMs = 5_000
/** Nothing is published: budgets of replays fill, and the last holes heal. */
const quietMs = 60_000
const replicasMax = 4
const handoverMsMax = 3_000

interface Living {
  readonly replica: Replica
  readonly bootstrap: Bootstrap["Service"]
  cutUntilMs: number
  /** Since when it is in reach of the broker. */
  reachMs: number
}

/** `bufferMax`: batches that an engine can repeat. Where that is not all of them pictures may be short, and never wrong. */
export const simulate = (seed: number, bufferMax = 10_000): Effect.Effect<Outcome> =>
  Effect.gen(function* () {
    const random = Random.make(Random.mix(0x4e, [seed]))
    const chance = (share: number) => random() < share
    const below = (count: number) => Math.floor(random() * count)
    const hub = BusMemory.make({ bytesMax: 4_096 })
    const memoryStream = memory(bufferMax)
    const engines = Array.from({ length: publishers }, (_, n) => ({
      cache: Vllm.make(hasher, "org/model", "map"),
      wire: memoryStream.publisher(sourceOf(n).endpoint),
      chains: [] as Array<ReadonlyArray<number>>,
      awayUntilMs: 0
    }))
    const wrongs: Array<string> = []
    const happened: Record<string, number> = {}
    const count = (what: string) => {
      happened[what] = (happened[what] ?? 0) + 1
    }
    let living: Array<Living> = []
    let started = 0
    let nowMs = 0
    let batches = 0
    let fenced = 0
    let appended = 0
    let lookedAgain = 0
    let taken = 0

    const sum = ({ bootstrap, replica }: Living) => {
      const stats = replica.relay.stats()
      taken += bootstrap.stats().taken
      fenced += stats.fenced
      appended += stats.appended
      for (let n = 0; n < publishers; n++) lookedAgain += replica.state(n)?.replays ?? 0
    }

    const join = Effect.gen(function* () {
      const id = `r${started++}`
      const replica = yield* start(id, hub.client(), memoryStream, publishers)
      const pictures = Snapshots.layer({ id }).pipe(Layer.provideMerge(Bootstrap.layer({ id, retakeMsMin: 5_000 })))
      const bootstrap = Context.get(yield* replica.add(pictures), Bootstrap)
      living.push({ replica, bootstrap, cutUntilMs: 0, reachMs: nowMs })
      for (let n = 0; n < publishers; n++) yield* replica.follow(n)
    })

    const leave = (one: Living, killed: boolean) =>
      Effect.gen(function* () {
        living = living.filter((other) => other !== one)
        sum(one)
        if (killed) one.replica.client.cut(true)
        yield* Effect.forkChild(one.replica.stop)
      })

    /** Something published by an engine that can. */
    const publish = (n: number, lost: boolean) => {
      const { awayUntilMs, cache, chains, wire } = engines[n]!
      if (nowMs < awayUntilMs) return
      batches++
      const last = chains.at(-1)
      if (last !== undefined && chains.length > 3 && chance(0.3)) {
        chains.pop()
        wire.publish(cache.evict(last), lost)
        return
      }
      const chain = Array.from({ length: 1 + below(3) }, (_, i) => 1 + below(50) + i * 100)
      const payload = cache.store(chain)
      for (let i = 0; i < chain.length; i++) {
        const part = chain.slice(0, i + 1)
        if (!chains.some((known) => known.join() === part.join())) chains.push(part)
      }
      wire.publish(payload, lost)
    }

    const strike = Effect.gen(function* () {
      const reachable = living.filter(({ cutUntilMs }) => cutUntilMs === 0)
      const one = living[below(living.length)]
      if (chance(0.006) && living.length > 1 && one !== undefined) {
        const killed = chance(0.6)
        count(killed ? "killed" : "left")
        yield* leave(one, killed)
        // Those who are left are asked at the worst of times.
        for (const { replica } of living) if (killed && chance(0.5)) replica.collector.resync(below(publishers))
      }
      if (chance(0.012) && living.length < replicasMax) {
        count("joined")
        yield* join
      }
      if (chance(0.008) && reachable.length > 0) {
        const cut = reachable[below(reachable.length)]!
        count("cut")
        cut.replica.client.cut(true)
        cut.cutUntilMs = nowMs + (chance(0.5) ? below(2_000) : below(15_000))
      }
      if (chance(0.002)) {
        count("broker away")
        const untilMs = nowMs + below(10_000)
        for (const each of living) {
          each.replica.client.cut(true)
          each.cutUntilMs = Math.max(each.cutUntilMs, untilMs)
        }
      }
      if (chance(0.003)) {
        count("wiped")
        hub.wipe()
      }
      if (chance(0.003)) {
        count("truncated")
        hub.truncate(below(20))
      }
      if (chance(0.01) && one !== undefined) {
        count("doubted")
        one.replica.collector.resync(below(publishers))
      }
      for (const [n, engine] of engines.entries()) {
        if (chance(0.3)) publish(n, chance(0.02))
        if (!chance(0.0015)) continue
        engine.wire.disconnect()
        engine.awayUntilMs = nowMs + below(8_000)
        if (chance(0.5)) {
          count("engine restarted")
          engine.cache.restart()
          engine.chains.length = 0
          engine.wire.restart()
        } else count("engine out of reach")
      }
    })

    const pace = () => {
      for (const one of living) {
        if (one.cutUntilMs === 0 || nowMs < one.cutUntilMs) continue
        one.cutUntilMs = 0
        one.reachMs = nowMs
        one.replica.client.cut(false)
      }
      for (const engine of engines) {
        if (engine.awayUntilMs === 0 || nowMs < engine.awayUntilMs) continue
        engine.awayUntilMs = 0
        engine.wire.connect()
      }
    }

    const none = new Array<number>(publishers).fill(0)
    const two = new Array<number>(publishers).fill(0)
    let ownerlessMs = 0
    let twoOwnersMs = 0
    const judge = () => {
      const works = living.some(({ cutUntilMs, reachMs }) => cutUntilMs === 0 && nowMs - reachMs >= handoverMsMax)
      for (let n = 0; n < publishers; n++) {
        const owners = living.filter(({ replica }) => replica.relay.roleOf(nameOf(n)) === "owner").length
        none[n] = owners === 0 && works ? none[n]! + stepMs : 0
        two[n] = owners > 1 ? two[n]! + stepMs : 0
        if (none[n] === handoverMsMax + stepMs) wrongs.push(`${nowMs}: nobody reads ${nameOf(n)}`)
        if (two[n] === handoverMsMax + stepMs) wrongs.push(`${nowMs}: two read ${nameOf(n)}`)
        ownerlessMs = Math.max(ownerlessMs, none[n]!)
        twoOwnersMs = Math.max(twoOwnersMs, two[n]!)
      }
    }

    const live = (untilMs: number, step: Effect.Effect<void>) =>
      Effect.gen(function* () {
        for (; nowMs < untilMs; nowMs += stepMs) {
          pace()
          yield* step
          yield* pass(stepMs)
          judge()
        }
      })

    /** Pictures that are not whole, or not what the engine holds. */
    const illnesses = Effect.gen(function* () {
      const ill: Array<string> = []
      for (const { replica } of living) {
        const { id, indexed, relay, state } = replica
        for (const [n, { cache }] of engines.entries()) {
          const { complete, health, lastSeq, why } = state(n)!
          const known = yield* indexed(n)
          const truth = cache.keys()
          const holds = new Set(truth)
          const right = known.every((key) => holds.has(key)) && (known.length === truth.length || !complete)
          if (right && (complete || batches > bufferMax) && health === "whole") continue
          const role = relay.roleOf(nameOf(n))
          const as = `${health}, ${complete ? "" : "not "}complete, ${right ? "right" : "wrong"} at ${lastSeq}: ${why}`
          ill.push(`${nowMs}: ${id} as ${role} of ${nameOf(n)}: ${as}`)
        }
      }
      return ill
    })

    yield* join
    yield* join
    yield* live(troubleMs, strike)
    // From here on the engines publish, and nothing fails.
    for (const one of living) one.cutUntilMs = Math.min(one.cutUntilMs, nowMs)
    for (const one of living) if (one.replica.client.bus.status().connected === false) one.cutUntilMs = nowMs
    yield* live(
      nowMs + calmMs,
      Effect.sync(() => {
        for (let n = 0; n < publishers; n++) if (chance(0.1)) publish(n, false)
      })
    )
    const quietFromMs = nowMs
    let ill = yield* illnesses
    while (ill.length > 0 && nowMs - quietFromMs < quietMs) {
      yield* live(nowMs + 500, Effect.void)
      ill = yield* illnesses
    }
    const healedMs = nowMs - quietFromMs
    wrongs.push(...ill)
    living.forEach(sum)
    const owned = engines.map(
      (_, n) => living.filter(({ replica }) => replica.relay.roleOf(nameOf(n)) === "owner").length
    )
    if (owned.some((owners) => owners !== 1)) wrongs.push(`${nowMs}: owners at the end: ${owned.join(" ")}`)
    for (const { replica } of living) yield* replica.stop
    return { wrongs, happened, ownerlessMs, twoOwnersMs, healedMs, fenced, appended, lookedAgain, batches, taken }
  })

export const run = (seed: number, bufferMax?: number): Promise<Outcome> =>
  Effect.runPromise(
    Effect.scoped(simulate(seed, bufferMax)).pipe(Effect.provide(Layer.mergeAll(TestClock.layer(), Logger.layer([]))))
  )
