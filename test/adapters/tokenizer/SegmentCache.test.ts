import { describe, expect, it } from "vitest"
import * as SegmentCache from "../../../src/adapters/tokenizer/SegmentCache.ts"

const put = (cache: SegmentCache.SegmentCache, segment: string, count: number): void =>
  cache.set(
    cache.key(segment),
    Uint32Array.from({ length: count }, (_, i) => i)
  )
const lookUp = (cache: SegmentCache.SegmentCache, segment: string) => cache.get(cache.key(segment))

describe("SegmentCache", () => {
  it("finds equal segments, short and long, however they were cut", () => {
    const cache = SegmentCache.make(1_000_000)
    for (const segment of ["a", "東京", "x".repeat(1024), "x".repeat(1025), "y東".repeat(50_000)]) {
      put(cache, `<${segment}>`.slice(1, -1), segment.length % 7)
      expect(lookUp(cache, segment)?.length).toBe(segment.length % 7)
    }
    expect(lookUp(cache, "b")).toBe(undefined)
    expect(lookUp(cache, "x".repeat(1026))).toBe(undefined)
  })

  it("has no key that another segment could equal", () => {
    const cache = SegmentCache.make(1_000_000)
    expect(cache.key("z".repeat(5000)).isWellFormed()).toBe(false)
    expect(cache.key("z".repeat(5000)).length).toBeLessThan(64)
    expect(cache.key("z")).toBe("z")
  })

  it("stays within its bytes and drops what was not used for longest", () => {
    const cache = SegmentCache.make(10_000)
    for (let i = 0; i < 100; i++) {
      put(cache, `segment ${i}`, 200)
      expect(lookUp(cache, "segment 0")).toBeDefined()
      expect(cache.bytes()).toBeLessThanOrEqual(10_000)
    }
    expect(cache.entries()).toBeGreaterThan(5)
    expect(lookUp(cache, "segment 50")).toBe(undefined)
    expect(lookUp(cache, "segment 99")).toBeDefined()
  })

  it("counts keys at their width, and takes nothing larger than itself", () => {
    const narrow = SegmentCache.make(10_000)
    const wide = SegmentCache.make(10_000)
    put(narrow, "n".repeat(1000), 1)
    put(wide, "東".repeat(1000), 1)
    expect(wide.bytes() - narrow.bytes()).toBe(1000)
    put(narrow, "huge", 5000)
    expect(lookUp(narrow, "huge")).toBe(undefined)
    expect(narrow.bytes()).toBeLessThanOrEqual(10_000)
  })
})
