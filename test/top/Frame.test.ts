import { assert, describe, it } from "@effect/vitest"
import picocolors from "picocolors"
import type { LiveWorker } from "../../src/domain/Live.ts"
import * as Frame from "../../src/top/Frame.ts"
import * as Keys from "../../src/top/Keys.ts"
import * as Seen from "../../src/top/Seen.ts"

const plain = picocolors.createColors(false)
const colours = picocolors.createColors(true)
const admin = "http://127.0.0.1:8081"

const worker = (id: string, more: Partial<LiveWorker> = {}): LiveWorker => ({
  id,
  url: `http://${id}`,
  state: "ready",
  why: "it answers",
  engine: "vllm",
  model: "sim/qwen3",
  ranks: 1,
  trust: "exact",
  credit: 1,
  queued: 1,
  active: 3,
  inFlight: 4,
  waitMs: 120,
  blocks: 8_123,
  blocksMax: 40_000,
  hitRate: 0.804,
  deliveredShare: 0.97,
  ttftsMs: [],
  ...more
})

const seenOf = (...workers: ReadonlyArray<LiveWorker>): Seen.Seen => ({
  atMs: new Date(2026, 0, 2, 3, 4, 5).getTime(),
  totals: {
    overMs: 60_000,
    requests: 740,
    errors: 0,
    requestsPerS: 12.3,
    hitRate: 0.801,
    ttftMsP50: 81,
    ttftMsP90: 1_174,
    inFlight: 9
  },
  workers: new Map(workers.map((each) => [each.id, each]))
})

const fleet = (count: number) => Array.from({ length: count }, (_, i) => worker(`gpu-${i}`, { queued: count - i }))
const view: Frame.View = { order: "load", above: 0, isPaused: false, lost: null }
const lines = (seen: Seen.Seen, width: number, height: number, more: Partial<Frame.View> = {}) =>
  Frame.make(seen, admin, { ...view, ...more }, { width, height }, plain).lines

const three = seenOf(
  worker("10.0.0.4:8000"),
  worker("10.0.0.5:8000", { queued: 9, waitMs: 14_200, trust: "degraded", deliveredShare: 0.41, ranks: 8 }),
  worker("10.0.0.6:8000", {
    ...{ state: "open", why: "connect ECONNREFUSED", trust: null, queued: 0, active: 0, inFlight: 0, waitMs: 0 },
    ...{ blocks: 0, blocksMax: null, hitRate: null, deliveredShare: null }
  })
)

