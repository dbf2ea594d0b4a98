import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as LoadWire from "../../src/hot/LoadWire.ts"

type Change =
  | { readonly tag: "booked"; readonly request: LoadWire.Booked }
  | { readonly tag: "first"; readonly id: number }
  | { readonly tag: "settled"; readonly id: number; readonly computed: boolean }

const word = fc.nat(0xffffffff)
const keys = fc
  .array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { maxLength: 40 })
  .map((lanes) => Int32Array.from(lanes.slice(0, lanes.length & ~1)))
const request: fc.Arbitrary<LoadWire.Booked> = fc
  .record({
    id: word,
    worker: fc.string().map(LoadWire.nameHash),
    promptTokens: word,
    cachedTokens: word,
    streams: fc.boolean(),
    priority: fc.constantFrom(null, -3, 0, 2.5, Number.POSITIVE_INFINITY),
    active: fc.boolean(),
    keys
  })
  .map((each) => (each.active ? { ...each, keys: new Int32Array(0) } : each))
const change: fc.Arbitrary<Change> = fc.oneof(
  request.map((request) => ({ tag: "booked" as const, request })),
  word.map((id) => ({ tag: "first" as const, id })),
  fc.record({ tag: fc.constant("settled" as const), id: word, computed: fc.boolean() })
)

const written = (changes: ReadonlyArray<Change>, writer = new LoadWire.Writer()): Uint8Array => {
  for (const each of changes) {
    if (each.tag === "booked") writer.booked(each.request)
    else if (each.tag === "first") writer.firstByte(each.id)
    else writer.settled(each.id, each.computed)
  }
  return writer.take(LoadWire.DELTA, 1.7e12, 2 ** 40)
}

const heard = (message: Uint8Array): { readonly whole: boolean; readonly changes: ReadonlyArray<Change> } => {
  const changes: Array<Change> = []
  const whole = LoadWire.read(message, {
    booked: (request) => changes.push({ tag: "booked", request }),
    firstByte: (id) => changes.push({ tag: "first", id }),
    settled: (id, computed) => changes.push({ tag: "settled", id, computed })
  })
  return { whole, changes }
}

describe("LoadWire", () => {
  it("reads every change as it was written, from any place in a larger buffer", () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), fc.nat(7), (changes, offset) => {
        const message = written(changes)
        const moved = new Uint8Array(offset + message.length)
        moved.set(message, offset)
        const at = moved.subarray(offset)
        expect(LoadWire.headerOf(at)).toEqual({ kind: LoadWire.DELTA, incarnation: 1.7e12, sequence: 2 ** 40 })
        expect(heard(at)).toEqual({ whole: true, changes })
      }),
      { numRuns: 300, seed: 3 }
    )
  })

  it("tells the changes before the place where a message breaks off, and that it does", () => {
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), fc.nat(), (changes, cut) => {
        const message = written(changes)
        const at = LoadWire.headerBytes + (cut % (message.length - LoadWire.headerBytes))
        const before = heard(message.subarray(0, at))
        const whole = before.changes.length
        expect(before.changes).toEqual(changes.slice(0, whole))
        expect(before.whole).toBe(written(changes.slice(0, whole)).length === at)
      }),
      { numRuns: 300, seed: 4 }
    )
  })

  it("reads any bytes without throwing, and knows no other version", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        LoadWire.headerOf(bytes)
        if (bytes.length >= LoadWire.headerBytes) heard(bytes)
        const message = written([])
        message[0] = LoadWire.version + 1
        expect(LoadWire.headerOf(message)).toBe(null)
      }),
      { numRuns: 500, seed: 5 }
    )
  })

  it("keeps a beat to 26 bytes, a first token to 5, and the keys of a prompt to 64 KiB", () => {
    const beat = LoadWire.beat(5, 9, 3, 77)
    expect(LoadWire.headerOf(beat)).toEqual({ kind: LoadWire.BEAT, incarnation: 5, sequence: 9 })
    expect(LoadWire.openOf(beat)).toEqual({ open: 3, digest: 77 })
    expect(beat.length).toBe(26)
    expect(written([{ tag: "first", id: 1 }]).length).toBe(LoadWire.headerBytes + 5)
    const long = {
      ...{ id: 1, worker: 2, promptTokens: 1e6, cachedTokens: 0, streams: true, priority: null, active: false },
      keys: new Int32Array(40_000)
    }
    expect(written([{ tag: "booked", request: long }]).length).toBeLessThan(65_536 + 64)
  })

  it("writes one message after another with one writer", () => {
    const writer = new LoadWire.Writer()
    const first = written([{ tag: "first", id: 7 }], writer)
    const second = written([{ tag: "settled", id: 7, computed: true }], writer)
    expect([heard(first).changes, heard(second).changes]).toEqual([
      [{ tag: "first", id: 7 }],
      [{ tag: "settled", id: 7, computed: true }]
    ])
  })
})
