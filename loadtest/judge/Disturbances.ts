/** Disturbances: our own placement with late, missing, wrong or divided knowledge. Robust is who barely notices. */
import * as Ledger from "../../actors/Ledger.ts"
import * as Replicas from "../replay/Replicas.ts"
import * as Routing from "../replay/Routing.ts"
import * as Strategies from "../replay/Strategies.ts"
import type { Strategy } from "../replay/Strategy.ts"

export interface Disturbance {
  readonly name: string
  readonly strategy: Strategy
  readonly knowledge: Routing.Knowledge
}

/** All that is learned of engines' speed is off by a factor. */
const learning = (observed: number): Strategy => ({
  ...Strategies.ours,
  ledger: ({ workers }) => Ledger.make({ policy: "eta", workersMax: workers, observed })
})

export const disturbances: ReadonlyArray<Disturbance> = [
  { name: "events 0.5 s late", strategy: Strategies.ours, knowledge: { ...Routing.everything, lateMs: 500 } },
  { name: "events 5 s late", strategy: Strategies.ours, knowledge: { ...Routing.everything, lateMs: 5_000 } },
  { name: "no events", strategy: Strategies.ours, knowledge: { ...Routing.everything, view: "model" } },
  { name: "cost model × 2", strategy: learning(2), knowledge: Routing.everything },
  { name: "cost model ÷ 2", strategy: learning(0.5), knowledge: Routing.everything },
  { name: "4 replicas", strategy: Replicas.of({ count: 4, exchangeMs: 50 }), knowledge: Routing.everything }
]

export const byName = (name: string): Disturbance => {
  const found = disturbances.find((each) => each.name === name)
  if (found === undefined) throw new Error(`There is no disturbance "${name}".`)
  return found
}
