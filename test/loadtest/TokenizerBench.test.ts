import { assert, describe, it } from "vitest"
import { run } from "../../loadtest/micro/Tokenizer.bench.ts"

describe("npm run bench, tokenizer", () => {
  it("measures every encoder on one conversation, and all give the same ids", async () => {
    const { agree, cases, compared } = await run({ cellMs: 5, repeats: 1 })
    assert.isTrue(agree)
    assert.strictEqual(compared, 3)
    assert.strictEqual(cases.length, 6)
    for (const { name, value } of cases) assert.isTrue(Number.isFinite(value) && value >= 0, `${name} is ${value}`)
  })
})
