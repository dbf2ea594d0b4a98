import { describe, expect, it } from "vitest"
import { decide, patienceMs, type Role, type Seen } from "../../actors/RelayRole.ts"

const nowMs = 100_000
const long = nowMs - patienceMs
const short = long + 1

/** What is the case, and the next role for each role there is. */
const table: ReadonlyArray<readonly [string, Partial<Seen>, { readonly [R in Role]: Role }]> = [
  ["its lease", { mine: true }, { none: "owner", owner: "owner", follower: "owner", solo: "owner" }],
  [
    "its lease, whatever else",
    { mine: true, unwellFromMs: 0, ownerlessFromMs: 0, troubleFromMs: 0 },
    { none: "owner", owner: "owner", follower: "owner", solo: "owner" }
  ],
  ["an owner elsewhere", {}, { none: "follower", owner: "follower", follower: "follower", solo: "follower" }],
  ["a broker just gone", { unwellFromMs: short }, { none: "none", owner: "solo", follower: "follower", solo: "solo" }],
  ["a broker gone for long", { unwellFromMs: long }, { none: "solo", owner: "solo", follower: "solo", solo: "solo" }],
  [
    "no owner just now",
    { ownerlessFromMs: short },
    { none: "none", owner: "solo", follower: "follower", solo: "solo" }
  ],
  ["no owner for long", { ownerlessFromMs: long }, { none: "solo", owner: "solo", follower: "solo", solo: "solo" }],
  [
    "an owner in trouble just now",
    { troubleFromMs: short },
    { none: "follower", owner: "follower", follower: "follower", solo: "follower" }
  ],
  [
    "an owner in trouble for long",
    { troubleFromMs: long },
    { none: "solo", owner: "solo", follower: "solo", solo: "solo" }
  ]
]

describe("RelayRole", () => {
  for (const [what, given, roles] of table) {
    for (const [role, next] of Object.entries(roles) as ReadonlyArray<[Role, Role]>) {
      it(`with ${what}, ${role} becomes ${next}`, () => {
        const quiet = { mine: false, unwellFromMs: Infinity, ownerlessFromMs: Infinity, troubleFromMs: Infinity }
        expect(decide({ nowMs, role, ...quiet, ...given })).toBe(next)
      })
    }
  }
})
