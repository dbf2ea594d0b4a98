import { deserialize, serialize } from "node:v8"
import { assert, describe, it } from "vitest"
import { defaults, type Followed } from "../../actors/Followed.ts"
import { Publisher } from "../../actors/Publisher.ts"
import { decode } from "../../src/adapters/kvevents/KvEvents.ts"
import type { KvDelta } from "../../src/domain/KvEvent.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import { random } from "../support/Chains.ts"
import { hasher, source } from "../support/EventRig.ts"
import * as Vllm from "../support/VllmPublisher.ts"

const make = (
  given: { readonly hasher?: BlockHash.Hasher; readonly model?: string; readonly hashesMax?: number } = {}
) => {
  const told: Array<KvDelta["_tag"]> = []
  const orders: Array<number> = []
  const followed: Followed = {
    name: "w",
    slot: 1,
    model: given.model ?? "m",
    source: source(),
    blockSize: null,
    blockCount: null,
    decode
  }
  const publisher = new Publisher(
    followed,
    { ...defaults, hasher: given.hasher ?? hasher, hashesMax: given.hashesMax ?? defaults.hashesMax },
    {
      publish: ({ _tag }) => {
        told.push(_tag)
        return true
      },
      replay: ({ from }) => void orders.push(from),
      abandon: () => {},
      say: () => {}
    },
    0
  )
  return { publisher, told, orders }
}

/** One that has read some batches, and its engine. */
const used = () => {
  const engine = Vllm.make(hasher, "m", "map")
  const { publisher } = make()
  publisher.feed({ _tag: "Connected" }, 0)
  publisher.feed({ _tag: "ReplayBegun", id: 1 }, 0)
  publisher.feed({ _tag: "ReplayDone", id: 1 }, 0)
  for (let seq = 0; seq < 20; seq++) {
    publisher.feed({ _tag: "Live", seq, payload: engine.store([seq % 4, seq % 5, seq]) }, 0)
  }
  return { engine, publisher }
}

const saved = (from: Publisher) => {
  const { head, pieces } = from.save(7)!
  return { head: new Uint8Array(head), pieces: [...pieces].filter((piece) => piece.length > 1) }
}

