/** Every way to route that a replay knows, by name: the router's own, the rivals' settings, and bounds. */
import * as Ledger from "../../actors/Ledger.ts"
import * as Bounds from "./Bounds.ts"
import * as AiBrix from "./rivals/AiBrix.ts"
import * as ConsistentHash from "./rivals/ConsistentHash.ts"
import * as Dynamo from "./rivals/Dynamo.ts"
import * as GieDefault from "./rivals/GieDefault.ts"
import * as LeastOutstanding from "./rivals/LeastOutstanding.ts"
import * as LeastWork from "./rivals/LeastWork.ts"
import * as LlmdPrecise from "./rivals/LlmdPrecise.ts"
import * as LongestPrefix from "./rivals/LongestPrefix.ts"
import * as PowerOfTwo from "./rivals/PowerOfTwo.ts"
import * as Preble from "./rivals/Preble.ts"
import * as ProductionStack from "./rivals/ProductionStack.ts"
import * as Rival from "./rivals/Rival.ts"
import * as RoundRobin from "./rivals/RoundRobin.ts"
import * as SessionSticky from "./rivals/SessionSticky.ts"
import * as SmgEvents from "./rivals/SmgEvents.ts"
import * as SmgPrefixHash from "./rivals/SmgPrefixHash.ts"
import * as SmgTree from "./rivals/SmgTree.ts"
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

/** The rivals, with every setting of their dials. */
export const settings: ReadonlyArray<Rival.Setting> = [
  RoundRobin,
  LeastOutstanding,
  LeastWork,
  PowerOfTwo,
  ConsistentHash,
  SessionSticky,
  LongestPrefix,
  ProductionStack,
  SmgTree,
  SmgEvents,
  SmgPrefixHash,
  Dynamo,
  GieDefault,
  LlmdPrecise,
  AiBrix,
  Preble
].flatMap(({ settings }) => settings)

const ofRival = ({ about, isDefault, isOurs, make, name, scrapeMs }: Rival.Setting): Strategy => ({
  name,
  about,
  kind: "rival",
  isDefault,
  isOurs: isOurs === true,
  scrapeMs,
  ledger: (setup) => Rival.ledger(make, setup)
})

export const roundRobin: Strategy = ofRival(RoundRobin.settings[0]!)

export const strategies: ReadonlyArray<Strategy> = [ours, ...settings.map(ofRival), Bounds.pooled, Bounds.greedy]
