import { describe, expect, it } from "vitest"
import * as Progress from "../../../loadtest/replay/Progress.ts"

describe("a replay's progress", () => {
  it("says how much is done, and how long the rest takes at that pace", () => {
    expect(Progress.line("6 runs", 0.25, 10_000)).toMatch(/ 25 % of 6 runs · about 30 s left$/)
    expect(Progress.line("6 runs", 0.5, 600_000)).toMatch(/ 50 % of 6 runs · about 10 min left$/)
  })

  it("promises nothing before there is something to judge by", () => {
    expect(Progress.line("one run", 0, 5_000)).toMatch(/ 0 % of one run$/)
    expect(Progress.line("one run", 0.5, 100)).toMatch(/ 50 % of one run$/)
  })

  it("is not drawn where nobody watches", () => {
    const pipe = { isTTY: false, columns: 0 } as NodeJS.WriteStream
    const terminal = { isTTY: true, columns: 80 } as NodeJS.WriteStream
    expect(Progress.make(pipe, {})).toBe(Progress.silent)
    expect(Progress.make(terminal, { CI: "true" })).toBe(Progress.silent)
  })
})
