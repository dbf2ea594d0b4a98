import { describe, expect, it } from "vitest"
import * as Admission from "../../actors/Admission.ts"
import type { Exchange } from "../../src/http/Exchange.ts"
import * as Request from "../../src/http/Request.ts"
import * as RequestPath from "./RequestPath.ts"

const exchangeOf = (tokens: number, model = "m") => {
  const replies: Array<number> = []
  const aborts: Array<() => void> = []
  const exchange: Exchange & { gone: boolean } = {
    method: "POST",
    target: "/v1/completions",
    path: "/v1/completions",
    header: () => undefined,
    headers: [],
    body: Buffer.from(JSON.stringify({ model, stream: true, prompt: Array.from({ length: tokens }, (_, i) => i) })),
    remoteAddress: "",
    gone: false,
    started: false,
    reply: (status: number) => void replies.push(status),
    onAbort: (fn: () => void) => void aborts.push(fn),
    framed: false,
    begin: () => {},
    write: () => true,
    onDrain: () => {},
    finish: () => {},
    destroy: () => {}
  }
  const leave = () => {
    exchange.gone = true
    for (const fn of aborts.splice(0)) fn()
  }
  return { exchange, leave, replies }
}

/** One worker that has been sent a long prompt, and a request that waits for its turn. */
const setUp = () => {
  let nowMs = 1_000
  let due: Array<(nowMs: number) => void> = []
  const path = RequestPath.setUp({ workers: [{}], deps: { now: () => nowMs } })
  const admission = Admission.make({
    ledger: path.ledger,
    workersMax: path.deps.workersMax,
    waitingMax: 100,
    after: (_ms, run) => void due.push(run)
  })
  const deps: { -readonly [Name in keyof Request.Deps]: Request.Deps[Name] } = { ...path.deps, admission }
  const handle = Request.make(deps)
  const turn = () => {
    nowMs += Admission.turnMs
    const now = due
    due = []
    for (const run of now) run(nowMs)
  }
  const first = exchangeOf(50_000)
  handle(first.exchange)
  const waiting = exchangeOf(30_000)
  handle(waiting.exchange)
  expect([admission.waiting(), path.forwards.length]).toEqual([1, 1])
  const end = () => path.forwards[0]!.onEnd({ kind: "clientGone", sent: false })
  return { ...path, admission, deps, due: () => due.length, end, handle, turn, waiting }
}

describe("a request that waits for its turn", () => {
  it("is sent once, and settled once", () => {
    const { admission, due, end, forwards, records, turn, waiting } = setUp()
    turn()
    expect(forwards).toHaveLength(1)
    end()
    for (let i = 0; i < 5; i++) turn()
    expect([forwards.length, admission.waiting(), due()]).toEqual([2, 0, 0])
    forwards[1]!.onEnd({ kind: "complete", status: 200 })
    waiting.leave()
    turn()
    const [record, ...others] = records.filter(({ promptTokens }) => promptTokens === 30_000)
    expect([record!.outcome, record!.tries, others]).toEqual(["complete", 1, []])
    // Its turn is no time of the router's own.
    expect([record!.trail.waitedMs, record!.decisionMs]).toEqual([2 * Admission.turnMs, 0])
  })

  it("is over, once, when its client goes", () => {
    const { admission, end, forwards, idle, records, turn, waiting } = setUp()
    turn()
    waiting.leave()
    end()
    for (let i = 0; i < 5; i++) turn()
    const own = records.filter(({ promptTokens }) => promptTokens === 30_000)
    expect(own.map(({ outcome, tries, trail }) => [outcome, tries, trail.waitedMs])).toEqual([["clientGone", 0, 10]])
    expect([forwards.length, admission.waiting(), waiting.replies, idle()]).toEqual([1, 0, [], true])
  })

  it("is refused, once, when all workers leave meanwhile, or its model does", () => {
    for (const empties of [true, false]) {
      const { admission, forwards, ledger, records, routes, turn, waiting } = setUp()
      if (empties) {
        ledger.leave(0)
        routes.set("m", { ...routes.get("m")!, eligible: new Uint8Array(1), eligibleCount: 0, states: "1 gone" })
      } else {
        routes.delete("m")
      }
      for (let i = 0; i < 5; i++) turn()
      const own = records.filter(({ promptTokens }) => promptTokens === 30_000)
      expect(own.map(({ outcome, status, tries }) => [outcome, status, tries])).toEqual([["failed", 503, 0]])
      expect([forwards.length, admission.waiting(), waiting.replies]).toEqual([1, 0, [503]])
    }
  })

  it("goes to the model that its alias means by then", () => {
    const { end, forwards, routes, turn } = setUp()
    routes.set("m", { ...routes.get("m")!, served: "n" })
    end()
    turn()
    expect(forwards[1]!.body.toString("latin1").startsWith('{"model":"n"')).toBe(true)
  })

  it("is answered where the router breaks on its turn, and others have theirs", () => {
    const { admission, deps, end, forwards, handle, idle, refused, turn, waiting } = setUp()
    const other = exchangeOf(30_000)
    handle(other.exchange)
    const { forward } = deps
    deps.forward = () => {
      deps.forward = forward
      throw new Error("broken")
    }
    end()
    for (let i = 0; i < 5; i++) turn()
    expect([waiting.replies, other.replies, refused]).toEqual([[500], [], [500]])
    expect([forwards.length, admission.waiting()]).toEqual([2, 0])
    forwards[1]!.onEnd({ kind: "complete", status: 200 })
    expect(idle()).toBe(true)
  })
})
