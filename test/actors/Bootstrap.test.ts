import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger } from "effect"
import { Bootstrap, type Options } from "../../actors/Bootstrap.ts"
import { Snapshots } from "../../actors/Snapshots.ts"
import * as SnapshotFrames from "../../src/hot/SnapshotFrames.ts"
import * as BusMemory from "../../src/ports/BusMemory.ts"
import { type MemoryPublisher, memory } from "../../src/ports/EventStream.ts"
import { random } from "../support/Chains.ts"
import { hasher } from "../support/EventRig.ts"
import { nameOf, pass, type Replica, sourceOf, start } from "../support/Replicas.ts"
import * as Vllm from "../support/VllmPublisher.ts"

/** Batches an engine can repeat: far fewer than it takes to tell its cache. */
const ringMax = 24
const publishers = 3

interface Engine {
  readonly cache: Vllm.VllmPublisher
  readonly wire: MemoryPublisher
  /** One more batch: a store, or an eviction. */
  readonly work: () => void
}

interface Joined extends Replica {
  readonly bootstrap: Bootstrap["Service"]
  readonly snapshots: Snapshots["Service"]
}

interface Rig {
  readonly hub: BusMemory.Hub
  readonly engines: ReadonlyArray<Engine>
  /** `cut`: out of the broker's reach at first. */
  readonly join: (id: string, options?: Partial<Options>, cut?: boolean) => Effect.Effect<Joined>
  readonly work: (batches: number) => void
  /** The index of a replica holds what the engines do, and its publishers know that. */
  readonly agrees: (replica: Replica) => Effect.Effect<void>
}

const rig = <A>(body: (parts: Rig) => Effect.Effect<A>, bus: BusMemory.Options = {}): Effect.Effect<A> =>
  Effect.gen(function* () {
    const next = random(7)
    const hub = BusMemory.make(bus)
    const stream = memory(ringMax)
    const started: Array<Replica> = []
    const engines = Array.from({ length: publishers }, (_, n): Engine => {
      const cache = Vllm.make(hasher, "org/model", "map")
      const wire = stream.publisher(sourceOf(n).endpoint)
      let chains: Array<ReadonlyArray<number>> = []
      const work = () => {
        const last = chains.at(-1)
        if (last !== undefined && chains.length > 120) {
          chains = chains.filter((chain) => chain !== last)
          wire.publish(cache.evict(last))
          return
        }
        const chain = [1 + next(3), 10 + next(4), 20 + next(4), 30 + next(9)].slice(0, 1 + next(4))
        wire.publish(cache.store(chain))
        for (let length = 1; length <= chain.length; length++) {
          const part = chain.slice(0, length)
          if (!chains.some((known) => known.join() === part.join())) chains.push(part)
        }
      }
      return { cache, wire, work }
    })
    const result = yield* body({
      hub,
      engines,
      work: (batches) => {
        for (let i = 0; i < batches; i++) engines[next(publishers)]!.work()
      },
      join: (id, options = {}, cut = false) =>
        Effect.gen(function* () {
          const client = hub.client()
          client.cut(cut)
          const replica = yield* start(id, client, stream, publishers)
          started.push(replica)
          const both = Snapshots.layer({ id }).pipe(Layer.provideMerge(Bootstrap.layer({ id, ...options })))
          const added = yield* replica.add(both)
          const bootstrap = Context.get(added, Bootstrap)
          const snapshots = Context.get(added, Snapshots)
          for (let n = 0; n < publishers; n++) yield* replica.follow(n)
          return { ...replica, bootstrap, snapshots }
        }),
      agrees: (replica) =>
        Effect.gen(function* () {
          // What was just published is on its way.
          yield* pass(200)
          for (const [n, { cache }] of engines.entries()) {
            const { complete, health, why } = replica.state(n)!
            assert.deepStrictEqual([nameOf(n), complete, health, why], [nameOf(n), true, "whole", ""], replica.id)
            assert.deepStrictEqual(yield* replica.indexed(n), cache.keys(), `${replica.id} of ${nameOf(n)}`)
          }
        })
    })
    for (const { stop } of started) yield* stop
    return result
  })

/** Looks at every turn of the event loop, until it has seen what it waits for. */
const once = (sees: () => boolean): void => {
  if (!sees()) setImmediate(() => once(sees))
}

