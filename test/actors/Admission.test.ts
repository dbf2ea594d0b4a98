import { describe, expect, it } from "vitest"
import * as Admission from "../../actors/Admission.ts"
import * as Ledger from "../../actors/Ledger.ts"

const workersMax = 4

/** A ledger whose workers take 100 ms of prefill for 1 000 tokens, and a clock. */
const stage = (workers: number, waitingMax = 100, capacityTokens: number | null = null) => {
  const ledger = Ledger.make({ policy: "eta", workersMax })
  for (let slot = 0; slot < workers; slot++) ledger.join(slot, capacityTokens)
  let asks = 0
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
  const refused: Array<string> = []
  const request = (name: string, promptTokens: number, priority: number | null = null) => {
    const guest = admission.guest(nowMs, priority, () => attempt())
    const attempt = () => {
      asks++
      const asked = ask(promptTokens, priority)
      if (admission.holds(guest, asked, nowMs)) return
      const slot = ledger.place(asked, nowMs)
      if (slot < 0) return void refused.push(name)
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
  const names = () => sent.map(({ name }) => name)
  return {
    admission,
    answer,
    asks: () => asks,
    due: () => due.length,
    ledger,
    names,
    now: () => nowMs,
    pass,
    refused,
    request,
    sent
  }
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

  it("keeps workers busy whose prompts take less than a turn", () => {
    const { admission, answer, pass, request } = stage(1)
    // It learns that they take a millisecond.
    for (let i = 0; i < 1_000; i++) {
      request(`${i}`, 100)
      pass(1)
      answer()
    }
    for (let i = 0; i < 8; i++) request(`next ${i}`, 100)
    expect(admission.waiting()).toBe(0)
  })

  it("asks all within a while, wherever in the queue of a stuck worker they are", () => {
    const { names, pass, request } = stage(1)
    request("first", 500_000)
    for (const name of ["a", "b", "c"]) request(name, 20_000)
    for (let second = 0; second < 31; second++) {
      pass(1_000)
      request(`later ${second}`, 300_000)
    }
    expect(names().slice(0, 4).sort()).toEqual(["a", "b", "c", "first"])
  })

  it("sends to a worker that has nothing of ours, however little space it is thought to have", () => {
    const { admission, request, sent } = stage(2, 100, 20_000)
    const other = stage(2, 100, 20_000)
    request("long", 19_990)
    request("as long", 19_990)
    expect([admission.waiting(), sent.map(({ slot }) => slot).sort()]).toEqual([0, [0, 1]])
    // While some worker is busy, too.
    other.request("short", 2_000)
    const { slot } = other.sent[0]!
    other.request("long", 19_990)
    expect([other.admission.waiting(), other.sent[1]!.slot]).toEqual([0, 1 - slot])
  })

  it("gets in line behind requests that others have sent, whose turn would else never come", () => {
    const { admission, ledger, now, request, sent } = stage(2)
    request("first", 20_000)
    const busy = sent[0]!.slot
    for (const slot of [0, 1]) ledger.hint(slot, { running: 8, waiting: 50, kvUsage: null }, now())
    request("second", 20_000)
    expect([admission.waiting(), sent[1]!.slot]).toEqual([0, 1 - busy])
    // Behind its own it waits all the same.
    request("third", 20_000)
    expect(admission.waiting()).toBe(1)
  })

  it("asks no more than 32 in a turn, and goes on at once where they go", () => {
    const { admission, asks, due, ledger, pass, refused, request } = stage(1, 10_000)
    request("first", 200_000)
    for (let i = 0; i < 9_000; i++) request(`${i}`, 200)
    const before = asks()
    pass(10)
    expect(asks() - before).toBeLessThanOrEqual(32)
    // Their worker has left: each is to be told.
    ledger.leave(0)
    pass(20)
    expect(asks() - before).toBeLessThanOrEqual(32 * 13)
    expect(refused.length).toBeGreaterThan(100)
    pass(1_000)
    expect([admission.waiting(), due(), new Set(refused).size]).toEqual([0, 0, 9_000])
  })
})
