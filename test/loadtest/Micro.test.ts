import { assert, describe, it } from "vitest"
import { benches } from "../../loadtest/micro/Benches.ts"
import { type Case, line, median, type Options, verdict } from "../../loadtest/micro/Measure.ts"
import { DEPTHS, generate } from "../../loadtest/micro/PrefixWorkload.ts"

const tiny: Options = { blocks: 30_000, twinBlocks: 30_000, workers: 8, repeats: 1, cellMs: 5 }

/** Runs a bench small: its figures are numbers, and what it compared agreed. */
const measured = async (name: string) => {
  const { agree, cases, compared } = await benches[name]!.run(tiny)
  assert.isTrue(agree)
  for (const { name, value } of cases) assert.isTrue(Number.isFinite(value) && value >= 0, `${name} is ${value}`)
  return { cases, compared }
}

describe("npm run bench", () => {
  it("has the benches it is documented with, the prefix index first", () => {
    assert.deepEqual(Object.keys(benches), ["prefix-table", "ingest", "cost", "place", "link", "tokenizer"])
  })

  it("measures every case of the prefix index, and both indexes give the same answers", async () => {
    const { cases, compared } = await measured("prefix-table")
    assert.isAbove(compared, 1_000)
    assert.includeMembers(
      cases.map(({ name }) => name),
      ["store new", "store known", "remove, batches of 64", "lookup 128 blocks, all held", "memory"]
    )
    const memory = cases.find(({ name }) => name === "memory")!
    assert.isAtMost(memory.value, 40)
  })

  it("measures KV events from bytes to table, and in the end the table holds what the caches do", async () => {
    const { cases, compared } = await measured("ingest")
    assert.strictEqual(compared, 12)
    assert.includeMembers(
      cases.map(({ name }) => name),
      ["1 block: decode", "32 blocks: decode generically", "256 blocks: translate", "32 blocks: whole path"]
    )
  })

  it("measures a placement decision, and the worker chosen is the cheapest of the explanation", async () => {
    const { cases, compared } = await measured("cost")
    assert.strictEqual(compared, 200)
    assert.strictEqual(cases.length, 11)
  })

  it("measures long prompts among 1 000 workers, with the overlaps they were made with and the cheapest worker", async () => {
    const { cases, compared } = await measured("place")
    assert.strictEqual(compared, 50)
    assert.deepEqual(
      cases.flatMap(({ gate, name }) => (gate === undefined ? [] : [name])),
      ["match + place, p99"]
    )
  })

  it("measures what replicas tell each other, and in the end both have the same open", async () => {
    const { cases, compared } = await measured("link")
    assert.strictEqual(compared, 3)
    const bytes = cases.filter(({ unit }) => unit === "B/request").map(({ value }) => value)
    // A booking with its keys, 11 bytes for how it went on, and its share of a header.
    assert.deepEqual(
      bytes,
      [16, 1_250, 8_192].map((blocks) => 24 + 8 * blocks + 11 + 6)
    )
  })

  it("measures every encoder on one conversation, and all give the same ids", async () => {
    const { cases, compared } = await measured("tokenizer")
    assert.strictEqual(compared, 3)
    assert.strictEqual(cases.length, 6)
  })

  it("makes the same workload from the same seed, with as many blocks as asked", () => {
    const first = generate(50_000, 16)
    const second = generate(50_000, 16)
    assert.deepEqual(first.events, second.events)
    assert.deepEqual(first.keys, second.keys)
    assert.isAtLeast(first.blocks, 50_000)
    assert.isAtMost(first.blocks, 51_000)
    assert.notDeepEqual(generate(50_000, 16, 2).keys, first.keys)
  })

  it("asks for chains of every depth once there are blocks enough", () => {
    assert.deepEqual(
      generate(500_000, 4).queries.map(({ depth }) => depth),
      [...DEPTHS]
    )
  })

  it("judges a figure by its gate, whichever way it points", () => {
    const rate: Case = { name: "store", value: 9, unit: "M/s", gate: { atLeast: 9 } }
    const time: Case = { name: "lookup", value: 2.1, unit: "us", gate: { atMost: 2 } }
    assert.strictEqual(verdict(rate), "pass")
    assert.strictEqual(verdict(time), "FAIL")
    assert.strictEqual(verdict({ name: "seen", value: 1, unit: "" }), "")
    assert.include(line({ ...time, twin: { value: 42, ours: 2.1 } }, true), "42.0 (20.0x)")
    assert.notInclude(line(time, false), "FAIL")
  })

  it("takes the middle of an odd number of figures, and the mean of the two in an even one", () => {
    assert.strictEqual(median([3, 1, 2]), 2)
    assert.strictEqual(median([4, 1, 3, 2]), 2.5)
  })
})
