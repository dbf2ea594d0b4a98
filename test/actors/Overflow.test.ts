import { Effect, Exit, Scope } from "effect"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import * as Overflow from "../../actors/Overflow.ts"
import { GUESS, layersMax } from "../../src/domain/Tier.ts"
import * as StateStoreMemory from "../../src/ports/StateStoreMemory.ts"

const workersMax = 4
const sizes = new Uint32Array(workersMax).fill(16)
const all = 2 ** 32 - 1

/** A chain whose first `shared` blocks are the same whatever its name. */
const chain = (name: number, count: number, shared = 0) =>
  Int32Array.from({ length: 2 * count }, (_, i) => Math.imul((i >> 1 < shared ? 7 : name) * 4_096 + i, 0x9e37_79b1))

describe("Overflow", () => {
  let scope: Scope.Closeable
  let nowMs = 0
  beforeEach(() => {
    scope = Scope.makeUnsafe()
    nowMs = 1_000
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
  })
  afterEach(async () => {
    await Effect.runPromise(Scope.close(scope, Exit.void))
    vi.useRealTimers()
  })

  const pass = async (ms: number) => {
    nowMs += ms
    await vi.advanceTimersByTimeAsync(ms)
  }
  const turns = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

  /** A store that answers once `open` is called, or at once. */
  const setUp = async (deps: Partial<Overflow.Deps> = {}, gated = false) => {
    const client = StateStoreMemory.make({ random: () => 0.5 }).client()
    const { store } = client
    const gates: Array<() => void> = []
    const lookup: typeof store.lookup = (...args) =>
      gated
        ? Effect.andThen(
            Effect.callback<void>((resume) => void gates.push(() => resume(Effect.void))),
            store.lookup(...args)
          )
        : store.lookup(...args)
    const overflow = await Effect.runPromise(
      Overflow.make({
        store: { lookup, status: store.status },
        budgetMs: () => 5,
        isShort: () => true,
        now: () => nowMs,
        ...deps
      }).pipe(Scope.provide(scope))
    )
    for (let slot = 0; slot < 2; slot++) overflow.join(slot, `w${slot}`)
    const depths = new Uint32Array(layersMax * workersMax)
    const write = (name: string, keys: Int32Array, layer: 0 | 1 | 4 = 0) =>
      Effect.runPromise(
        Effect.gen(function* () {
          const tenure = yield* store.enter(name)
          for (let at = 0; at < keys.length / 2; at += 32) {
            const own = keys.slice(2 * at, 2 * at + 64)
            const told = own.length === 64 ? all : 2 ** (own.length / 2) - 1
            const parent = at === 0 ? null : keys.slice(2 * at - 2, 2 * at)
            yield* store.write([{ tenure, layer, stride: 32, piece: at / 32, parent, keys: own, told, held: told }])
          }
        })
      )
    /** One match of a request of which the index knows this much at each worker's device. */
    const match = (keys: Int32Array, index: ReadonlyArray<number> = []) => {
      depths.fill(0)
      depths.set(index)
      overflow.begin()
      const layered = overflow.raise(keys, keys.length / 2, depths, workersMax, workersMax, sizes, 16, false)
      return layered ? [...depths.subarray(GUESS * workersMax, GUESS * workersMax + 2)] : null
    }
    /** Waits as a request would; true once it goes on. */
    const wait = () => {
      const state = { isWaiting: false, wentOn: 0 }
      state.isWaiting = overflow.wait(() => state.wentOn++)
      return state
    }
    return { client, gates, match, overflow, wait, write }
  }

  it("asks for what the index does not know, and believes it as a guess of those who are in the fleet", async () => {
    const { match, overflow, wait, write } = await setUp()
    const keys = chain(1, 200)
    await write("w0", keys.slice(0, 2 * 150), 1)
    await write("w1?", keys.slice(0, 2 * 90), 4)
    await write("elsewhere", keys)
    expect(match(keys, [40])).toBeNull()
    const waited = wait()
    await turns()
    expect(waited).toEqual({ isWaiting: true, wentOn: 1 })
    expect(match(keys, [40])).toEqual([150, 90])
    expect(overflow.stats()).toMatchObject({ asked: 1, hits: 1, blocksWon: 110, late: 0, answers: 1, underWay: 0 })
    overflow.leave(0)
    expect(match(keys, [40])).toEqual([0, 90])
  })

  it("does not ask while less than a piece is missing, or the index has lost nothing", async () => {
    let isShort = false
    const asked: Array<number> = []
    const { match, overflow, wait } = await setUp({ isShort: (lo, hi) => asked.push(lo, hi) > 0 && isShort })
    expect(match(chain(1, 100), [60])).toBeNull()
    expect(wait().isWaiting).toBe(false)
    expect(asked).toEqual([...chain(1, 100).subarray(120, 122)])
    isShort = true
    expect(match(chain(1, 100), [10, 80])).toBeNull()
    expect(wait().isWaiting).toBe(false)
    expect(overflow.stats().asked).toBe(0)
    expect(match(chain(1, 100), [10, 60])).toBeNull()
    expect(wait().isWaiting).toBe(true)
  })

  it("lets a request go on when time is up, and keeps for the next what comes later", async () => {
    const { gates, match, overflow, wait, write } = await setUp({}, true)
    const keys = chain(1, 100)
    await write("w0", keys)
    match(keys)
    const waited = wait()
    await pass(4)
    expect(waited).toEqual({ isWaiting: true, wentOn: 0 })
    await pass(1)
    expect(waited.wentOn).toBe(1)
    expect(match(keys)).toBeNull()
    // It is still on its way: nobody waits for it any more, and nobody asks again.
    expect(wait().isWaiting).toBe(false)
    gates[0]!()
    await turns()
    expect(match(keys)).toEqual([100, 0])
    expect([waited.wentOn, overflow.stats()]).toMatchObject([1, { asked: 1, late: 1, hits: 1 }])
  })

  it("asks once for requests that begin alike, and again for where they part", async () => {
    const { gates, match, overflow, wait, write } = await setUp({}, true)
    await write("w0", chain(1, 150, 100))
    await write("w1", chain(2, 200, 100))
    const waits = [1, 2, 3].map((name) => {
      match(chain(name, 200, 100))
      return wait()
    })
    expect(gates.length).toBe(1)
    gates[0]!()
    await turns()
    expect(waits.map(({ wentOn }) => wentOn)).toEqual([1, 1, 1])
    expect(match(chain(1, 200, 100))).toEqual([150, 100])
    // What the answer to the first said of the common beginning holds for the others.
    expect(match(chain(2, 200, 100))).toEqual([100, 100])
    expect(wait().isWaiting).toBe(true)
    gates[1]!()
    await turns()
    expect(match(chain(2, 200, 100))).toEqual([100, 200])
    expect(overflow.stats()).toMatchObject({ asked: 2 })
  })

  it("remembers for some seconds also that nobody holds more", async () => {
    const { match, overflow, wait } = await setUp()
    const keys = chain(1, 100)
    for (let i = 0; i < 3; i++) {
      match(keys)
      wait()
      await turns()
    }
    expect(overflow.stats()).toMatchObject({ asked: 1, hits: 0 })
    await pass(10_000)
    match(keys)
    expect(wait().isWaiting).toBe(true)
  })

  it("leaves a store alone for a second that was slow five times in a row", async () => {
    const { client, match, overflow, wait, write } = await setUp()
    client.slow(true)
    for (let name = 1; name <= 5; name++) {
      match(chain(name, 100))
      expect(wait().isWaiting).toBe(true)
      await pass(5)
    }
    match(chain(6, 100))
    expect(wait().isWaiting).toBe(false)
    expect(overflow.stats()).toMatchObject({ asked: 5, late: 5, skipped: 1, opens: 1 })
    client.slow(false)
    await write("w0", chain(7, 100))
    await pass(1_000)
    match(chain(7, 100))
    expect(wait().isWaiting).toBe(true)
    await turns()
    expect(match(chain(7, 100))).toEqual([100, 0])
    // One good answer, and it takes five again.
    client.slow(true)
    for (let name = 11; name <= 14; name++) {
      match(chain(name, 100))
      wait()
      await pass(5)
    }
    expect(overflow.stats().opens).toBe(1)
  })

  it("does not wait for a store that is away, nor when too many lookups are under way", async () => {
    const { client, gates, match, overflow, wait } = await setUp({ lookupsMax: 2 }, true)
    client.cut(true)
    match(chain(1, 100))
    expect(wait().isWaiting).toBe(false)
    client.cut(false)
    for (const isWaiting of [true, true, false]) {
      match(chain(gates.length + 2, 100))
      expect(wait().isWaiting).toBe(isWaiting)
    }
    expect(overflow.stats()).toMatchObject({ asked: 2, skipped: 2, underWay: 2 })
  })

  it("goes on at once when the store fails", async () => {
    const { client, gates, match, overflow, wait } = await setUp({}, true)
    match(chain(1, 100))
    const waited = wait()
    client.cut(true)
    gates[0]!()
    await turns()
    expect([waited.wentOn, match(chain(1, 100))]).toEqual([1, null])
    expect(overflow.stats()).toMatchObject({ failed: 1, late: 0, answers: 0 })
  })
})
