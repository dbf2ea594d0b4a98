import { assert, describe, it } from "@effect/vitest"
import { CachedTokens } from "../../src/http/CachedTokens.ts"

const usage = (cachedTokens: number | null) => ({ promptTokens: 100, completionTokens: 5, cachedTokens })

describe("CachedTokens", () => {
  it("takes silence for nothing found once a worker has told of a hit in answers of that kind", () => {
    const tokens = new CachedTokens()
    const [worker, other] = [{}, {}]
    const life = { startedAtMs: 1 }
    const read = (spec: object, kind: string, cached: number | null, facts = life) =>
      tokens.read(spec, facts, kind, usage(cached)).cachedTokens
    assert.isNull(read(worker, "chat", null))
    assert.strictEqual(read(worker, "chat", 0), 0)
    assert.isNull(read(worker, "chat", null))
    assert.strictEqual(read(worker, "chat", 64), 64)
    assert.strictEqual(read(worker, "chat", null), 0)
    assert.isNull(read(worker, "completions", null))
    assert.isNull(read(other, "chat", null))
    // Another process may have been started without the flag.
    assert.isNull(read(worker, "chat", null, { startedAtMs: 2 }))
  })
})
