import { assert, describe, it } from "@effect/vitest"
import * as Delivery from "../../actors/Delivery.ts"

const blockSize = 16
const finished: Delivery.Finished = {
  prompts: 1,
  promptTokens: 1_000,
  exact: true,
  predictedTokens: 960,
  deliveredTokens: 960,
  evictedBlocks: 0,
  reportedPromptTokens: 1_000
}

describe("Delivery", () => {
  it("compares estimates in the engine's tokens, and what was counted as it is", () => {
    const dense = { ...finished, promptTokens: 2_000, predictedTokens: 1_900 }
    assert.strictEqual(Delivery.scale({ ...dense, exact: false }), 0.5)
    assert.strictEqual(Delivery.scale(dense), 1)
    assert.strictEqual(Delivery.scale({ ...dense, exact: false, reportedPromptTokens: null }), 1)
    assert.strictEqual(Delivery.scale({ ...dense, exact: false, promptTokens: 0 }), 1)
  })

  it("expects a block of two that were computed, and none of a last one computed again", () => {
    const of = (deliveredTokens: number) => Delivery.stored({ ...finished, deliveredTokens }, true, true, blockSize)
    assert.deepStrictEqual([of(968), of(969), of(992)], [true, false, false])
    assert.isFalse(
      Delivery.stored({ ...finished, reportedPromptTokens: null, deliveredTokens: 0 }, true, true, blockSize)
    )
  })

  it("expects none of many prompts that may all have been short", () => {
    const many = { ...finished, prompts: 100, promptTokens: 3_100, reportedPromptTokens: 3_100, deliveredTokens: 0 }
    assert.isFalse(Delivery.stored(many, true, true, blockSize))
    assert.isTrue(Delivery.stored({ ...many, reportedPromptTokens: 3_200 }, true, true, blockSize))
  })

  it("goes by the prediction where the engine does not report, if the picture is complete and the prompt was counted", () => {
    const of = (more: Partial<Delivery.Finished>, complete: boolean) =>
      Delivery.stored({ ...finished, deliveredTokens: null, ...more }, false, complete, blockSize)
    assert.isTrue(of({ predictedTokens: 512 }, true))
    assert.isFalse(of({ predictedTokens: 992 }, true))
    assert.isFalse(of({ predictedTokens: 512 }, false))
    assert.isFalse(of({ predictedTokens: 512, exact: false }, true))
  })
})
