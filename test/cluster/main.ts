/**
 * Strikes at a deployment under load: real routers, a real nats-server, simulated engines.
 *
 *   npm run chaos                            routers die, two minutes
 *   npm run chaos -- --what nats             the broker fails
 *   npm run chaos -- --what leader           of three brokers the leader dies
 *   npm run chaos -- --minutes 10 --seed 7
 */
import { parseArgs } from "node:util"
import * as Scenarios from "./Scenarios.ts"

const scenarios = { routers: Scenarios.routersDie, nats: Scenarios.natsFails, leader: Scenarios.leaderDies }

const { values } = parseArgs({
  options: {
    what: { type: "string", default: "routers" },
    minutes: { type: "string", default: "2" },
    every: { type: "string", default: "4" },
    rate: { type: "string", default: "40" },
    routers: { type: "string", default: "3" },
    seed: { type: "string", default: "1" },
    help: { type: "boolean", default: false }
  }
})

const help = `npm run chaos -- [options]

  --what WHAT     ${Object.keys(scenarios).join(", ")} (routers): what dies
  --minutes N     for so long (2)
  --every N       seconds between two strikes, half to one and a half times as long (4)
  --rate N        requests per second (40)
  --routers N     (3)
  --seed N        (1)

Exits with 1 when a request failed that nothing explains, when a router's picture is not the engine's cache in the end, or
when an engine had no reader, or two, for more than 3 s while routers died.`

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
const scenario = scenarios[values.what as keyof typeof scenarios]
if (scenario === undefined) {
  console.error(`--what is "${values.what}"; there are ${Object.keys(scenarios).join(", ")}.`)
  process.exit(2)
}
const outcome = await scenario({
  forMs: number("minutes") * 60_000,
  everyMs: number("every") * 1_000,
  perSecond: number("rate"),
  routers: number("routers"),
  seed: number("seed"),
  say: (text) => console.error(text)
})
console.log(outcome)
const { differences, manyMs, noneMs, unexplained } = outcome
const isReadWrong = values.what === "routers" && Math.max(noneMs, manyMs) > 3_000
process.exitCode = unexplained.length > 0 || differences.length > 0 || isReadWrong ? 1 : 0