describe("A frame of top", () => {
  it("has totals of the last minute, and a row for each worker, the one with most to do first", () => {
    assert.deepStrictEqual(lines(three, 120, 24), [
      "Warmpath at http://127.0.0.1:8081 · 3 workers: 2 ready, 1 open · 03:04:05",
      "12 requests/s · hit rate 80 % · TTFT p50 81 ms · p90 1.2 s · 9 in flight · 0 errors · last 60 s",
      "",
      "worker                state     trust        queued  active    wait  in flight     blocks  hit rate  delivered  engine",
      "10.0.0.5:8000 ×8      ready     degraded          9       3  14.2 s          4   8.1k/40k      80 %       41 %  vllm",
      "10.0.0.4:8000         ready     exact             1       3  120 ms          4   8.1k/40k      80 %       97 %  vllm",
      "10.0.0.6:8000         open      –                 0       0    0 ms          0          0         –          –  vllm",
      "q quit · s sort: load · p pause · ↑ ↓ scroll"
    ])
  })

  it("fits a phone: narrow lines, the columns that matter most", () => {
    assert.deepStrictEqual(lines(three, 60, 24), [
      "Warmpath at http://127.0.0.1:8081",
      "3 workers: 2 ready, 1 open · 03:04:05",
      "12 requests/s · hit rate 80 % · TTFT p50 81 ms · p90 1.2 s",
      "9 in flight · 0 errors · last 60 s",
      "",
      "worker            state     queued  active    wait  hit rate",
      "10.0.0.5:8000 ×8  ready          9       3  14.2 s      80 %",
      "10.0.0.4:8000     ready          1       3  120 ms      80 %",
      "10.0.0.6:8000     open           0       0    0 ms         –",
      "q quit · s sort: load · p pause · ↑ ↓ scroll"
    ])
  })

  it("says on a wide terminal what each engine is, and why it is as it is", () => {
    const [head, , last] = lines(three, 200, 24).slice(3)
    assert.match(head!, /engine +model +why it is so$/)
    assert.match(lines(three, 200, 24)[6]!, /open.* vllm +sim\/qwen3 +connect ECONNREFUSED$/)
    assert.isDefined(last)
  })

  it("is never wider or higher than the terminal, whatever there is to show", () => {
    const long = "a-very-long-name.of-some.cluster.example.internal:8000"
    const odd = [worker(long, { why: "x".repeat(300), model: "m".repeat(90), blocks: 1e9, waitMs: 1e9, ranks: 64 })]
    for (const width of [20, 40, 60, 61, 80, 97, 120, 200, 400]) {
      for (const height of [3, 10, 24, 60]) {
        const made = lines(seenOf(...odd, ...fleet(100)), width, height, { lost: { why: "y".repeat(300), ms: 3e9 } })
        assert.isAtMost(made.length, height)
        // A column of one's own is the least there can be.
        for (const line of made) assert.isAtMost(line.length, Math.max(width, 16), `${width}: ${line}`)
      }
    }
  })

  it("shows a page of a thousand workers, where it is, and goes no further than the last", () => {
    const many = seenOf(...fleet(1_000))
    const first = lines(many, 120, 24)
    assert.strictEqual(first.length, 24)
    assert.match(first.at(-1)!, /^1–19 of 1000 · q quit/)
    const { above, lines: end } = Frame.make(many, admin, { ...view, above: 1e9 }, { width: 120, height: 24 }, plain)
    assert.strictEqual(above, 981)
    assert.match(end.at(-1)!, /^982–1000 of 1000/)
    assert.match(end.at(-2)!, /^gpu-999 /)
  })

  it("says that the router is away, since when and why, over what was known last", () => {
    const made = lines(three, 120, 24, { lost: { why: "connect ECONNREFUSED", ms: 12_300 } })
    assert.strictEqual(made[2], "No word from the router for 12 s, asking again: connect ECONNREFUSED")
    assert.match(made[5]!, /^10\.0\.0\.5/)
  })

  it("says what is unknown by a dash, and that there is no worker by words", () => {
    const none = seenOf()
    const totals = { ...none.totals, hitRate: null, ttftMsP50: null, ttftMsP90: null, requestsPerS: 0 }
    const made = lines({ ...none, totals }, 120, 24)
    assert.match(made[0]!, /· 0 workers ·/)
    assert.match(made[1]!, /^0\.0 requests\/s · hit rate – · TTFT p50 – · p90 –/)
    assert.strictEqual(made[3], "No worker is listed.")
  })

  it("lets nothing that engines are called or say command the terminal", () => {
    const bad = seenOf(worker("a\u001b[2Jb", { why: "\u0007\u009b31m", model: "x\ny" }))
    assert.notMatch(lines(bad, 200, 24).join(""), /[\u0000-\u001f\u007f-\u009f]/)
  })

  it("has colours for what is well and what is not, and the same letters", () => {
    const coloured = Frame.make(three, admin, view, { width: 120, height: 24 }, colours).lines.join("\n")
    assert.include(coloured, "\u001b[31mopen")
    assert.include(coloured, "\u001b[32mready")
    assert.include(coloured, "\u001b[33mdegraded")
    const bare = coloured.replace(/\u001b\[\d+m/g, "").replace(/ +$/gm, "")
    assert.strictEqual(bare, lines(three, 120, 24).join("\n"))
  })

  it("is whole where it is read later: every worker, no keys", () => {
    const text = Frame.whole(seenOf(...fleet(100)), admin, "load", 160, plain).split("\n")
    assert.strictEqual(text.length, 2 + 1 + 1 + 100)
    assert.notInclude(text.join("\n"), "quit")
  })
})

describe("A key of top", () => {
  const press = (before: Partial<Frame.View>, key: Keys.Key) => Keys.press({ ...view, ...before }, key, 19)

  it("q and Ctrl-C leave", () => {
    assert.isNull(press({}, { name: "q" }))
    assert.isNull(press({}, { name: "c", ctrl: true }))
    assert.deepStrictEqual(press({}, { name: "c" }), view)
  })

  it("s goes through the ways to sort, from the top, and round", () => {
    let now: Frame.View = { ...view, above: 7 }
    const orders = Seen.orderNames.map(() => {
      now = Keys.press(now, { name: "s" }, 19)!
      assert.strictEqual(now.above, 0)
      return now.order
    })
    assert.deepStrictEqual(orders, ["wait", "hit rate", "state", "name", "load"])
  })

  it("scrolls by rows and pages, and not above the first", () => {
    assert.strictEqual(press({ above: 5 }, { name: "up" })!.above, 4)
    assert.strictEqual(press({ above: 0 }, { name: "up" })!.above, 0)
    assert.strictEqual(press({ above: 5 }, { name: "pagedown" })!.above, 24)
    assert.strictEqual(press({ above: 24 }, { name: "pageup" })!.above, 5)
    assert.strictEqual(press({ above: 24 }, { name: "home" })!.above, 0)
  })

  it("p holds what is shown, and lets it go on", () => {
    const held = press({}, { name: "p" })!
    assert.isTrue(held.isPaused)
    assert.match(Frame.make(three, admin, held, { width: 120, height: 24 }, plain).lines.at(-1)!, /^PAUSED · /)
    assert.isFalse(press(held, { name: "p" })!.isPaused)
  })
})

describe("The fleet as it is told", () => {
  const told = { atMs: 1, gone: [], seconds: [], skipped: 0, totals: three.totals }

  it("begins with all of it, then changes field by field, and forgets who is gone", () => {
    const first = Seen.apply(null, { ...told, whole: true, workers: [worker("a"), worker("b")] })
    const next = Seen.apply(first, { ...told, atMs: 2, whole: false, workers: [{ id: "a", queued: 7 }], gone: ["b"] })
    assert.deepStrictEqual([...next.workers.values()], [worker("a", { queued: 7 })])
    assert.strictEqual(first.workers.size, 2)
    const again = Seen.apply(next, { ...told, whole: true, workers: [worker("c")] })
    assert.deepStrictEqual([...again.workers.keys()], ["c"])
  })

  it("is sorted as a person would: numbers in names count as numbers, the unwell come first by state", () => {
    const seen = seenOf(worker("gpu-10"), worker("gpu-9", { state: "open" }), worker("gpu-2", { hitRate: null }))
    const ids = (order: Seen.Order) => Seen.sorted(seen, order).map(({ id }) => id)
    assert.deepStrictEqual(ids("name"), ["gpu-2", "gpu-9", "gpu-10"])
    assert.deepStrictEqual(ids("state"), ["gpu-9", "gpu-2", "gpu-10"])
    assert.deepStrictEqual(ids("hit rate"), ["gpu-9", "gpu-10", "gpu-2"])
  })
})
