import { once } from "node:events"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Logger, Scope } from "effect"
import picocolors from "picocolors"
import { vi } from "vitest"
import * as Defect from "../src/http/Defect.ts"
import * as Log from "../src/Log.ts"
import * as LogLine from "../src/LogLine.ts"
import * as LogRepeats from "../src/LogRepeats.ts"

const plain = picocolors.createColors(false)

/** What an effect logs, as lines. */
const lines = async (effect: Effect.Effect<void>): Promise<ReadonlyArray<LogLine.LogLine>> => {
  const made: Array<LogLine.LogLine> = []
  const keep = Logger.make<unknown, void>((options) => void made.push(LogLine.of(options)))
  await Effect.runPromise(effect.pipe(Effect.provide(Logger.layer([keep]))))
  return made
}

describe("A line of the log", () => {
  it("is one JSON object on one line, with time, level, message, and what it is about as fields", async () => {
    const [line] = await lines(
      Effect.logWarning('Worker "a" is open:\nno answer').pipe(
        Effect.annotateLogs({ requestId: "r-1", traceId: "00ff", level: "mine" })
      )
    )
    const text = LogLine.json({ ...line!, atMs: 0 })
    assert.notInclude(text, "\n")
    assert.deepStrictEqual(JSON.parse(text), {
      time: "1970-01-01T00:00:00.000Z",
      level: "warn",
      message: 'Worker "a" is open:\nno answer',
      requestId: "r-1",
      traceId: "00ff"
    })
  })

  it("has the stack of what it tells of as text, be it an error or a cause", async () => {
    const [thrown, failed, alone] = await lines(
      Effect.logError("It broke", new TypeError("no such slot")).pipe(
        Effect.andThen(Effect.logError("It died", Cause.die(new RangeError("too far")))),
        Effect.andThen(Effect.logError(Cause.fail("not today")))
      )
    )
    assert.strictEqual(thrown!.message, "It broke")
    assert.match(thrown!.cause!, /^TypeError: no such slot\n {4}at .*Log\.test\.ts/)
    assert.strictEqual(failed!.message, "It died")
    assert.match(failed!.cause!, /RangeError: too far/)
    assert.match(alone!.message, /not today/)
    assert.match((JSON.parse(LogLine.json(failed!)) as { cause: string }).cause, /RangeError: too far\n/)
  })

  it("is bounded, whatever an engine answers and however long a cause is", async () => {
    const [message, cause] = await lines(
      Effect.logError("m".repeat(1e6)).pipe(Effect.andThen(Effect.logError("It broke", new Error("c".repeat(1e6)))))
    )
    assert.match(message!.message, /^m{8192}… \(991808 characters more\)$/)
    assert.strictEqual(cause!.message, "It broke")
    assert.match(cause!.cause!, /^Error: c+… \(\d+ characters more\)$/)
    assert.isBelow(LogLine.json(cause!).length, 34_000)
  })

  it("is short for people: local time, level, message, and no fiber", async () => {
    const [line] = await lines(Effect.logInfo('Worker "a" is ready').pipe(Effect.annotateLogs({ requestId: "r-1" })))
    assert.match(LogLine.pretty(line!, plain), /^\d\d:\d\d:\d\d INFO {2}Worker "a" is ready requestId=r-1$/)
    const coloured = LogLine.pretty(line!, picocolors.createColors(true))
    assert.include(coloured, "\u001b[32mINFO ")
    const odd = LogLine.pretty({ ...line!, message: "an engine says \u001b[2J\u0007hi" }, plain)
    assert.match(odd, /an engine says �\[2J�hi/)
  })
})

describe("What is said over and over", () => {
  const line = (atMs: number, message: string, requestId = ""): LogLine.LogLine => ({
    atMs,
    level: "warn",
    message,
    fields: { requestId },
    cause: null
  })

  it("is written five times a minute, then counted, and its last time is still told", () => {
    const repeats = LogRepeats.make()
    const written = Array.from({ length: 100 }, (_, i) => repeats.take(line(i * 100, "down", `r-${i}`)))
    assert.strictEqual(written.filter(Boolean).length, 5)
    assert.strictEqual(repeats.dueMs(), LogRepeats.windowMs)
    assert.deepStrictEqual(repeats.due(59_999), [])
    const [told, ...more] = repeats.due(60_000)
    assert.deepStrictEqual(more, [])
    assert.strictEqual(told!.message, "down (said 95 times more within a minute, this the last of them)")
    assert.deepStrictEqual([told!.atMs, told!.fields], [9_900, { requestId: "r-99" }])
    assert.strictEqual(repeats.dueMs(), null)
    assert.isTrue(repeats.take(line(60_001, "down")))
  })

  it("of a worker that comes and goes ends with how it is now", () => {
    const repeats = LogRepeats.make()
    for (let i = 0; i < 50; i++) {
      repeats.take(line(i * 1_000, "a is out"))
      repeats.take(line(i * 1_000 + 500, "a is ready"))
    }
    assert.deepStrictEqual(
      repeats.due(120_000).map(({ message }) => message.slice(0, 10)),
      ["a is out (", "a is ready"]
    )
  })

  it("is held back for nobody else: another message, another level", () => {
    const repeats = LogRepeats.make()
    for (let i = 0; i < 10; i++) repeats.take(line(i, "a is out"))
    assert.isTrue(repeats.take(line(11, "b is out")))
    assert.isTrue(repeats.take({ ...line(12, "a is out"), level: "info" }))
  })

  it("is told when a window ends on the way, and all of it when the log is closed", () => {
    const repeats = LogRepeats.make()
    for (let i = 0; i < 7; i++) repeats.take(line(i, "a"))
    repeats.take(line(70_000, "b"))
    assert.strictEqual(repeats.dueMs(), 0)
    for (let i = 0; i < 7; i++) repeats.take(line(70_001, "b"))
    assert.deepStrictEqual(
      repeats.due(70_002, true).map(({ message }) => message.slice(0, 20)),
      ["a (said 2 times more", "b (said 3 times more"]
    )
  })
})

describe("The log of a command", () => {
  it.effect("has defects of single requests, with their request, and warnings of Node", () =>
    Effect.gen(function* () {
      const written: Array<string> = []
      const spy = vi.spyOn(console, "error").mockImplementation((text: string) => void written.push(text))
      const scope = yield* Scope.make()
      const before = process.listeners("warning")
      yield* Layer.buildWithScope(Log.layer({ logFormat: "json", logLevel: "info" }), scope)
      const heard = once(process, "warning")
      for (let i = 0; i < 8; i++) Defect.tell(Defect.of(new TypeError("no such slot"), `r-${i}`), null, null)
      process.emitWarning("mind the gap", "OddWarning")
      yield* Effect.promise(() => heard)
      yield* Effect.promise(() => new Promise((done) => setImmediate(done)))
      yield* Scope.close(scope, Exit.void)
      spy.mockRestore()
      const said = written.map((text) => JSON.parse(text) as Record<string, string>)
      assert.deepStrictEqual(
        said.map(({ level, requestId }) => [level, requestId]),
        [
          ...[0, 1, 2, 3, 4].map((i) => ["error", `r-${i}`]),
          ["warn", undefined],
          // Once closed, what was held back.
          ["error", "r-7"]
        ]
      )
      assert.match(said[0]!["message"]!, /bug in the router.*no such slot/)
      assert.match(said[0]!["cause"]!, /^TypeError: no such slot\n/)
      assert.strictEqual(said[5]!["message"], "OddWarning: mind the gap")
      assert.match(said[6]!["message"]!, /said 3 times more/)
      assert.deepStrictEqual(process.listeners("warning"), before)
    })
  )
})
