/** Names: the table of names as it was last read, and the life of the store that its user knows of. */
import * as Failure from "./Failure.ts"
import type { Keys } from "./Pieces.ts"
import type { Session } from "./Session.ts"

export interface Table {
  readonly version: string
  readonly nameOf: (tenure: number) => string | undefined
  readonly names: ReadonlyArray<{ readonly name: string; readonly tenures: number }>
  /** The oldest tenure that counts: those before it never will again. 0 where none does. */
  readonly floor: number
}

const parsed = (version: string, rows: ReadonlyArray<Buffer>): Table => {
  const byTenure = new Map<number, string>()
  const names: Array<{ name: string; tenures: number }> = []
  for (let i = 0; i + 1 < rows.length; i += 2) {
    const name = rows[i]!.toString()
    const value = rows[i + 1]!
    for (let at = 4; at + 4 <= value.length; at += 4) byTenure.set(value.readUInt32LE(at), name)
    names.push({ name, tenures: Math.max(0, (value.length >> 2) - 1) })
  }
  let floor = byTenure.size === 0 ? 0 : Number.POSITIVE_INFINITY
  for (const tenure of byTenure.keys()) floor = Math.min(floor, tenure)
  return { version, nameOf: (tenure) => byTenure.get(tenure), names, floor }
}

export const versionOf = (session: Session, { meta }: Keys): Promise<string> =>
  session.connection.send(meta, ["HGET", meta, "version"]).then(String)

export interface Names {
  /** The table of this version or of a later one; from the store only when it is not at hand. */
  readonly table: (session: Session, version: string) => Promise<Table>
  /** As it was last read on this connection. */
  readonly last: (session: Session) => Table | null
  /** It may be of another life. */
  readonly forget: () => void
}

export const make = (keys: Keys): Names => {
  let cached: { readonly session: Session; readonly table: Table } | null = null
  let reading: { readonly session: Session; readonly version: string; readonly read: Promise<Table> } | null = null

  const read = async (session: Session): Promise<Table> => {
    const { send } = session.connection
    // In this order: a change in between makes the version older than the names, and they are read again.
    const [version, rows] = await Promise.all([versionOf(session, keys), send(keys.names, ["HGETALL", keys.names])])
    const table = parsed(version, rows as ReadonlyArray<Buffer>)
    cached = { session, table }
    return table
  }
  const last = (session: Session): Table | null => (cached?.session === session ? cached.table : null)
  return {
    last,
    forget: () => {
      cached = null
    },
    table: (session, version) => {
      const known = last(session)
      if (known?.version === version) return Promise.resolve(known)
      if (reading?.session === session && reading.version === version) return reading.read
      const mine = { session, version, read: read(session) }
      reading = mine
      return mine.read.finally(() => {
        if (reading === mine) reading = null
      })
    }
  }
}

/** Which life of the store the user of this adapter goes by. */
export interface Life {
  readonly ask: (session: Session) => Promise<string>
  /** The one it knows; the first it meets, before it asked. */
  readonly known: (session: Session) => Promise<string>
  /** Fails when the store's is another; else the version of its names. */
  readonly same: (session: Session) => Promise<string>
}

export const makeLife = ({ meta }: Keys): Life => {
  let generation: string | null = null
  const ask = async (session: Session): Promise<string> => {
    generation = await session.begin()
    return generation
  }
  const known = async (session: Session) => generation ?? ask(session)
  return {
    ask,
    known,
    same: async (session) => {
      const wanted = await known(session)
      const found = await session.connection.send(meta, ["HMGET", meta, "generation", "version"])
      const [generation, version] = found as ReadonlyArray<Buffer | null>
      if (String(generation) !== wanted) throw new Failure.OtherLife()
      return String(version)
    }
  }
}
