/** The strategies a real router can run: all but the bounds, which look into the engines. */
import * as AiBrix from "../rivals/AiBrix.ts"
import * as Dynamo from "../rivals/Dynamo.ts"
import * as GieDefault from "../rivals/GieDefault.ts"
import * as LeastOutstanding from "../rivals/LeastOutstanding.ts"
import * as LlmdPrecise from "../rivals/LlmdPrecise.ts"
import * as RoundRobin from "../rivals/RoundRobin.ts"
import * as SmgEvents from "../rivals/SmgEvents.ts"
import * as SmgTree from "../rivals/SmgTree.ts"
import * as Strategies from "../Strategies.ts"
import type { Strategy } from "../Strategy.ts"

export const contenders: ReadonlyArray<Strategy> = [
  Strategies.ours,
  ...[SmgEvents, SmgTree, Dynamo, LlmdPrecise, GieDefault, AiBrix, LeastOutstanding, RoundRobin]
    .flatMap(({ settings }) => settings)
    .map(Strategies.ofRival)
]

/** Throws when there is none of that name, naming those there are. */
export const byName = (name: string): Strategy => {
  const found = contenders.find((each) => each.name === name)
  if (found !== undefined) return found
  throw new Error(
    `There is no policy "${name}" to run live. There are ${contenders.map((each) => each.name).join(", ")}.`
  )
}
