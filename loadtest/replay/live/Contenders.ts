/** The strategies a real router can run: all but the bounds, which look into the engines. */
import * as Strategies from "../Strategies.ts"
import type { Strategy } from "../Strategy.ts"

export const contenders: ReadonlyArray<Strategy> = Strategies.strategies.filter(({ kind }) => kind !== "bound")

/** Throws when there is none of that name, naming those there are. */
export const byName = (name: string): Strategy => {
  const found = contenders.find((each) => each.name === name)
  if (found !== undefined) return found
  throw new Error(
    `There is no policy "${name}" to run live. There are ${contenders.map((each) => each.name).join(", ")}.`
  )
}
