import { describe, expect, it } from "vitest"
import type { Block, CacheEvent } from "../../../loadtest/fleet/CacheEvent.ts"
import { type Announced, SlidingWindow } from "../../../loadtest/fleet/SlidingWindow.ts"

const blocks = (names: string): ReadonlyArray<Block> =>
  [...names].map((key) => ({
    key,
    digest: Buffer.from(key),
    published: 0n,
    parent: null,
    tokenIds: [1, 2, 3, 4],
    salt: null,
    lora: null,
    mm: []
  }))

const told = (events: ReadonlyArray<CacheEvent>): ReadonlyArray<string> =>
  events.map((event) => {
    if (event._tag === "Cleared") return "!"
    if (event._tag === "Removed") return `-${event.block.key}`
    return `+${event.windowed!.map(({ key }) => key).join("")} of ${event.blocks.map(({ key }) => key).join("")}`
  })

describe("SlidingWindow", () => {
  it("announces what lies in the window, and takes it back when the window has passed", () => {
    const window = new SlidingWindow(8)
    const kept: Array<Announced> = []
    // Ten are computed and eight seen, so the end of the first block still is.
    expect(told(window.stored(kept, blocks("ab"), 0, 10))).toEqual(["+ab of ab"])
    expect(told(window.stored(kept, blocks("c"), 8, 12))).toEqual(["-a", "+c of c"])
    expect(told(window.stored(kept, blocks("d"), 12, 16))).toEqual(["-b", "+d of d"])
  })

  it("announces only the end of a chunk longer than the window", () => {
    const window = new SlidingWindow(8)
    expect(told(window.stored([], blocks("abcde"), 0, 20))).toEqual(["+de of abcde"])
  })

  it("takes back what is left of a block when its last copy is evicted, once for each announcement", () => {
    const window = new SlidingWindow(8)
    window.stored([], blocks("a"), 0, 4)
    window.stored([], blocks("a"), 0, 4)
    expect(told(window.evicted(blocks("a")[0]!))).toEqual(["-a", "-a"])
    expect(told(window.evicted(blocks("a")[0]!))).toEqual([])
  })
})
