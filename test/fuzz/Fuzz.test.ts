import { describe, expect, it } from "vitest"
import { iterate, noCounts, run } from "./Fuzz.ts"

describe("Fuzzing", () => {
  it("finds no crash and no wrong block in a megabyte and a half of damaged frames and answers", () => {
    const counts = run({ bytes: 750_000, seed: 1 })
    // What it saw was worth seeing: frames that outlived the damage, read both ways.
    expect(counts.batches).toBeGreaterThan(300)
    expect(counts.scanned).toBeGreaterThan(200)
    expect(counts.blocks).toBeGreaterThan(1_000)
    expect(counts.streams).toBeGreaterThan(400)
    expect(counts.answers).toBeGreaterThan(200)
  })

  it("runs one iteration again as it was", () => {
    const [once, again, other] = [noCounts(), noCounts(), noCounts()]
    iterate(7, 42, once)
    iterate(7, 42, again)
    iterate(8, 42, other)
    expect(again).toEqual(once)
    expect(other).not.toEqual(once)
  })
})
