/** Names: which tenures of which names count, and which life of the store this is; in the file, and in memory to look at. */
import { randomBytes, randomInt } from "node:crypto"
import type { DatabaseSync } from "node:sqlite"

export interface Names {
  readonly generation: string
  readonly enter: (name: string) => number
  readonly settle: (name: string, tenure: number) => boolean
  readonly leave: (name: string, tenure: number) => void
  /** Undefined for tenures that do not count. */
  readonly nameOf: (tenure: number) => string | undefined
  readonly tenures: () => Array<readonly [number, string]>
  readonly all: () => Array<{ readonly name: string; readonly tenures: number }>
}

export const make = (db: DatabaseSync): Names => {
  const count = db.prepare("SELECT generation, tenure FROM life").get()
  if (count === undefined) {
    // From a random number on: those of a life before this one do not come again.
    const first = randomInt(2 ** 28)
    db.prepare("INSERT INTO life (generation, tenure) VALUES (?, ?)").run(randomBytes(8).toString("hex"), first)
  }
  const life = db.prepare("SELECT generation, tenure FROM life").get() as { generation: string; tenure: number }
  let last = life.tenure
  const names = new Map<number, string>()
  const tenures = new Map<string, Array<number>>()
  for (const row of db.prepare("SELECT tenure, name FROM tenures ORDER BY tenure").all()) {
    const { name, tenure } = row as { name: string; tenure: number }
    names.set(tenure, name)
    tenures.set(name, [...(tenures.get(name) ?? []), tenure])
  }
  const statements = {
    last: db.prepare("UPDATE life SET tenure = ?"),
    add: db.prepare("INSERT INTO tenures (tenure, name) VALUES (?, ?)"),
    remove: db.prepare("DELETE FROM tenures WHERE tenure = ?")
  }
  const transaction = (work: () => void): void => {
    db.exec("BEGIN IMMEDIATE")
    try {
      work()
      db.exec("COMMIT")
    } catch (error) {
      if (db.isTransaction) db.exec("ROLLBACK")
      throw error
    }
  }
  const cut = (name: string, left: Array<number>): void => {
    const gone = (tenures.get(name) ?? []).filter((tenure) => !left.includes(tenure))
    if (gone.length > 0) {
      transaction(() => {
        for (const tenure of gone) statements.remove.run(tenure)
      })
    }
    for (const tenure of gone) names.delete(tenure)
    if (left.length > 0) tenures.set(name, left)
    else tenures.delete(name)
  }
  const isLast = (name: string, tenure: number): boolean => tenures.get(name)?.at(-1) === tenure

  return {
    generation: life.generation,
    enter: (name) => {
      const tenure = last + 1
      transaction(() => {
        statements.last.run(tenure)
        statements.add.run(tenure, name)
      })
      last = tenure
      names.set(tenure, name)
      tenures.set(name, [...(tenures.get(name) ?? []), tenure])
      return tenure
    },
    settle: (name, tenure) => {
      if (!isLast(name, tenure)) return false
      cut(name, [tenure])
      return true
    },
    leave: (name, tenure) => {
      if (isLast(name, tenure)) cut(name, [])
    },
    nameOf: (tenure) => names.get(tenure),
    tenures: () => [...names],
    all: () => Array.from(tenures, ([name, { length }]) => ({ name, tenures: length }))
  }
}
