import type { IncomingMessage } from "node:http"
import { describe, expect, it } from "vitest"
import type { Prefixes } from "../../src/domain/Live.ts"
import * as AdminPrefixes from "../../src/http/AdminPrefixes.ts"
import { blocksMax, RecentPrompts } from "../../src/http/RecentPrompts.ts"

/** Keys of so many blocks that all prompts of a kind share, and then of one's own. */
const keys = (kind: number, shared: number, own = 0, of = 0): Int32Array =>
  Int32Array.from({ length: 2 * (shared + own) }, (_, i) => {
    const block = i >> 1
    return i % 2 === 0 ? kind * 1_000_000 + block : block < shared ? 0 : of + 1
  })

describe("the hottest prefixes", () => {
  let nowMs = 0
  let asked = 0
  const recent = new RecentPrompts()
  const answer = () => {
    const room = AdminPrefixes.make({
      recent: () => recent.all(),
      // Slot 0 has all of it on its device, slot 1 four blocks there and one more on its host.
      depths: (_, count, out) => {
        asked++
        out.fill(0)
        for (let layer = 0; layer < 5; layer++) {
          out[layer * 4] = layer < 4 ? count : 0
          out[layer * 4 + 1] = layer === 0 ? 4 : layer < 4 ? 5 : 0
        }
        return true
      },
      nameOf: (slot) => ["gpu-1", "gpu-2"][slot],
      workersMax: 4,
      now: () => nowMs
    })
    return () => {
      const reply = room({ method: "GET" } as IncomingMessage, new URL("http://admin/admin/prefixes"), [])
      return (reply as { json: Prefixes }).json
    }
  }

  it("are told with how much of the traffic begins so, and who holds them, nearest tier first", () => {
    for (let i = 0; i < 3; i++) recent.add("m", 16, keys(1, 128, 2, i))
    recent.add("m", 16, keys(2, 5))
    recent.add("m", 16, new Int32Array(0))
    const ask = answer()
    expect(ask()).toEqual({
      requests: 4,
      alone: 1,
      roots: [
        {
          ...{ key: "00000000000f42bf", model: "m", blocks: 128, tokens: 2_048, requests: 3, share: 0.75 },
          holders: [
            { worker: "gpu-1", blocks: 128, layer: 0 },
            { worker: "gpu-2", blocks: 5, layer: 1 }
          ],
          ...{ moreHolders: 0, children: [] }
        }
      ]
    })
    const before = asked
    ask()
    expect(asked).toBe(before)
    nowMs += 1_000
    ask()
    expect(asked).toBeGreaterThan(before)
  })

  it("are those of the newest thousand prompts, of each so many blocks as are kept", () => {
    for (let i = 0; i < 2_500; i++) recent.add("m", 16, keys(3, 600))
    const { requests, roots } = answer()()
    expect(requests).toBe(1_000)
    expect(roots).toMatchObject([{ blocks: blocksMax, requests: 1_000, share: 1 }])
  })
})
