import { beforeEach, describe, expect, it } from "vitest"
import { RelayAppends } from "../../actors/RelayAppends.ts"
import * as LogEntry from "../../src/hot/LogEntry.ts"
import { BusError } from "../../src/ports/Bus.ts"

type Result = { readonly position: number } | BusError
const taken = { position: 7 }
const failed = (reason: BusError["reason"]): Result => new BusError({ what: "append", reason, detail: "told to" })

describe("RelayAppends", () => {
  let nowMs = 0
  let epoch: number | null = 5
  let result: Result = taken
  let shorts = 0
  let ids: Array<string> = []
  let appends = make()
  let append = appends.of({ name: "w0", model: "m" }, () => shorts++)

  function make() {
    return new RelayAppends({
      bus: {
        bytesMax: () => 100,
        append: (_subject, _data, id, done = () => {}) => {
          ids.push(id)
          done(result)
        }
      },
      leases: { epochOf: () => epoch },
      id: "r0",
      now: () => nowMs
    })
  }

  beforeEach(() => {
    nowMs = 0
    epoch = 5
    result = taken
    shorts = 0
    ids = []
    appends = make()
    append = appends.of({ name: "w0", model: "m" }, () => shorts++)
  })

  const batch = (bytes = 10) => append(LogEntry.BATCH, 1, new Uint8Array(bytes))
  const judge = () => appends.judge(nowMs)

  it("names a batch by what it is, and every sign anew", () => {
    batch()
    batch()
    append(LogEntry.CONNECTED)
    append(LogEntry.CONNECTED)
    expect(new Set(ids).size).toBe(3)
    expect(appends).toMatchObject({ appended: 4, failures: 0, underWay: 0 })
  })

  it("says what the log lacks: what was not taken, is too large, or came without a lease", () => {
    result = failed("late")
    batch()
    result = taken
    batch(200)
    epoch = null
    batch()
    expect([shorts, appends.failures, ids.length]).toEqual([3, 2, 1])
  })

  it("gives up when for five seconds whatever it tried was refused, and tries again half a minute later", () => {
    result = failed("refused")
    for (; nowMs < 5_000; nowMs += 1_000) {
      batch()
      expect(judge()).toBe("nothing")
    }
    batch()
    expect(judge()).toBe("give up")
    nowMs += 29_999
    expect(judge()).toBe("nothing")
    nowMs += 1
    expect(judge()).toBe("have again")
    expect(judge()).toBe("nothing")
  })

  it("does not give up for one that failed before nothing was to be told, nor for a broker out of reach or a large one", () => {
    result = failed("late")
    batch()
    nowMs += 60_000
    expect(judge()).toBe("nothing")
    result = failed("away")
    batch()
    batch(200)
    expect(judge()).toBe("nothing")
  })

  it("does not give up where something was taken meanwhile", () => {
    for (; nowMs < 20_000; nowMs += 1_000) {
      result = nowMs % 4_000 === 0 ? taken : failed("late")
      batch()
      expect(judge()).toBe("nothing")
    }
  })
})
