import { describe, expect, it } from "vitest"
import type { Exchange } from "../../src/http/Exchange.ts"
import * as ReceiptOf from "../../src/http/ReceiptOf.ts"
import type * as Request from "../../src/http/Request.ts"
import type { Outcome } from "../../src/http/Upstream.ts"
import * as RequestPath from "./RequestPath.ts"

const known: NonNullable<Request.Deps["witness"]>["known"] = (slot, blocks) => ({
  ...{ name: `w${slot}`, trust: "approximate", heardAgoMs: null, blocks, blockSize: 16 }
})

/** An exchange nobody reads the answer of. */
const exchangeOf = (body: unknown, endpoint = "completions") => {
  const statuses: Array<number> = []
  const exchange: Exchange = {
    ...{ method: "POST", target: `/v1/${endpoint}`, path: `/v1/${endpoint}`, header: () => undefined, headers: [] },
    ...{ body: Buffer.from(JSON.stringify(body)), remoteAddress: "", gone: false, started: false, framed: false },
    reply: (status) => void statuses.push(status),
    ...{ onAbort: () => {}, begin: () => {}, write: () => true, onDrain: () => {}, finish: () => {}, destroy: () => {} }
  }
  return { exchange, statuses }
}

const words = (count: number) => "and so on ".repeat(count)
const failed = (reason: string): Outcome => ({ kind: "failed", sent: false, code: "connect", reason })

const answered = (cachedTokens: number, promptTokens: number) =>
  Buffer.from(
    JSON.stringify({
      choices: [],
      usage: {
        prompt_tokens: promptTokens,
        completion_tokens: 3,
        prompt_tokens_details: { cached_tokens: cachedTokens }
      }
    })
  )

/** Depths of every prompt: by layer, of slot 0 and slot 1. */
const heldBy = (layers: ReadonlyArray<readonly [number, number]>): Partial<Request.Deps> => ({
  depths: (_keys, _count, out) => {
    out.fill(0)
    for (const [layer, [first, second]] of layers.entries()) out.set([first, second], layer * 4)
    return layers.length > 1
  }
})

const setUp = (deps: Partial<Request.Deps> = {}, most = 32) =>
  RequestPath.setUp({ deps: { witness: { known, most }, ...deps } })

