/**
 * Subjects: the names of all that a deployment has in NATS.
 *
 * `warmpath.<deployment>.` before every subject; those under `kv.` are the log's, kept by the stream
 * `WARMPATH_<deployment>`; a table is the bucket `warmpath_<deployment>_<table>`.
 */
import type { TableName } from "../../ports/Bus.ts"

export interface Subjects {
  readonly full: (subject: string) => string
  /** The subject within the deployment. */
  readonly within: (full: string) => string
  readonly isLogged: (subject: string) => boolean
  readonly stream: string
  readonly logged: string
  readonly bucket: (table: TableName) => string
}

export const tableNames: ReadonlyArray<TableName> = ["members", "leases", "fleet"]

/** Throws where the deployment's name cannot be part of a subject. */
export const make = (deployment: string): Subjects => {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(deployment))
    throw new Error(
      `The deployment "${deployment}" cannot be part of a NATS subject. Use 1 to 64 letters, digits, "_" and "-".`
    )
  const prefix = `warmpath.${deployment}.`
  return {
    full: (subject) => prefix + subject,
    within: (full) => full.slice(prefix.length),
    isLogged: (subject) => subject.startsWith("kv."),
    stream: `WARMPATH_${deployment}`,
    logged: `${prefix}kv.>`,
    bucket: (table) => `warmpath_${deployment}_${table}`
  }
}
