import { describe, expect, it } from "vitest"
import type { Block } from "../../../loadtest/fleet/CacheEvent.ts"
import { Offload } from "../../../loadtest/fleet/Offload.ts"

const block = (key: string): Block => ({
  key,
  digest: Buffer.from(key),
  published: 0n,
  parent: null,
  tokenIds: [],
  salt: null,
  lora: null,
  mm: []
})

const harness = (host: number, disk: number) => {
  const heard: Array<string> = []
  const offload = new Offload(
    { host, disk, external: 0 },
    {
      stored: (tier, { key }) => heard.push(`${tier}+${key}`),
      removed: (tier, { key }) => heard.push(`${tier}-${key}`)
    }
  )
  return { offload, heard }
}

describe("Offload", () => {
  it("takes what the device gives up, and passes the least recently used on to the disk before it lets go", () => {
    const { heard, offload } = harness(2, 1)
    for (const key of ["a", "b", "c"]) offload.take(block(key))
    expect(heard).toEqual(["host+a", "host+b", "host+c", "disk+a", "host-a"])
    offload.take(block("d"))
    expect(heard.slice(5)).toEqual(["host+d", "disk+b", "disk-a", "host-b"])
    expect(["a", "b", "c", "d"].map((key) => offload.holds(key))).toEqual([false, true, true, true])
  })

  it("keeps what is used again longer, and takes no second copy", () => {
    const { heard, offload } = harness(2, 0)
    for (const key of ["a", "b"]) offload.take(block(key))
    expect([offload.use("a"), offload.use("x")]).toEqual([true, false])
    offload.take(block("a"))
    offload.take(block("c"))
    expect(heard).toEqual(["host+a", "host+b", "host+c", "host-b"])
    expect([offload.has("host", "a"), offload.has("disk", "a")]).toEqual([true, false])
  })

  it("goes straight to disk without a host tier, and nowhere without either", () => {
    const straight = harness(0, 1)
    straight.offload.take(block("a"))
    expect(straight.heard).toEqual(["disk+a"])
    const nowhere = harness(0, 0)
    nowhere.offload.take(block("a"))
    expect([nowhere.heard, nowhere.offload.holds("a")]).toEqual([[], false])
  })

  it("holds a block throughout that comes to the host while the disk lets go of it", () => {
    const gone: Array<boolean> = []
    const offload: Offload = new Offload(
      { host: 1, disk: 1, external: 0 },
      {
        stored: () => undefined,
        removed: (_, { key }) => gone.push(offload.holds(key))
      }
    )
    for (const key of ["a", "b", "a"]) offload.take(block(key))
    expect([gone, offload.has("host", "a"), offload.has("disk", "b")]).toEqual([[true, true, true], true, true])
  })

  it("forgets everything silently", () => {
    const { heard, offload } = harness(1, 1)
    offload.take(block("a"))
    offload.clear()
    expect([heard, offload.holds("a")]).toEqual([["host+a"], false])
  })
})
