import { describe, expect, it } from "vitest"
import type { FabricAddon } from "../../../src/adapters/rdma/Fabric.ts"
import { Link } from "../../../src/adapters/rdma/Link.ts"
import { Lookups } from "../../../src/adapters/rdma/Lookups.ts"
import * as Wire from "../../../src/adapters/rdma/Wire.ts"

const layersOf = (depth: number): Array<number> => [depth, depth, depth, depth, 0]

/** A link whose node answers as it is told: a lookup, and questions. */
const answering = (reach: { readonly version: number; readonly slot: number }, ask: () => unknown): Link => {
  const link = new Link({
    ...{ fabric: {} as FabricAddon, host: "127.0.0.1", port: 1, provider: "auto", library: null, token: "" },
    ...{ spinUs: null, changed: () => {} }
  })
  const session = { welcome: { session: 1 } } as Link["session"]
  const made: unknown = Object.assign(link, {
    session,
    ask: async () => ask(),
    words: async () => ask(),
    lookup: (...args: Parameters<Link["lookup"]>) => {
      const words = new Int32Array(64)
      const length = Wire.putReach(words, reach.version, [reach.slot], layersOf(4))
      args[4](Wire.reachOf(words.subarray(0, length)), null)
      return () => {}
    }
  })
  return made as Link
}
const lookup = (link: Link) =>
  new Promise((resolve) =>
    new Lookups([link], "rpc").lookup(link, new Int32Array(8), 4, 32, 100, (reach, why) =>
      resolve(reach === null ? why!.reason : reach)
    )
  )
const names = (slotVersion: number, name: string) => ({
  ...{ slotVersion, version: 9, next: null },
  names: [{ slot: 3, name, tenures: [7] }]
})

describe("A lookup that is asked", () => {
  it("tells the names that slots had when it was answered", async () => {
    const link = answering({ version: 5, slot: 3 }, () => names(5, "a"))
    expect(await lookup(link)).toEqual([{ name: "a", blocks: layersOf(4) }])
  })

  it("tells nobody where a slot may be another name's since", async () => {
    const link = answering({ version: 5, slot: 3 }, () => names(6, "b"))
    expect(await lookup(link)).toBe("late")
  })

  it("tells nobody where the names are those of another connection", async () => {
    const link: Link = answering({ version: 5, slot: 3 }, () => {
      link.session = { welcome: { session: 2 } } as Link["session"]
      return names(5, "b")
    })
    expect(await lookup(link)).toBe("away")
  })

  it("ends where a node tells names, or changes them, for ever", async () => {
    const again = answering({ version: 5, slot: 3 }, () => ({ ...names(5, "a"), next: 0 }))
    expect(await lookup(again)).toBe("refused")
    let version = 0
    const changing = answering({ version: 5, slot: 3 }, () => ({
      ...names(5, "a"),
      version: version++,
      next: 1 + version
    }))
    expect(await lookup(changing)).toBe("late")
  })
})

describe("Reading all of a node", () => {
  it.each([0, 7])("ends where it would go on from %i again", async (next) => {
    const words = new Int32Array(Wire.headWords + 1)
    words[Wire.headWords] = next
    const link = answering({ version: 5, slot: 3 }, () => words)
    await expect(link.bulk(7, 100)).rejects.toMatchObject({ reason: "refused" })
  })
})