describe("Bootstrap", () => {
  it.effect("gives a late replica the picture of the first, though no engine could tell it any more", () =>
    rig(({ agrees, engines, join, work }) =>
      Effect.gen(function* () {
        const first = yield* join("a")
        yield* pass(2_000, () => work(3))
        assert.isTrue(first.bootstrap.isReady())
        yield* pass(3_000, () => work(12))
        yield* agrees(first)
        for (const { cache } of engines) assert.isAbove(cache.keys().length, 2 * ringMax)
        const late = yield* join("b")
        // Nobody waits for it: engines and the first replica go on.
        yield* pass(1_000, () => work(3))
        assert.isTrue(late.bootstrap.isReady())
        yield* pass(500)
        yield* agrees(late)
        yield* agrees(first)
        assert.deepInclude(late.bootstrap.stats(), { waiting: 0, taken: publishers, failed: 0 })
        assert.strictEqual(first.snapshots.stats().sessions, 0)
        for (let n = 0; n < publishers; n++) assert.strictEqual(late.state(n)!.purges, 0)
        yield* pass(2_000, () => work(6))
        yield* agrees(late)
        yield* agrees(first)
      })
    )
  )

  it.effect("waits its turn where the only replica that knows gives to others", () =>
    rig(({ agrees, hub, join, work }) =>
      Effect.gen(function* () {
        const first = yield* join("a")
        yield* pass(5_000, () => work(8))
        const { bus } = hub.client()
        const who = [{ name: nameOf(0), model: "org/model" }]
        const question = Buffer.from(JSON.stringify({ what: "take", publishers: who, not: [] }))
        for (let i = 0; i < 4; i++)
          yield* Effect.forkChild(Effect.ignore(bus.ask("snapshot", question, () => {}, 1_000)))
        yield* pass(100)
        assert.strictEqual(first.snapshots.stats().sessions, 4)
        const late = yield* join("b")
        yield* pass(2_000, () => work(1))
        assert.deepInclude(late.bootstrap.stats(), { waiting: publishers, taken: 0, failed: 0 })
        // Nobody takes those four any further.
        yield* pass(8_000, () => work(1))
        assert.deepInclude(late.bootstrap.stats(), { waiting: 0, taken: publishers, failed: 0 })
        yield* agrees(late)
      })
    )
  )

  it.effect("is not ready before it was looked what workers there are", () =>
    rig(({ agrees, join, work }) =>
      Effect.gen(function* () {
        let looked = false
        const first = yield* join("a", { looked: () => looked })
        yield* pass(2_000, () => work(1))
        assert.isFalse(first.bootstrap.isReady())
        // Who is not ready gives no pictures.
        const second = yield* join("b")
        yield* pass(1_000)
        assert.deepInclude(second.bootstrap.stats(), { waiting: 0, taken: 0, failed: 0 })
        looked = true
        yield* pass(200)
        assert.isTrue(first.bootstrap.isReady())
        yield* agrees(first)
      })
    )
  )

  it.effect("answers at once where nobody has a picture", () =>
    rig(({ agrees, join, work }) =>
      Effect.gen(function* () {
        work(10)
        const [first, second] = [yield* join("a"), yield* join("b")]
        yield* pass(1_500)
        assert.isTrue(first.bootstrap.isReady() && second.bootstrap.isReady())
        assert.deepInclude(second.bootstrap.stats(), { waiting: 0, taken: 0, failed: 0, bytes: 0 })
        yield* pass(1_000, () => work(1))
        yield* agrees(first)
        yield* agrees(second)
      })
    )
  )

  it.effect("is no failure where there is nobody but itself to ask", () =>
    rig(({ agrees, join, work }) =>
      Effect.gen(function* () {
        const only = yield* join("a")
        work(20)
        yield* pass(2_000)
        assert.isTrue(only.bootstrap.isReady())
        for (let n = 0; n < publishers; n++) yield* only.collector.again(n)
        yield* pass(500)
        assert.deepInclude(only.bootstrap.stats(), { waiting: 0, taken: 0, failed: 0 })
        yield* agrees(only)
      })
    )
  )

  it.effect("asks another replica when one dies in the middle, and keeps nothing of what that one sent", () =>
    rig(
      ({ agrees, join, work }) =>
        Effect.gen(function* () {
          const peers = [yield* join("a"), yield* join("b")]
          yield* pass(5_000, () => work(8))
          const late = yield* join("c")
          let killed: Joined | undefined
          once(() => {
            const { bytes, waiting } = late.bootstrap.stats()
            if (bytes > 4_000) killed = peers.find(({ snapshots }) => snapshots.stats().sessions > 0)
            killed?.client.cut(true)
            return killed !== undefined || waiting === 0
          })
          yield* pass(8_000, () => work(1))
          assert.isDefined(killed)
          const other = peers.find((peer) => peer !== killed)!
          assert.isTrue(late.bootstrap.isReady())
          assert.deepInclude(late.bootstrap.stats(), { waiting: 0, taken: publishers, failed: 1 })
          yield* agrees(late)
          yield* agrees(other)
        }),
      // Many messages, so that there is a middle.
      { bytesMax: 1_200 }
    )
  )

  it.effect("reads engines where the only replica that knows them dies in the middle", () =>
    rig(
      ({ engines, join, work }) =>
        Effect.gen(function* () {
          const first = yield* join("a")
          yield* pass(5_000, () => work(8))
          const late = yield* join("b")
          once(() => {
            const { bytes, waiting } = late.bootstrap.stats()
            if (bytes > 4_000 && waiting > 0) first.client.cut(true)
            return bytes > 4_000 || waiting === 0
          })
          yield* pass(8_000)
          assert.isTrue(late.bootstrap.isReady())
          assert.deepInclude(late.bootstrap.stats(), { waiting: 0, taken: 0, failed: 1 })
          yield* pass(3_000, () => work(3))
          for (const [n, { cache }] of engines.entries()) {
            // No more than there is, and not all: what left the engines' buffers nobody tells.
            const known = yield* late.indexed(n)
            const truth = new Set(cache.keys())
            assert.isTrue(known.every((key) => truth.has(key)))
            assert.isAbove(known.length, 0)
            assert.deepInclude(late.state(n)!, { health: "whole", complete: false })
          }
        }),
      { bytesMax: 1_200 }
    )
  )

  it.effect("takes a picture anew that was lost with the log, from a replica that kept it", () =>
    rig(({ agrees, hub, join, work }) =>
      Effect.gen(function* () {
        const first = yield* join("a")
        yield* pass(4_000, () => work(10))
        const second = yield* join("b")
        yield* pass(2_000, () => work(1))
        yield* agrees(second)
        // Cut off for less than it takes to read engines oneself, and for longer than they and the log remember.
        const cut = [first, second].find(({ relay }) => relay.roleOf(nameOf(0)) !== "owner")!
        const kept = [first, second].find((replica) => replica !== cut)!
        const before = cut.bootstrap.stats().taken
        cut.client.cut(true)
        yield* pass(1_500, () => work(10))
        hub.truncate(2)
        cut.client.cut(false)
        let wasShort = false
        yield* pass(30_000, () => {
          const { complete, health } = cut.state(0)!
          wasShort ||= health === "whole" && !complete
        })
        assert.isTrue(wasShort)
        assert.isAbove(cut.bootstrap.stats().taken, before)
        yield* pass(1_000, () => work(2))
        yield* agrees(kept)
        yield* agrees(cut)
      })
    )
  )

  it.effect("keeps a picture that lost its start until another replica can give a better one", () =>
    rig(({ agrees, hub, join, work }) =>
      Effect.gen(function* () {
        const replicas = [yield* join("a")]
        yield* pass(4_000, () => work(10))
        for (const id of ["b", "c", "d"]) replicas.push(yield* join(id))
        yield* pass(2_000, () => work(1))
        // Only one keeps what the log forgets.
        const kept = replicas.find(({ relay }) => relay.roleOf(nameOf(0)) === "owner")!
        const short = replicas.filter((replica) => replica !== kept)
        for (const { client } of short) client.cut(true)
        yield* pass(1_500, () => work(10))
        hub.truncate(2)
        const { bus } = hub.client()
        const others = short.map(({ id }) => id)
        const publishers = [{ name: nameOf(0), model: "org/model" }]
        const question = Buffer.from(JSON.stringify({ what: "take", publishers, not: others }))
        /** All that the one can give to is taken, again and again. */
        const occupy = () => void Effect.runFork(Effect.ignore(bus.ask("snapshot", question, () => {}, 500)))
        yield* pass(300, occupy)
        for (const { client } of short) client.cut(false)
        const isShort = ({ state }: Replica) => state(0)!.health === "whole" && !state(0)!.complete
        for (let i = 0; i < 40 && !short.every(isShort); i++) yield* pass(100, occupy)
        assert.isTrue(short.every(isShort))
        const healths = new Set<string>()
        yield* pass(10_000, () => {
          occupy()
          for (const { state } of short) healths.add(state(0)!.health)
        })
        assert.isFalse(healths.has("absent"))
        assert.isTrue(short.every(isShort))
        // Given up by nobody, the sessions end; and one look is enough, whoever is asked first.
        yield* pass(10_000)
        assert.isFalse(short.some(isShort))
        yield* pass(10_000)
        for (const replica of replicas) yield* agrees(replica)
      })
    )
  )

  it.effect("a router that comes back under its name has sessions of its own", () =>
    rig(({ hub, join, work }) =>
      Effect.gen(function* () {
        const numbers: Array<number> = []
        const question = { what: "take", publishers: [{ name: nameOf(0), model: "org/model" }], not: [] }
        const take = (answer: Uint8Array) => void numbers.push(JSON.parse(Buffer.from(answer).toString()).session)
        for (let life = 0; life < 2; life++) {
          const only = yield* join("a")
          yield* pass(2_000, () => work(3))
          yield* Effect.forkChild(
            Effect.ignore(hub.client().bus.ask("snapshot", Buffer.from(JSON.stringify(question)), take, 1_000))
          )
          yield* pass(200)
          yield* only.stop
        }
        assert.strictEqual(numbers.length, 2)
        assert.isAbove(numbers[1]!, numbers[0]!)
      })
    )
  )

  it.effect("does not take what is no snapshot, or a damaged one, and goes on without", () =>
    rig(({ agrees, hub, join, work }) =>
      Effect.gen(function* () {
        const next = random(5)
        const liar = hub.client().bus
        let lies = 0
        const noise = (bytes: number) => Uint8Array.from({ length: bytes }, () => next(256))
        const session = { _tag: "session", replica: "liar", session: 1, taken: [0, 1, 2], absent: [] }
        const layers = SnapshotFrames.encode(
          SnapshotFrames.SAY,
          0,
          Buffer.from(JSON.stringify({ _tag: "layers", layers: [1, 15, 3] }))
        )
        const answers: ReadonlyArray<() => ReadonlyArray<Uint8Array>> = [
          () => [noise(next(3_000))],
          () => [SnapshotFrames.encode(SnapshotFrames.HEAD_END, 0, noise(300)), layers],
          () => [SnapshotFrames.encode(SnapshotFrames.PIECE, 1, noise(300))],
          () => [layers, SnapshotFrames.encode(SnapshotFrames.RUNS, 0, noise(400))],
          () => [layers.with(9, 0)],
          () => []
        ]
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* liar.serve("snapshot", (_, send) =>
              Effect.sync(() => {
                lies++
                send(next(3) === 0 ? noise(50) : Buffer.from(JSON.stringify(session)))
              })
            )
            yield* liar.serve("snapshot.liar", (_, send) =>
              Effect.sync(() => {
                for (const answer of answers[next(answers.length)]!()) send(answer)
              })
            )
            work(20)
            const late = yield* join("a", { triesMax: 50 })
            yield* pass(3_000)
            assert.isAbove(lies, 20)
            assert.isTrue(late.bootstrap.isReady())
            assert.deepInclude(late.bootstrap.stats(), { waiting: 0, taken: 0 })
            yield* agrees(late)
          })
        )
      })
    )
  )

  it.effect("is ready after a while though nobody gives an answer, and says so", () => {
    const said: Array<string> = []
    const logger = Logger.make(({ message }) => void said.push(String(message)))
    return rig(({ hub, join, work }) =>
      Effect.scoped(
        Effect.gen(function* () {
          yield* hub.client().bus.serve("snapshot", () => Effect.never)
          work(5)
          const late = yield* join("a", { readyMsMax: 3_000 })
          yield* pass(2_500)
          assert.isFalse(late.bootstrap.isReady())
          yield* pass(1_000)
          assert.isTrue(late.bootstrap.isReady())
          assert.strictEqual(said.filter((line) => line.includes("Not prepared after 3 s")).length, 1)
        })
      )
    ).pipe(Effect.provide(Logger.layer([logger])))
  })

  it.effect("waits a while for a broker out of reach, and not for long", () =>
    rig(({ agrees, join, work }) =>
      Effect.gen(function* () {
        yield* join("a")
        yield* pass(4_000, () => work(12))
        const late = yield* join("b", {}, true)
        yield* pass(2_000, () => work(1))
        assert.deepInclude(late.bootstrap.stats(), { waiting: publishers, taken: 0 })
        late.client.cut(false)
        yield* pass(2_000, () => work(1))
        assert.deepInclude(late.bootstrap.stats(), { waiting: 0, taken: publishers })
        yield* agrees(late)
        const never = yield* join("c", {}, true)
        yield* pass(6_000)
        assert.isTrue(never.bootstrap.isReady())
        assert.deepInclude(never.bootstrap.stats(), { waiting: 0, taken: 0 })
      })
    )
  )
})
