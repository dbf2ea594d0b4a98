import { PassThrough } from "node:stream"
import { stripVTControlCharacters } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import type * as LiveTable from "../../../loadtest/demo/LiveTable.ts"
import * as Screen from "../../../loadtest/demo/Screen.ts"

const snapshot: LiveTable.Snapshot = {
  name: "Warmpath",
  way: "the warm way",
  done: 1,
  planned: 2,
  failed: 0,
  elapsedSeconds: 1,
  leftSeconds: 1,
  hitRate: null,
  agentHitRate: null,
  ttftMsP50: null,
  ttftMsP90: null,
  workers: [{ worker: "1  127.0.0.1:40001", inFlight: 3, requests: 17, hitRate: 0.6, cacheUsed: 0.4 }]
}

/** What is written to such an output by one frame and one lasting line. */
const written = (output: object, env: Readonly<Record<string, string>> = {}) => {
  const stream = Object.assign(new PassThrough(), output) as unknown as NodeJS.WriteStream
  const screen = Screen.make(stream, env)
  screen.frame(snapshot)
  screen.print("done")
  screen.close()
  return String(stream.read() ?? "")
}

const terminal = { isTTY: true, columns: 100, rows: 40 }

describe("Screen", () => {
  it("draws the table on a terminal, and leaves it standing above what follows", () => {
    const text = stripVTControlCharacters(written(terminal))
    assert.include(text, "1  127.0.0.1:40001")
    assert.match(text, /TTFT p50 –, p90 –\n+done\n$/)
  })
  for (const [where, output, env] of [
    ["into a pipe", {}, {}],
    ["under NO_COLOR", terminal, { NO_COLOR: "1" }],
    ["in continuous integration", terminal, { CI: "true" }],
    ["on a terminal without a size", { isTTY: true, columns: 0, rows: 0 }, {}],
    ["on a dumb terminal", terminal, { TERM: "dumb" }]
  ] as const) {
    it(`writes plain lines ${where}`, () => {
      const text = written(output, env)
      assert.strictEqual(text, stripVTControlCharacters(text))
      assert.match(text, /^Warmpath: 1 s, 1 of 2 requests.*\ndone\n$/)
    })
  }
  it("says nothing at all where only the result is wanted", () => {
    Screen.silent.frame(snapshot)
    Screen.silent.print("text")
    assert.isFalse(Screen.silent.colors.isColorSupported)
  })
})
