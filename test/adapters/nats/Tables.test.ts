import type { StreamInfo } from "@nats-io/jetstream"
import { describe, expect, it } from "vitest"
import { hearing } from "../../../src/adapters/nats/Tables.ts"

/** A bucket's stream as it was when reading began. */
const streamOf = (messages: number, last: number) => ({ state: { messages, last_seq: last } }) as unknown as StreamInfo

const watching = () => {
  const heard: Array<string> = []
  const hears = hearing((subject) => subject, {
    all: (rows) => void heard.push(`all ${rows.map(({ key, revision }) => `${key}@${revision}`).join(" ")}`),
    changed: ({ key, revision }) => void heard.push(`${key}@${revision}`),
    removed: (key) => void heard.push(`-${key}`)
  })
  const message = (subject: string, seq: number, pending: number, operation = "") =>
    hears.message({ subject, seq, pending, operation, stamp: String(seq), data: new Uint8Array() })
  return { heard, hears, message }
}

describe("rows of a table", () => {
  it("are all there when nothing more is to come", () => {
    const { heard, hears, message } = watching()
    hears.from(streamOf(2, 5))
    message("a", 3, 1)
    expect(heard).toEqual([])
    message("b", 5, 0)
    message("a", 6, 0)
    expect(heard).toEqual(["all a@3 b@5", "a@6"])
  })

  it("are all there though the server says for ever that one more is to come", () => {
    const { heard, hears, message } = watching()
    hears.from(streamOf(3, 27))
    // What 2.9.10 sends where rows are written as the consumer is made.
    for (const pending of [5, 4, 3]) message("a", 38, pending)
    message("b", 41, 2)
    message("c", 43, 1)
    message("a", 48, 3)
    expect(heard).toEqual(["all a@38 b@41 c@43", "a@48"])
  })

  it("are not all there while one that was written anew is still to come", () => {
    const { heard, hears, message } = watching()
    hears.from(streamOf(3, 5))
    message("b", 4, 2)
    message("c", 5, 1)
    expect(heard).toEqual([])
    message("a", 6, 1)
    expect(heard).toEqual(["all b@4 c@5 a@6"])
  })

  it("are not all there while some are to come, though the server says that nothing is", () => {
    const { heard, hears, message } = watching()
    hears.from(streamOf(3, 5))
    message("b", 5, 0)
    message("a", 6, 1)
    expect(heard).toEqual([])
    message("c", 7, 0)
    expect(heard).toEqual(["all b@5 a@6 c@7"])
  })

  it("count where they were removed, and are not told", () => {
    const { heard, hears, message } = watching()
    hears.from(streamOf(2, 5))
    message("a", 4, 2, "DEL")
    message("b", 5, 1)
    expect(heard).toEqual(["all b@5"])
  })

  it("are none where nothing comes", () => {
    const { heard, hears } = watching()
    hears.from(streamOf(0, 9))
    hears.idle()
    hears.idle()
    expect(heard).toEqual(["all "])
  })
})
