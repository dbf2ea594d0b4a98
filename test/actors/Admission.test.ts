import { describe, expect, it } from "vitest"
import * as Admission from "../../actors/Admission.ts"
import * as Ledger from "../../actors/Ledger.ts"

const workersMax = 4

/** A ledger whose workers take 100 ms of prefill for 1 000 tokens, and a clock. */
const stage = (workers: number, waitingMax = 100) => {
  const ledger = Ledger.make({ policy: "eta", workersMax })
  for (let slot = 0; slot < workers; slot++) ledger.join(slot, null)
  let nowMs = 0
  let due: Array<{ readonly atMs: number; readonly run: (nowMs: number) => void }> = []
  const admission = Admission.make({
    ledger,
    workersMax,
    waitingMax,
    after: (ms, run) => void due.push({ atMs: nowMs + ms, run })
  })
  const ask = (promptTokens: number, priority: number | null = null): Ledger.Ask => ({
    cachedTokens: new Uint32Array(workersMax),
    heldTokens: new Uint32Array(workersMax),
    promptTokens,
    keys: new Int32Array(0),
    blockSize: 16,
    priority,
    eligible: null
  })
  const sent: Array<{ readonly name: string; readonly slot: number; readonly booking: Ledger.Booking }> = []
  const request = (name: string, promptTokens: number, priority: number | null = null) => {
    const guest = admission.guest(nowMs, priority, () => attempt())
    const attempt = () => {
      const asked = ask(promptTokens, priority)
      if (admission.holds(guest, asked, nowMs)) return
      const slot = ledger.place(asked, nowMs)
      sent.push({ name, slot, booking: ledger.book(slot, asked, true, nowMs) })
    }
    attempt()
    return guest
  }
  const pass = (ms: number) => {
    for (const end = nowMs + ms; nowMs < end; ) {
      nowMs++
      const now = due.filter(({ atMs }) => atMs <= nowMs)
      due = due.filter(({ atMs }) => atMs > nowMs)
      for (const { run } of now) run(nowMs)
    }
  }
  /** The first token of the oldest request sent that has none, then its end. */
  const answer = () => {
    const { booking } = sent.find((each) => !answered.has(each))!
    answered.add(sent.find((each) => each.booking === booking)!)
    booking.firstByte(nowMs)
    booking.settle(nowMs, { outputTokens: 10, cachedTokens: 0, outcome: "complete" })
  }
  const answered = new Set<unknown>()
  return { admission, answer, pass, request, sent, names: () => sent.map(({ name }) => name), due: () => due.length }
}

describe("Admission", () => {
  it("sends all at once while workers are idle, and asks for no time", () => {
    const { due, names, request } = stage(3)
    for (const name of ["a", "b", "c"]) request(name, 8_000)
    expect(names()).toEqual(["a", "b", "c"])
    expect(due()).toBe(0)
  })

  it("keeps those that would only queue, and lets a short one pass a long one", () => {
    const { admission, answer, names, pass, request } = stage(1)
    request("first", 20_000)
    request("long", 30_000)
    pass(50)
    request("short", 200)
    expect(names()).toEqual(["first"])
    expect(admission.waiting()).toBe(2)
    answer()
    pass(20)
    expect(names().slice(0, 2)).toEqual(["first", "short"])
    answer()
    pass(20)
    expect(names()).toEqual(["first", "short", "long"])
    expect(admission.waiting()).toBe(0)
  })

  it("sends who waits to whichever worker is free first", () => {
    const { pass, request, sent } = stage(2)
    request("a", 20_000)
    request("b", 20_000)
    request("c", 20_000)
    expect(sent).toHaveLength(2)
    const other = sent[1]!
    other.booking.firstByte(1)
    other.booking.settle(1, { outputTokens: 1, cachedTokens: 0, outcome: "complete" })
    pass(20)
    expect([sent[2]!.name, sent[2]!.slot]).toEqual(["c", other.slot])
  })

  it("counts who waits for a worker, so that not all wait for the same", () => {
    const { admission, request } = stage(2)
    const guests = Array.from({ length: 12 }, (_, i) => request(`${i}`, 20_000)).filter(({ held }) => held)
    expect(admission.waiting()).toBe(guests.length)
    const per = [0, 1].map((slot) => guests.filter((guest) => guest.slot === slot).length)
    expect(Math.abs(per[0]! - per[1]!)).toBeLessThanOrEqual(1)
  })

  it("sends an urgent one before all others", () => {
    const { answer, names, pass, request } = stage(1)
    request("first", 20_000)
    request("short", 200)
    request("urgent", 30_000, -5)
    answer()
    pass(20)
    expect(names().slice(0, 2)).toEqual(["first", "urgent"])
  })

  it("lets nobody wait for longer than half a minute, whatever the worker does", () => {
    const { names, pass, request } = stage(1)
    request("first", 500_000)
    request("second", 20_000)
    pass(29_000)
    expect(names()).toEqual(["first"])
    pass(1_100)
    expect(names()).toEqual(["first", "second"])
  })

  it("forgets one whose client has gone", () => {
    const { admission, answer, names, pass, request } = stage(1)
    request("first", 20_000)
    const gone = request("gone", 20_000)
    admission.leave(gone)
    expect([admission.waiting(), gone.held]).toEqual([0, false])
    answer()
    pass(100)
    expect(names()).toEqual(["first"])
  })

  it("holds so many and no more, and nobody where that is none", () => {
    const few = stage(1, 2)
    for (let i = 0; i < 6; i++) few.request(`${i}`, 20_000)
    expect([few.admission.waiting(), few.sent.length]).toEqual([2, 4])
    const off = stage(1, 0)
    for (let i = 0; i < 6; i++) off.request(`${i}`, 20_000)
    expect([off.admission.waiting(), off.sent.length]).toEqual([0, 6])
  })
})
