import { describe, expect, it } from "vitest"
import * as Receipts from "../../actors/Receipts.ts"
import * as Random from "../../loadtest/Random.ts"
import type { Receipt, ReceiptLine, ReceiptOutcome } from "../../src/domain/Receipt.ts"

interface Record {
  readonly id: string
  readonly worker: string
  readonly outcome: ReceiptOutcome
  readonly n: number
}

const setUp = (max: number) => {
  const failed: Array<unknown> = []
  let lines = 0
  const receipts = Receipts.make<Record>({
    max,
    id: ({ id }) => id,
    receipt: ({ id, n }) => ({ id, totalMs: n }) as Receipt,
    line: ({ id, outcome, worker }) => {
      lines++
      return { id, worker, outcome } as ReceiptLine
    },
    failed: (defect) => void failed.push(defect)
  })
  return { receipts, failed, linesMade: () => lines }
}

const record = (id: string, n = 0, worker = "w", outcome: ReceiptOutcome = "ok"): Record => ({ id, n, worker, outcome })

describe("Receipts", () => {
  it("keep the newest, and find of equal ids the newest, as a plain list would", () => {
    const random = Random.make(3)
    for (const max of [1, 2, 7, 50]) {
      const { receipts } = setUp(max)
      const twin: Array<Record> = []
      for (let n = 0; n < 400; n++) {
        // A client may give many requests one id.
        const next = record(`r${Math.floor(random() * 60)}`, n)
        receipts.add(next)
        twin.unshift(next)
        if (twin.length > max) twin.pop()
        const id = `r${Math.floor(random() * 60)}`
        expect(receipts.find(id)?.totalMs ?? null).toBe(twin.find((each) => each.id === id)?.n ?? null)
      }
      expect(receipts.records()).toEqual(twin)
      expect(receipts.added()).toBe(400)
    }
  })

  it("are listed page by page, those of a worker or an outcome alone if asked for", () => {
    const { linesMade, receipts } = setUp(100)
    for (let n = 0; n < 90; n++) receipts.add(record(`r${n}`, n, `w${n % 3}`, n % 10 === 0 ? "died" : "ok"))
    const pages: Array<string> = []
    for (let before: string | null = null; ; before = pages.at(-1)!) {
      const page = receipts.lines(7, { before, worker: "w0" }).map(({ id }) => id)
      if (page.length === 0) break
      pages.push(...page)
    }
    expect(pages).toEqual(Array.from({ length: 30 }, (_, i) => `r${87 - 3 * i}`))
    expect(receipts.lines(100, { outcome: "died", worker: "w1" }).map(({ id }) => id)).toEqual(["r70", "r40", "r10"])
    receipts.add(record("ranked", 0, "gpu/dp1"))
    receipts.add(record("other", 0, "gpu-2"))
    for (const worker of ["gpu", "gpu/dp1"]) {
      expect(receipts.lines(9, { worker }).map(({ id }) => id)).toEqual(["ranked"])
    }
    // What is older than one that was forgotten was forgotten before it.
    expect(receipts.lines(7, { before: "nobody" })).toEqual([])
    const made = linesMade()
    receipts.lines(5)
    expect(linesMade()).toBe(made + 5)
  })

  it("tell everybody who listens, whoever of them fails", () => {
    const { failed, receipts } = setUp(2)
    const heard: Array<string> = []
    const bad = new Error("the disk is full")
    receipts.listen(() => {
      throw bad
    })
    const stop = receipts.listen(({ id }) => void heard.push(id))
    receipts.add(record("a"))
    stop()
    receipts.add(record("b"))
    expect([heard, failed]).toEqual([["a"], [bad, bad]])
    expect(receipts.find("b")).not.toBe(null)
  })
})
