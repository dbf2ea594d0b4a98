import { assert, describe, it } from "vitest"
import { SyncQueue } from "../../actors/SyncQueue.ts"
import type { KeyLanes } from "../../src/domain/Block.ts"
import * as PiecePaths from "../../src/hot/PiecePaths.ts"
import { extend, random } from "../support/Chains.ts"

const none = new Int32Array(0)
const chain = (count: number, seed = 1): KeyLanes => extend(none, 0, count, random(seed))

/** The path through a chain's first piece to its block `to`, that speaks of the blocks from `from` on. */
const path = (keys: KeyLanes, to: number, told: number, from = 0): PiecePaths.PiecePath => {
  const made = PiecePaths.make()
  made.lanes.set(keys.subarray(0, 2 * (to + 1)), 2)
  return Object.assign(made, { count: to + 1, told, from })
}
const small = () => new SyncQueue({ sharesMax: 4, bytesMax: 1 << 20 })

describe("SyncQueue", () => {
  it("joins what is said of one stretch, and takes up the longer path", () => {
    const queue = small()
    const keys = chain(32)
    queue.mark(5, path(keys, 3, 0b1111), 0)
    queue.mark(5, path(keys, 9, 0b11_1000_0000), 7)
    queue.mark(5, path(keys, 1, 0b11), 8)
    assert.strictEqual(queue.shares, 1)
    const [one] = queue.take(9)
    assert.deepInclude(one, { line: 5, told: 0b11_1000_1111, sinceMs: 0, seq: 1 })
    assert.deepEqual(one!.lanes.subarray(2), keys.subarray(0, 20))
    assert.strictEqual(queue.bytes, 0)
  })

  it("keeps paths apart that part, also where a run has grown as another chain, and lines and stretches", () => {
    const queue = small()
    const keys = chain(32)
    const other = extend(keys, 6, 20, random(2))
    queue.mark(5, path(keys, 9, 1 << 9), 0)
    queue.mark(5, path(other, 9, 1 << 9), 0)
    queue.mark(5, path(keys, 10, 1 << 10), 0)
    queue.mark(5, path(other, 9, 1 << 8), 0)
    queue.mark(6, path(keys, 9, 1 << 9), 0)
    queue.mark(5, path(keys, 12, 1 << 12, 11), 0)
    const told = queue.take(9).map(({ lanes, line, told }) => [line, lanes.length / 2 - 1, told])
    assert.deepEqual(told, [
      [5, 11, (1 << 9) | (1 << 10)],
      [5, 10, (1 << 9) | (1 << 8)],
      [6, 10, 1 << 9],
      [5, 13, 1 << 12]
    ])
    assert.deepEqual([queue.shares, queue.bytes], [0, 0])
  })

  it("gives the oldest first, and forgets lines whole", () => {
    const queue = small()
    for (let i = 0; i < 6; i++) queue.mark(i % 2, path(chain(8, i + 1), 5, 1), i)
    assert.isTrue(queue.isFull)
    assert.deepInclude(queue.oldest, { seq: 1, sinceMs: 0 })
    assert.strictEqual(queue.of(0), 3)
    queue.drop(0, 1)
    assert.deepEqual([queue.of(0), queue.of(1), queue.isFull], [0, 3, false])
    queue.mark(0, path(chain(8, 1), 5, 1), 9)
    assert.deepEqual(
      queue.take(3).map(({ seq }) => seq),
      [2, 4, 6]
    )
    assert.deepEqual(
      queue.take(3).map(({ seq }) => seq),
      [7]
    )
    assert.deepEqual([queue.shares, queue.bytes, queue.oldest], [0, 0, undefined])
  })

  it("comes back to nothing after any life", () => {
    const next = random(3)
    const queue = new SyncQueue({ sharesMax: 50, bytesMax: 1 << 20 })
    const chains = Array.from({ length: 30 }, (_, i) => extend(chain(20, 1 + (i % 4)), next(20), 32, next))
    for (let step = 0; step < 20_000; step++) {
      const to = next(32)
      const from = next(to + 1)
      if (next(9) > 0) queue.mark(next(10), path(chains[next(30)]!, to, 1 << to, next(2) === 0 ? from : 0), step)
      else if (next(2) === 0) queue.take(next(20))
      else queue.drop(next(5), 5 + next(5))
      let shares = 0
      for (let line = 0; line < 10; line++) shares += queue.of(line)
      assert.strictEqual(shares, queue.shares)
      assert.isAtLeast(queue.bytes, 400 * shares)
    }
    queue.drop(0, 10)
    assert.deepEqual([queue.shares, queue.bytes], [0, 0])
  })
})
