import type { IncomingMessage } from "node:http"
import { Readable } from "node:stream"
import { Effect, Exit, Scope } from "effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as Overflow from "../../actors/Overflow.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import * as AdminExplain from "../../src/http/AdminExplain.ts"
import type { Exchange } from "../../src/http/Exchange.ts"
import type * as Request from "../../src/http/Request.ts"
import type { Forward } from "../../src/http/Upstream.ts"
import * as StateStoreMemory from "../../src/ports/StateStoreMemory.ts"
import * as RequestPath from "./RequestPath.ts"

const prompt = Array.from({ length: 1_605 }, (_, i) => 1_000 + i)
const hasher = BlockHash.make(0n)
const keys = hasher.chain(
  Uint32Array.from(prompt),
  16,
  hasher.root({ model: "m", lora: null, salt: null, blockSize: 16 })
)

const exchangeOf = () => {
  const replies: Array<number> = []
  const exchange = {
    method: "POST",
    target: "/v1/completions",
    path: "/v1/completions",
    header: () => undefined,
    headers: [],
    body: Buffer.from(JSON.stringify({ model: "m", prompt })),
    remoteAddress: "",
    gone: false,
    started: false,
    reply: (status: number) => void replies.push(status),
    onAbort: () => {},
    framed: false,
    begin: () => {},
    write: () => true,
    onDrain: () => {},
    finish: () => {},
    destroy: () => {}
  }
  return { exchange, replies }
}

const turns = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

describe("a request that the index knows nothing of", () => {
  let scope: Scope.Closeable
  beforeEach(() => {
    scope = Scope.makeUnsafe()
  })
  afterEach(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  /** Two workers, of which the second held the whole prompt before this router started. */
  const setUp = async (deps: Partial<Request.Deps> = {}, budgetMs = 60_000) => {
    const client = StateStoreMemory.make().client()
    const { store } = client
    let isOpen = false
    const held: Array<() => void> = []
    const open = () => {
      isOpen = true
      for (const resume of held.splice(0)) resume()
    }
    const overflow = await Effect.runPromise(
      Overflow.make({
        budgetMs: () => budgetMs,
        isShort: () => true,
        now: () => performance.now(),
        store: {
          status: store.status,
          lookup: (...args) =>
            Effect.andThen(
              Effect.callback<void>((resume) => {
                if (isOpen) resume(Effect.void)
                else held.push(() => resume(Effect.void))
              }),
              store.lookup(...args)
            )
        }
      }).pipe(Scope.provide(scope))
    )
    for (const slot of [0, 1]) overflow.join(slot, `w${slot}`)
    await Effect.runPromise(
      Effect.gen(function* () {
        const tenure = yield* store.enter("w1")
        for (let piece = 0; 64 * piece < keys.length; piece++) {
          const own = keys.slice(64 * piece, 64 * piece + 64)
          const told = own.length === 64 ? -1 : 2 ** (own.length / 2) - 1
          const parent = piece === 0 ? null : keys.slice(64 * piece - 2, 64 * piece)
          yield* store.write([{ tenure, layer: 0, stride: 32, piece, parent, keys: own, told, held: told }])
        }
      })
    )
    return { ...RequestPath.setUp({ deps: { overflow, ...deps } }), overflow, open }
  }
  const workerOf = ({ answerHeaders = [] }: Forward) => answerHeaders[answerHeaders.indexOf("x-warmpath-worker") + 1]

  it("goes where the store says its prompt is, and so do those that come while it is asked", async () => {
    const { forwards, handle, open, overflow, records } = await setUp()
    for (let i = 0; i < 4; i++) handle(exchangeOf().exchange as unknown as Exchange)
    expect(forwards.length).toBe(0)
    open()
    await turns()
    expect(forwards.map(workerOf)).toEqual(["w1", "w1", "w1", "w1"])
    forwards[0]!.onEnd({ kind: "complete", status: 200 })
    expect(records[0]).toMatchObject({ predictedTokens: 1_600, worker: "w1" })
    expect(overflow.stats().asked).toBe(1)
  })

  it("is said to go there when an operator asks, and then nothing is sent", async () => {
    const { deps, forwards, open } = await setUp()
    const known = (slot: number, blocks: ReadonlyArray<number>) => ({
      ...{ name: `w${slot}`, trust: "approximate" as const, heardAgoMs: null, blocks, blockSize: 16 }
    })
    const room = AdminExplain.room({ ...deps, bodyBytesMax: 100_000, witness: { known, most: 32 } })
    const headers = { "content-type": "application/json" }
    const request = Object.assign(Readable.from([exchangeOf().exchange.body]), { method: "POST", headers })
    const reply = room(request as unknown as IncomingMessage, new URL("http://x/admin/explain"), [])
    await turns()
    open()
    expect(await reply).toMatchObject({
      status: 200,
      json: {
        promptTokens: 1_605,
        placement: {
          worker: "w1",
          predictedTokens: 1_600,
          candidates: [{ worker: "w1", lost: null }, { worker: "w0" }]
        }
      }
    })
    expect(forwards).toEqual([])
  })

  it("is sent somewhere when the store does not answer in time", async () => {
    const { forwards, handle, overflow } = await setUp({}, 1)
    handle(exchangeOf().exchange as unknown as Exchange)
    await expect.poll(() => forwards.length).toBe(1)
    expect(overflow.stats()).toMatchObject({ asked: 1, late: 1 })
  })

  it("is sent nowhere when its client left meanwhile", async () => {
    const { forwards, handle, idle, open, records } = await setUp()
    const { exchange } = exchangeOf()
    handle(exchange as unknown as Exchange)
    exchange.gone = true
    open()
    await turns()
    expect([forwards.length, records[0]?.outcome, idle()]).toEqual([0, "clientGone", true])
  })

  it("is answered 500 when the router fails after it waited", async () => {
    let matches = 0
    const { handle, idle, open, refused } = await setUp({
      depths: (_keys, _count, out) => {
        if (++matches === 2) throw new Error("a defect")
        out.fill(0)
        return false
      }
    })
    const { exchange, replies } = exchangeOf()
    handle(exchange as unknown as Exchange)
    open()
    await turns()
    expect([replies, refused, idle()]).toEqual([[500], [500], true])
  })
})
