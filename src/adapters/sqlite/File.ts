/**
 * File: the database of one router, opened, checked and held by it alone.
 *
 * The lock is the operating system's, on the file: it ends with the process that holds it, however that ends.
 */
import { mkdirSync, rmSync } from "node:fs"
import { dirname } from "node:path"
import { DatabaseSync } from "node:sqlite"

/** `WPkv`: what tells our files from those of other programs. */
const applicationId = 0x57506b76
/** Of the tables and of the records in them. */
const version = 1

/** Pages of the log before they go into the file, which costs a wait for the disk: 16 MiB. */
const logPages = 4_096
const cacheKib = 16_384

/** Why a file cannot be used: nothing that waiting would heal. */
export class Unusable extends Error {
  readonly code: "ERR_STORE_BUSY" | "ERR_STORE_FORMAT" | "ERR_STORE_FILE"
  readonly fix: string

  constructor(code: Unusable["code"], why: string, fix: string) {
    super(why)
    this.code = code
    this.fix = fix
  }
}

/** SQLite's own numbers: https://www.sqlite.org/rescode.html */
const [busy, locked, corrupt, noDatabase] = [5, 6, 11, 26]

/** Of an error, without what it says besides the kind; 0 when it is none of SQLite's. */
const codeOf = (error: unknown): number =>
  error instanceof Error && "errcode" in error && typeof error.errcode === "number" ? error.errcode & 0xff : 0

export const isDamage = (error: unknown): boolean => [corrupt, noDatabase].includes(codeOf(error))

const fresh = "Delete the file, or give another: what it knows comes back from the engines' events."

/** Opens it, and makes it where there is none. Throws `Unusable`. */
export const open = (file: string): DatabaseSync => {
  let db: DatabaseSync | null = null
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    db = new DatabaseSync(file, { timeout: 0 })
    prepare(db)
    return db
  } catch (error) {
    db?.close()
    if (error instanceof Unusable) throw error
    const said = error instanceof Error ? error.message : String(error)
    if ([busy, locked].includes(codeOf(error)))
      throw new Unusable(
        "ERR_STORE_BUSY",
        "another process has the file open",
        "Each router needs a file of its own: give one of them another, or use a store that routers share."
      )
    if (isDamage(error)) throw new Unusable("ERR_STORE_FORMAT", `it is no database, or damaged (${said})`, fresh)
    throw new Unusable("ERR_STORE_FILE", said, "Give a file on a local disk, in a folder that this user may write to.")
  }
}

/** The files that make up a database. */
export const remove = (file: string): void => {
  for (const part of ["", "-wal", "-shm", "-journal"]) rmSync(file + part, { force: true })
}

const prepare = (db: DatabaseSync): void => {
  // Before anything is read, so that nobody else has opened it in between.
  db.exec("PRAGMA locking_mode = EXCLUSIVE")
  const number = (pragma: string): number =>
    Number(Object.values((db.prepare(`PRAGMA ${pragma}`).get() ?? {}) as Record<string, number>)[0] ?? 0)
  if (number("schema_version") === 0) db.exec(`PRAGMA application_id = ${applicationId}`)
  if (number("application_id") !== applicationId)
    throw new Unusable("ERR_STORE_FORMAT", "it is another program's database", "Give another file.")
  const has = number("user_version")
  if (has !== version && has !== 0)
    throw new Unusable("ERR_STORE_FORMAT", `its layout is number ${has}, this router's ${version}`, fresh)
  db.exec("PRAGMA journal_mode = WAL")
  db.exec("PRAGMA synchronous = NORMAL")
  db.exec(`PRAGMA wal_autocheckpoint = ${logPages}`)
  db.exec(`PRAGMA journal_size_limit = ${2 * logPages * 4_096}`)
  db.exec(`PRAGMA cache_size = -${cacheKib}`)
  db.exec("BEGIN IMMEDIATE")
  if (has === 0) {
    db.exec(`
      CREATE TABLE life (generation TEXT NOT NULL, tenure INTEGER NOT NULL);
      CREATE TABLE tenures (tenure INTEGER PRIMARY KEY, name TEXT NOT NULL);
      CREATE TABLE nodes (
        head INTEGER NOT NULL, key INTEGER NOT NULL, touched INTEGER, node BLOB NOT NULL, PRIMARY KEY (head, key)
      ) WITHOUT ROWID;
      CREATE INDEX oldest ON nodes (touched) WHERE touched IS NOT NULL;
      PRAGMA user_version = ${version};
    `)
  }
  db.exec("COMMIT")
}