describe("the receipt of a request", () => {
  it("has a try for each worker, with those left to choose from, and an offset for each moment", () => {
    const { forwards, handle, records } = setUp()
    handle(exchangeOf({ model: "m", prompt: words(100) }).exchange)
    forwards[0]!.onEnd(failed("it refused"))
    forwards[1]!.onHead!(200, () => undefined)
    forwards[1]!.onBytes!(answered(0, 250))
    forwards[1]!.onEnd({ kind: "complete", status: 200 })
    const { outcome, tries } = ReceiptOf.receiptOf(records[0]!, "eta")
    expect([outcome, tries.length]).toEqual(["ok", 2])
    expect(tries.map(({ end }) => end)).toEqual(["failed before its first byte: it refused", "answered 200"])
    expect(tries.map(({ candidates }) => candidates.map(({ worker }) => worker))).toEqual([["w0", "w1"], ["w1"]])
    expect(tries[0]!.candidates.map(({ lost }) => lost)).toEqual([null, "a tie: it was not its turn"])
    expect(tries[1]!.atMs).toBeGreaterThanOrEqual(tries[0]!.endMs!)
    expect([tries[0]!.firstByteMs, tries[0]!.deliveredTokens, tries[1]!.deliveredTokens]).toEqual([null, null, 0])
    expect(ReceiptOf.lineOf(records[0]!)).toMatchObject({ worker: "w1", outcome: "ok", deliveredTokens: 0 })
  })

  it("has what each worker holds within reach of each tier, and what was given away", () => {
    // 1 000 bytes of text are 15 blocks: nearly all on a disk of the first worker, four on the device of the second.
    const { forwards, handle, records } = setUp(
      heldBy([
        [0, 4],
        [2, 4],
        [14, 4],
        [14, 4],
        [0, 3]
      ])
    )
    handle(exchangeOf({ model: "m", prompt: words(100) }).exchange)
    forwards[0]!.onHead!(200, () => undefined)
    forwards[0]!.onBytes!(answered(32, 250))
    forwards[0]!.onEnd({ kind: "complete", status: 200 })
    const { exact, promptTokens, regret, tries } = ReceiptOf.receiptOf(records[0]!, "eta")
    const [only] = tries
    const held = Object.fromEntries(only!.candidates.map(({ heldTokens, worker }) => [worker, heldTokens]))
    expect(held).toEqual({
      w0: { device: 0, host: 32, disk: 224, external: 224, guess: 0 },
      w1: { device: 64, host: 64, disk: 64, external: 64, guess: 48 }
    })
    expect([exact, promptTokens, only!.bestTokens]).toEqual([false, 250, 224])
    expect(regret).toEqual({ choiceTokens: 224 - only!.predictedTokens, pictureTokens: only!.predictedTokens - 32 })
  })

  it("says nothing of delivered tokens of several prompts, for engines report but one", () => {
    const { forwards, handle, records } = setUp(heldBy([[2, 1]]))
    handle(exchangeOf({ model: "m", prompt: [words(100), words(50)] }).exchange)
    forwards[0]!.onHead!(200, () => undefined)
    forwards[0]!.onBytes!(answered(16, 250))
    forwards[0]!.onEnd({ kind: "complete", status: 200 })
    const { prompts, regret, tries } = ReceiptOf.receiptOf(records[0]!, "eta")
    expect([prompts, tries[0]!.predictedTokens, tries[0]!.deliveredTokens]).toEqual([2, 64, null])
    expect(regret).toEqual({ choiceTokens: 0, pictureTokens: null })
  })

  it("judges by the engine's own tokens what was predicted of a prompt that was matched by its text", () => {
    const { forwards, handle, records } = setUp(heldBy([[10, 0]]))
    handle(exchangeOf({ model: "m", prompt: words(100) }).exchange)
    forwards[0]!.onHead!(200, () => undefined)
    // Taken for 250 tokens, it has 500: of 160 predicted it should find 320.
    forwards[0]!.onBytes!(answered(300, 500))
    forwards[0]!.onEnd({ kind: "complete", status: 200 })
    expect(ReceiptOf.receiptOf(records[0]!, "eta").regret).toEqual({ choiceTokens: 0, pictureTokens: 20 })
  })

  it("counts the candidates it left out, and keeps the one chosen", () => {
    const { forwards, handle, records } = setUp({}, 1)
    for (let i = 0; i < 2; i++) {
      handle(exchangeOf({ model: "m", prompt: words(100) }).exchange)
      forwards[i]!.onEnd({ kind: "clientGone", sent: false })
      const { outcome, tries } = ReceiptOf.receiptOf(records[i]!, "eta")
      expect([outcome, tries[0]!.others, tries[0]!.candidates.length]).toEqual(["cancelled", 1, 1])
      expect(tries[0]!.candidates[0]).toMatchObject({ worker: tries[0]!.worker, lost: null })
      expect(tries[0]!.end).toBe("its client left before the first byte")
    }
  })

  it("is whole without a decision, and without a try", () => {
    const { forwards, handle, records, routes } = RequestPath.setUp()
    handle(exchangeOf({ model: "m", prompt: words(100) }).exchange)
    forwards[0]!.onEnd({ kind: "complete", status: 400 })
    const route = routes.get("m")!
    routes.set("m", { ...route, eligible: new Uint8Array(2), eligibleCount: 0, states: "2 open" })
    const { exchange, statuses } = exchangeOf({ model: "m", prompt: words(100) })
    handle(exchange)
    const [refused, missing] = records.map((record) => ReceiptOf.receiptOf(record, "eta"))
    expect(refused).toMatchObject({ outcome: "client_error", status: 400, missing: null })
    expect(refused!.tries[0]).toMatchObject({ worker: "w0", candidates: [], decision: null, others: 2 })
    expect([statuses, missing!.outcome, missing!.missing]).toEqual([[503], "missing", "2 open"])
    expect([missing!.tries, missing!.regret, missing!.phases.place]).toEqual([[], null, null])
    // Everything of it can be written down.
    for (const receipt of [refused, missing]) expect(JSON.parse(JSON.stringify(receipt))).toEqual(receipt)
  })
})
