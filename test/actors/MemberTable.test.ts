import { describe, expect, it } from "vitest"
import { encode, type Member, MemberTable } from "../../actors/MemberTable.ts"

const options = { deadMs: 2_000, buryMs: 10_000 }

const member = (id: string, ready = true): Member => ({
  id,
  kind: "router",
  ready,
  url: "http://10.0.0.1:9091",
  version: "1.0.0",
  startedAtMs: 5,
  prefers: []
})

const rig = () => {
  const table = new MemberTable(options, 0)
  let nowMs = 0
  const pass = (ms: number, connected = true) => {
    for (const untilMs = nowMs + ms; nowMs < untilMs; ) {
      nowMs += 100
      table.tick(nowMs, connected)
    }
  }
  return {
    table,
    pass,
    sleep: (ms: number) => {
      nowMs += ms
      table.tick(nowMs, true)
    },
    ids: () => table.living().map(({ id }) => id)
  }
}

describe("MemberTable", () => {
  it("takes a replica for dead that was not heard for two seconds", () => {
    const { ids, pass, table } = rig()
    table.heard("a", encode(member("a")), 1)
    table.heard("b", encode(member("b")), 2)
    pass(1_900)
    table.heard("b", encode(member("b")), 3)
    expect(ids()).toEqual(["a", "b"])
    pass(100)
    expect(ids()).toEqual(["b"])
    table.heard("a", encode(member("a")), 4)
    expect(ids()).toEqual(["a", "b"])
  })

  it("takes a row it has seen before for no sign of life", () => {
    const { ids, pass, table } = rig()
    table.heard("a", encode(member("a")), 1)
    pass(1_900)
    table.heard("a", encode(member("a")), 1)
    pass(100)
    expect(ids()).toEqual([])
  })

  it("kills nobody while the broker is away, and gives everybody time when it is back", () => {
    const { ids, pass, table } = rig()
    table.heard("a", encode(member("a")), 1)
    pass(1_900)
    pass(60_000, false)
    expect(ids()).toEqual(["a"])
    table.connected()
    pass(1_900)
    expect(ids()).toEqual(["a"])
    pass(100)
    expect(ids()).toEqual([])
  })

  it("kills nobody for having slept itself", () => {
    const { ids, sleep, table } = rig()
    table.heard("a", encode(member("a")), 1)
    sleep(30_000)
    expect(ids()).toEqual(["a"])
  })

  it("hears revisions that begin anew", () => {
    const { ids, pass, table } = rig()
    table.heard("a", encode(member("a")), 500)
    pass(1_000)
    table.heard("a", encode(member("a")), 3)
    pass(1_900)
    expect(ids()).toEqual(["a"])
  })

  it("says who has been dead for ten seconds, to be removed", () => {
    const { pass, table } = rig()
    table.heard("a", encode(member("a")), 7)
    pass(11_900)
    expect(table.buried()).toEqual([])
    pass(100)
    expect(table.buried()).toEqual([{ key: "a", revision: 7 }])
    table.removed("a")
    expect(table.buried()).toEqual([])
  })

  it("keeps a member the same thing while nothing of it changes", () => {
    const { table } = rig()
    table.heard("a", encode(member("a")), 1)
    const [first] = table.living()
    table.heard("a", encode(member("a")), 2)
    expect(table.living()[0]).toBe(first)
    table.heard("a", encode(member("a", false)), 3)
    expect(table.living()[0]).toEqual(member("a", false))
  })

  it("ignores rows that it cannot read", () => {
    const { ids, table } = rig()
    for (const [i, text] of ["", "{", "[]", '{"id":""}', '{"id":"a","kind":"ghost"}'].entries())
      table.heard(`${i}`, Buffer.from(text), 1)
    expect(ids()).toEqual([])
  })
})
