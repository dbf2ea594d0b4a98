import { describe, expect, it } from "vitest"
import type { Chain } from "../../src/doctor/Chains.ts"
import type { Probe } from "../../src/doctor/Seen.ts"
import * as Tokens from "../../src/doctor/Tokens.ts"

const ids = (...all: ReadonlyArray<number>) => Uint32Array.from(all)

const probe = (local: Uint32Array | null, promptTokens: number | null, remote: Uint32Array | null = null): Probe => ({
  name: "chat",
  prompt: { _tag: "Text", text: "", addSpecialTokens: true },
  salt: null,
  local,
  remote,
  sentAtMs: 100,
  answer: { status: 200, why: "", promptTokens, cachedTokens: null, ms: 1 }
})

const chain = (tokens: ReadonlyArray<number>, given: Partial<Chain> = {}): Chain => ({
  ...{ tokens, isRoot: true, blockSize: 2, extra: "", atMs: 101, engineMs: 0 },
  ...given
})

describe("Tokens.compare", () => {
  it("sees the same tokens where full blocks are told, and one that the answer filled", () => {
    expect(Tokens.compare(probe(ids(1, 2, 3, 4, 5), 5), [chain([1, 2, 3, 4])]).verdict).toBe("same")
    expect(Tokens.compare(probe(ids(1, 2, 3, 4, 5), 5), [chain([1, 2, 3, 4, 5, 99])]).verdict).toBe("same")
  })

  it("says where they part", () => {
    const compared = Tokens.compare(probe(ids(1, 2, 3, 4), 4), [chain([1, 2, 3, 9])])
    expect(compared).toMatchObject({ verdict: "different", at: 3 })
    expect(compared.value).toMatch(/token 3 is 4 here, 9 there/)
  })

  it("sees that the end differs, which is in no full block, by the count", () => {
    expect(Tokens.compare(probe(ids(1, 2, 3), 5), [chain([1, 2])])).toMatchObject({ verdict: "different", at: null })
  })

  it("takes an equal count for no proof where events tell of other tokens", () => {
    expect(Tokens.compare(probe(ids(1, 2, 3, 4), 4), [chain([5, 6, 7, 8])]).verdict).toBe("different")
    expect(Tokens.compare(probe(ids(1, 2, 3, 4), 4), []).verdict).toBe("same")
  })

  it("ignores what was told before it was sent, and picks its own among others", () => {
    const chains = [chain([9, 9, 9, 9], { atMs: 50 }), chain([7, 7, 7, 7]), chain([1, 2, 3, 4])]
    expect(Tokens.compare(probe(ids(1, 2, 3, 4), 4), chains).verdict).toBe("same")
  })

  it("knows whether the engine's own /tokenize would do instead", () => {
    const wrong = ids(5, 6)
    const right = ids(1, 2, 3, 4)
    expect(Tokens.compare(probe(wrong, 4, right), [chain([1, 2, 3, 4])])).toMatchObject({ remoteAgrees: true })
    expect(Tokens.compare(probe(wrong, 4, wrong), [chain([1, 2, 3, 4])])).toMatchObject({ remoteAgrees: false })
  })

  it("has nothing to say where nothing tokenises it", () => {
    expect(Tokens.compare(probe(null, 4), [chain([1, 2, 3, 4])]).verdict).toBe("unknown")
  })
})
