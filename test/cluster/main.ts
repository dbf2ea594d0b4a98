/**
 * Strikes at a deployment under load: real routers, a real nats-server, simulated engines.
 *
 *   npm run chaos                            routers die, two minutes
 *   npm run chaos -- --what nats             the broker fails
 *   npm run chaos -- --what leader           of three brokers the leader dies
 *   npm run chaos -- --what store --store redis    the metadata store fails, and routers die
 *   npm run chaos -- --minutes 10 --seed 7
 */
import { parseArgs } from "node:util"
import * as Scenarios from "./Scenarios.ts"
import * as StoreFails from "./StoreFails.ts"
import { type Kind, kinds } from "./StoreKinds.ts"

const scenarios = { routers: Scenarios.routersDie, nats: Scenarios.natsFails, leader: Scenarios.leaderDies }
const whats = [...Object.keys(scenarios), "store"]

const { values } = parseArgs({
  options: {
    what: { type: "string", default: "routers" },
    store: { type: "string", default: "sqlite" },
    minutes: { type: "string", default: "2" },
    every: { type: "string", default: "4" },
    rate: { type: "string", default: "40" },
    routers: { type: "string", default: "3" },
    seed: { type: "string", default: "1" },
    help: { type: "boolean", default: false }
  }
})

const help = `npm run chaos -- [options]

  --what WHAT     ${whats.join(", ")} (routers): what dies
  --store KIND    ${Object.keys(kinds).join(", ")} (sqlite): which store, with --what store; routers die, too
  --minutes N     for so long (2)
  --every N       seconds between two strikes, half to one and a half times as long (4)
  --rate N        requests per second (40)
  --routers N     (3); with --what store one for sqlite, else two
  --seed N        (1)

Exits with 1 when a request failed that nothing explains, when a router's picture is not the engine's cache in the end,
when an engine had no reader, or two, for more than 3 s while routers died, or when the store says in the end that an engine
holds what it does not, or not all of what it does.`

const number = (name: "minutes" | "every" | "rate" | "routers" | "seed"): number => {
  const value = Number(values[name])
  if (Number.isFinite(value) && value > 0) return value
  console.error(`--${name} is "${values[name]}"; give a number above 0.\n\n${help}`)
  return process.exit(2)
}

if (values.help) {
  console.log(help)
  process.exit(0)
}
const common = {
  forMs: number("minutes") * 60_000,
  everyMs: number("every") * 1_000,
  perSecond: number("rate"),
  seed: number("seed"),
  say: (text: string) => console.error(text)
}
const unknown = (name: "what" | "store", known: ReadonlyArray<string>): never => {
  console.error(`--${name} is "${values[name]}"; there are ${known.join(", ")}.`)
  return process.exit(2)
}
/** What must be empty in the end. */
let amiss: ReadonlyArray<string>
if (values.what === "store") {
  if (!Object.hasOwn(kinds, values.store)) unknown("store", Object.keys(kinds))
  const outcome = await StoreFails.storeFails({ ...common, kind: values.store as Kind, awayMsMax: 8_000 })
  console.log(outcome)
  amiss = [...outcome.unexplained, ...outcome.differences, ...outcome.unwell, ...outcome.wrong, ...outcome.missing]
} else {
  if (!Object.hasOwn(scenarios, values.what)) unknown("what", whats)
  const outcome = await scenarios[values.what as keyof typeof scenarios]({ ...common, routers: number("routers") })
  console.log(outcome)
  const { differences, manyMs, noneMs, unexplained } = outcome
  const isReadWrong = values.what === "routers" && Math.max(noneMs, manyMs) > 3_000
  amiss = [...unexplained, ...differences, ...(isReadWrong ? ["an engine had no reader, or two"] : [])]
}
process.exitCode = amiss.length > 0 ? 1 : 0
