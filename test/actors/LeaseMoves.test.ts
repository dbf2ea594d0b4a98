import { describe, expect, it } from "vitest"
import * as Moves from "../../actors/LeaseMoves.ts"
import type { Member } from "../../actors/MemberTable.ts"

const member = (id: string, more: Partial<Member> = {}): Member => ({
  id,
  kind: "router",
  ready: true,
  url: null,
  version: "",
  startedAtMs: 0,
  prefers: [],
  ...more
})

const routers = ["a", "b", "c", "d"].map((id) => member(id))
const names = Array.from({ length: 400 }, (_, i) => `10.0.${i >> 8}.${i & 255}:8000`)

describe("who should read a publisher", () => {
  it("is shared out evenly", () => {
    for (const { id } of routers) {
      const share = names.filter((name) => Moves.order(name, routers)[0] === id).length
      expect(share).toBeGreaterThan(70)
      expect(share).toBeLessThan(130)
    }
  })

  it("stays who it was when another comes or goes", () => {
    for (const name of names) {
      const [first, ...others] = Moves.order(name, routers)
      const without = routers.filter(({ id }) => id !== "d")
      expect(Moves.order(name, without)).toEqual([first, ...others].filter((id) => id !== "d"))
    }
  })

  it("does not depend on the order in which they are known", () => {
    for (const name of names) expect(Moves.order(name, routers.toReversed())).toEqual(Moves.order(name, routers))
  })

  it("is an agent that names it, then a router that is ready, and never another agent", () => {
    const all = [
      member("other agent", { kind: "agent", prefers: ["x"] }),
      member("starting", { ready: false }),
      member("router"),
      member("agent", { kind: "agent", prefers: ["w"], ready: false })
    ]
    expect(Moves.order("w", all)).toEqual(["agent", "router", "starting"])
  })
})

describe("what a replica does about a lease", () => {
  const seen: Moves.Seen = {
    nowMs: 100_000,
    wanted: true,
    held: "free",
    freeFromMs: 100_000,
    vanishedOf: "none",
    rank: 0,
    firstFromMs: Infinity
  }
  const decide = (more: Partial<Moves.Seen>) => Moves.decide({ ...seen, ...more }, Moves.defaults)

  it.each<readonly [string, Partial<Moves.Seen>, ReturnType<typeof decide>]>([
    ["claims a free one that it should have at once", {}, "claim"],
    ["claims that of a dead replica at once, too", { held: "dead" }, "claim"],
    ["leaves a free one to those before it", { rank: 1 }, "none"],
    ["claims it when they do not", { rank: 1, freeFromMs: 99_800 }, "claim"],
    ["claims it in less than a second, however many there are", { rank: 40, freeFromMs: 99_200 }, "claim"],
    ["keeps its own", { held: "mine", rank: 3 }, "none"],
    ["gives up its own when it does not want it", { held: "mine", wanted: false }, "release"],
    ["claims anew what it had before it was restarted", { held: "namesake", rank: 2 }, "claim"],
    ["gives up what it had before it was restarted and does not want", { held: "namesake", wanted: false }, "release"],
    ["wants nothing of others' that it does not want", { held: "other", wanted: false }, "none"],
    ["leaves a living owner alone that comes before it", { held: "other", rank: 1, firstFromMs: 0 }, "none"],
    ["leaves it alone while it has only just become the first", { held: "other", firstFromMs: 95_001 }, "none"],
    ["takes over from a living owner what it should have", { held: "other", firstFromMs: 95_000 }, "move"],
    ["claims nothing where it has no place", { rank: -1 }, "none"],
    ["takes back at once what vanished from the table", { vanishedOf: "self", rank: 3 }, "claim"],
    ["leaves what vanished to its last owner for a while", { vanishedOf: "other", freeFromMs: 99_001 }, "none"],
    ["claims it after that", { vanishedOf: "other", freeFromMs: 99_000 }, "claim"],
    ["lets rows of the dead lie that somebody may want", { wanted: false, held: "dead", freeFromMs: 40_001 }, "none"],
    ["clears away those that nobody wanted", { wanted: false, held: "dead", freeFromMs: 40_000 }, "release"]
  ])("%s", (_, given, expected) => expect(decide(given)).toBe(expected))
})
