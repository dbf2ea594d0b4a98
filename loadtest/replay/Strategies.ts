/** Every way to route that a replay knows, by name: the router's own, rivals as far as they are there, and bounds. */
import * as Ledger from "../../actors/Ledger.ts"
import * as Bounds from "./Bounds.ts"
import * as Rival from "./rivals/Rival.ts"
import type { Strategy } from "./Strategy.ts"

/** As the router probes its workers by default. */
const probeMs = 2_000

export const ours: Strategy = {
  name: "warmpath",
  about: "this router",
  kind: "ours",
  scrapeMs: probeMs,
  ledger: ({ workers }) => Ledger.make({ policy: "eta", workersMax: workers })
}

export const roundRobin: Strategy = {
  name: "round-robin",
  about: "each worker in turn",
  kind: "rival",
  scrapeMs: null,
  ledger: ({ workers }) => Ledger.make({ policy: "round-robin", workersMax: workers })
}

export const ofRival = ({ about, make, name, scrapeMs }: Rival.Setting): Strategy => ({
  name,
  about,
  kind: "rival",
  scrapeMs,
  ledger: (setup) => Rival.ledger(make, setup)
})

export const strategies: ReadonlyArray<Strategy> = [ours, Bounds.pooled, Bounds.greedy]
