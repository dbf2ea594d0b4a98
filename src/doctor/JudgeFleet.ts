/** JudgeFleet: what shows only when workers are seen side by side: names, aliases, lengths. Pure. */
import type { ServedModel } from "../domain/Worker.ts"
import * as Finding from "./Finding.ts"
import type { Seen } from "./Seen.ts"

interface Serving extends ServedModel {
  readonly worker: string
}

const fleet = "fleet"
/** Shorter ones cut off what chats and agents send. */
const contextMin = 4_096

const grouped = (served: ReadonlyArray<Serving>, by: (one: Serving) => string | null) => {
  const groups = new Map<string, Array<Serving>>()
  for (const one of served) {
    const name = by(one)
    if (name !== null) groups.set(name, [...(groups.get(name) ?? []), one])
  }
  return groups
}

const names = (served: ReadonlyArray<Serving>): ReadonlyArray<Finding.WorkerFinding> =>
  [...grouped(served, ({ root }) => root)].flatMap(([root, group]) => {
    const of = (worker: string) =>
      group
        .filter((one) => one.worker === worker)
        .map(({ id }) => id)
        .sort()
        .join(", ")
    const workers = [...new Set(group.map(({ worker }) => worker))]
    if (new Set(workers.map(of)).size <= 1) return []
    const value = `${root} is served as ${workers.map((worker) => `${of(worker)} by ${worker}`).join("; ")}`
    return [Finding.wrong(fleet, "model-names", "names of a model", value)]
  })

const lengths = (served: ReadonlyArray<Serving>): ReadonlyArray<Finding.WorkerFinding> =>
  [...grouped(served, ({ id }) => id)].flatMap(([id, group]) => {
    const told = group.flatMap(({ maxModelLen, worker }) => (maxModelLen === null ? [] : [{ maxModelLen, worker }]))
    const all = told.map(({ maxModelLen }) => maxModelLen)
    const least = Math.min(...all)
    if (all.length === 0 || (least === Math.max(...all) && least >= contextMin)) return []
    const value = told.map(({ maxModelLen, worker }) => `${maxModelLen} at ${worker}`).join(", ")
    return [Finding.wrong(fleet, "max-model-len", `context of ${id}`, `${value} tokens`)]
  })

export const judge = (
  seen: ReadonlyArray<Seen>,
  aliases: Readonly<Record<string, string>>
): ReadonlyArray<Finding.WorkerFinding> => {
  const served = seen.flatMap(({ known, spec }) =>
    (known?.facts.models ?? []).filter(({ parent }) => parent === null).map((model) => ({ ...model, worker: spec.id }))
  )
  const known = new Set(seen.flatMap(({ known }) => known?.facts.models.map(({ id }) => id) ?? []))
  // One that did not answer may be the one that serves it.
  const isWhole = seen.every((one) => one.known !== null)
  const nowhere = Object.entries(aliases).filter(([, to]) => isWhole && !known.has(to))
  return [
    ...nowhere.map(([alias, to]) =>
      Finding.wrong(
        fleet,
        "alias",
        `alias ${alias}`,
        `means ${to}, which no worker serves; served: ${[...known].join(", ")}`
      )
    ),
    ...names(served),
    ...lengths(served)
  ]
}
