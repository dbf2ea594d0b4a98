/**
 * Lets a fleet live for hours of virtual time, with workers joining and leaving, and says what every table has come to.
 *
 *   node test/simulation/churn.ts --hours 24              one line per virtual hour, seconds of real time each
 *   node test/simulation/churn.ts --hours 24 --seed 7     another day
 */
import { parseArgs } from "node:util"
import type { Census } from "./ChurnCensus.ts"
import * as ChurnDay from "./ChurnDay.ts"

const hourMs = 3_600_000

const columns: ReadonlyArray<readonly [name: string, of: (look: Census) => string | number]> = [
  ["slots", (look) => look.slots],
  ["true", (look) => `${look.compared}/${look.slots}`],
  ["held", (look) => look.held],
  ["blocks", (look) => look.roomyBlocks],
  ["members", (look) => look.memberships],
  ["spans", (look) => look.spans],
  ["holders", (look) => look.holders],
  ["small idx", (look) => look.tightBlocks],
  ["bytes", (look) => look.tightBytes],
  ["evicted", (look) => look.evicted],
  ["hashes", (look) => look.hashes],
  ["roots", (look) => look.roots],
  ["parked", (look) => look.parked],
  ["offloads", (look) => look.offloads],
  ["guessed", (look) => look.guessed],
  ["live MB", (look) => look.heapMb.toFixed(1)]
]
const widthOf = (name: string): number => Math.max(7, name.length + 1)

const { values } = parseArgs({
  options: { hours: { type: "string", default: "24" }, seed: { type: "string", default: "1" } }
})
const begun = performance.now()
console.log(`hour${columns.map(([name]) => name.padStart(widthOf(name))).join("")}`)
const { counts, emptyMb, looks, tenants, wrongs } = await ChurnDay.run(
  Number(values.seed),
  Number(values.hours),
  hourMs,
  (look, hour) => {
    const cells = columns.map(([name, of]) => String(of(look)).padStart(widthOf(name)))
    console.log(`${String(hour).padStart(4)}${cells.join("")}`)
  }
)
const grown = ChurnDay.growth(
  looks.map(({ heapMb }) => heapMb),
  emptyMb
)
for (const wrong of wrongs) console.log(wrong)
const seconds = ((performance.now() - begun) / 1_000).toFixed(0)
console.log(
  `${values.hours} h of seed ${values.seed} in ${seconds} s: ${counts.requests} requests of ${tenants} tenants, ${counts.joined} workers joined and ${counts.left} left, ` +
    `${counts.reused} slots given again, ${counts.faults} faults, ${counts.restarts} restarts; ${wrongs.length} wrong`
)
console.log(
  `live memory with all workers gone: ${emptyMb[0].toFixed(2)} MB early, ${emptyMb[1].toFixed(2)} MB at the end: ${grown ?? "flat"}`
)
process.exitCode = wrongs.length === 0 && grown === null ? 0 : 1