describe("PublisherCopy", () => {
  it("goes on where the other stood, once an engine has shown that nothing is missing", () => {
    const { engine, publisher } = used()
    const { head, pieces } = saved(publisher)
    assert.isAbove(pieces.length, 3)
    const { orders, publisher: other } = make()
    assert.isTrue(other.copy.begin(head))
    for (const piece of pieces) assert.isTrue(other.copy.piece(piece))
    assert.isTrue(other.copy.end())
    const { complete, hashes, lastSeq } = other.state(0)
    const before = publisher.state(0)
    assert.deepStrictEqual([complete, hashes, lastSeq], [before.complete, before.hashes, before.lastSeq])
    assert.strictEqual(other.health, "broken")
    other.feed({ _tag: "Connected" }, 0)
    assert.deepStrictEqual(orders, [19])
    other.feed({ _tag: "Live", seq: 20, payload: engine.store([77]) }, 0)
  })

  it("has nothing to give before anything was read, and while what is read is dropped", () => {
    const { publisher } = make()
    assert.isNull(publisher.save(100))
    publisher.feed({ _tag: "Connected" }, 0)
    assert.isNull(publisher.save(100))
  })

  it("refuses what is of another format, model or hash seed, or larger than it may be", () => {
    const { head } = saved(used().publisher)
    assert.isFalse(make({ model: "n" }).publisher.copy.begin(head))
    assert.isFalse(make({ hasher: BlockHash.make(5n) }).publisher.copy.begin(head))
    assert.isFalse(make({ hashesMax: 10 }).publisher.copy.begin(head))
    assert.isFalse(make().publisher.copy.begin(serialize({ ...deserialize(head), format: 2 })))
    assert.isTrue(make().publisher.copy.begin(head))
  })

  it("refuses garbage, and is as it was: whatever bytes are damaged, nothing is thrown", () => {
    const next = random(11)
    const { head, pieces } = saved(used().publisher)
    let refused = 0
    for (let i = 0; i < 3_000; i++) {
      const bytes = head.slice(0, next(5) === 0 ? next(head.length) : head.length)
      for (let flips = next(8); flips >= 0 && bytes.length > 0; flips--) {
        // The prints, which may be any bytes, are most of it.
        const at = next(2) === 0 ? next(Math.min(300, bytes.length)) : next(bytes.length)
        bytes[at]! ^= 1 + next(255)
      }
      const { publisher, told } = make()
      if (!publisher.copy.begin(bytes)) {
        refused++
        assert.isFalse(publisher.copy.isUnderWay)
        assert.isTrue(told.every((tag) => tag === "Cleared"))
        assert.isTrue(publisher.copy.begin(head))
      }
      for (const piece of pieces) publisher.copy.piece(piece)
      publisher.copy.end()
    }
    assert.isAbove(refused, 500)
    for (const bytes of [new Uint8Array(0), serialize(null), serialize([]), serialize({ format: 1 })]) {
      assert.isFalse(make().publisher.copy.begin(bytes))
    }
  })

  it("refuses pieces that are short, doubled or of no table, and withdraws what it had told", () => {
    const { head, pieces } = saved(used().publisher)
    const faults: ReadonlyArray<readonly [string, ReadonlyArray<Int32Array>]> = [
      ["one is missing", pieces.slice(1)],
      ["one comes twice", [...pieces, pieces[0]!]],
      ["one is cut", [pieces[0]!.subarray(0, -1), ...pieces.slice(1)]],
      ["one is of another table", [pieces[0]!.with(0, 9), ...pieces.slice(1)]],
      ["one is empty", [new Int32Array(0), ...pieces.slice(1)]]
    ]
    for (const [what, some] of faults) {
      const { publisher, told } = make()
      assert.isTrue(publisher.copy.begin(head))
      const key = Int32Array.of(1, 2)
      assert.isTrue(publisher.copy.publish({ _tag: "Stored", worker: 1, layer: 0, parent: null, keys: key }))
      const isTaken = some.every((piece) => publisher.copy.piece(piece)) && publisher.copy.end()
      assert.isFalse(isTaken, what)
      assert.deepStrictEqual(told, ["Stored", "Cleared"], what)
      assert.strictEqual(publisher.state(0).hashes, 0)
      assert.isFalse(publisher.copy.publish({ _tag: "Stored", worker: 1, layer: 0, parent: null, keys: key }))
    }
  })

  it("is given up when its publisher hears anything meanwhile", () => {
    const { head } = saved(used().publisher)
    const { publisher, told } = make()
    assert.isTrue(publisher.copy.begin(head))
    publisher.feed({ _tag: "Tick" }, 1)
    assert.isTrue(publisher.copy.isUnderWay)
    publisher.feed({ _tag: "Connected" }, 1)
    assert.isFalse(publisher.copy.isUnderWay)
    assert.deepStrictEqual(told, ["Cleared"])
    assert.isFalse(publisher.copy.begin(head))
  })

  it("applies what followed before it is connected, and then asks for no more than the last of it", () => {
    const { engine, publisher } = used()
    const { head, pieces } = saved(publisher)
    const after = [20, 21, 22].map((seq) => ({ seq, payload: engine.store([seq]) }))
    const { orders, publisher: other } = make()
    other.copy.begin(head)
    for (const piece of pieces) other.copy.piece(piece)
    assert.isTrue(other.copy.end())
    for (const { payload, seq } of after) {
      publisher.feed({ _tag: "Live", seq, payload }, 0)
      other.feed({ _tag: "Live", seq, payload }, 0)
    }
    other.feed({ _tag: "Live", ...after[1]! }, 0)
    assert.deepInclude(other.state(0), {
      lastSeq: 22,
      health: "broken",
      duplicates: 1,
      hashes: publisher.state(0).hashes
    })
    other.feed({ _tag: "Connected" }, 0)
    assert.deepStrictEqual(orders, [22])
  })

  it("applies nothing on it that is of another life, or behind a hole", () => {
    const { engine, publisher } = used()
    const { head, pieces } = saved(publisher)
    engine.restart()
    const reborn = Array.from({ length: 25 }, (_, seq) => ({ seq, payload: engine.store([seq % 4, 100 + seq]) }))
    for (const first of [0, 1, 21]) {
      const { orders, publisher: other, told } = make()
      other.copy.begin(head)
      for (const piece of pieces) other.copy.piece(piece)
      assert.isTrue(other.copy.end())
      // All of them: the one after the last that was taken over, too.
      for (const batch of reborn.slice(first)) other.feed({ _tag: "Live", ...batch }, 0)
      assert.deepInclude(other.state(0), { lastSeq: 19, health: "broken" })
      assert.deepStrictEqual([orders, told], [[19], []])
      other.feed({ _tag: "ReplayBegun", id: 1 }, 0)
      for (const batch of reborn.slice(19)) other.feed({ _tag: "Replayed", id: 1, ...batch }, 0)
      other.feed({ _tag: "ReplayDone", id: 1 }, 0)
      assert.include(told, "Cleared")
      assert.deepInclude(other.state(0), { restarts: 1 })
    }
  })

  it("can be taken over however long that was waited for", () => {
    const { head, pieces } = saved(used().publisher)
    const { orders, publisher } = make()
    for (let nowMs = 0; nowMs < 60_000; nowMs += 125) publisher.feed({ _tag: "Tick" }, nowMs)
    assert.isTrue(publisher.copy.begin(head))
    for (let nowMs = 60_000; nowMs < 120_000; nowMs += 125) publisher.feed({ _tag: "Tick" }, nowMs)
    assert.isTrue(pieces.every((piece) => publisher.copy.piece(piece)) && publisher.copy.end())
    publisher.feed({ _tag: "Tick" }, 180_000)
    assert.deepStrictEqual(orders, [])
    publisher.feed({ _tag: "Connected" }, 180_000)
    assert.deepStrictEqual(orders, [19])
  })
})
