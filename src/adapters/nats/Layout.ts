/**
 * Layout: the stream of the log and the buckets of the tables, created where they are missing, compared where they are
 * not. One that is otherwise than our settings say is left as it is: it may be in use, and changing it may drop data.
 */
import { DiscardPolicy, JetStreamApiError, RetentionPolicy, StorageType, type StreamConfig } from "@nats-io/jetstream"
import { versionProblem } from "./Connect.ts"
import { isLate, isMissing, isNobody, wordsOf } from "./Failure.ts"
import type { Looked, Session } from "./Session.ts"
import { type Subjects, tableNames } from "./Subjects.ts"

export interface LogOptions {
  readonly ageMs: number
  readonly bytesMax: number
  readonly replicas: number
  readonly storage: "memory" | "file"
}

export interface TableOptions {
  readonly replicas: number
  readonly storage: "memory" | "file"
}

/** Source: nats-io/nats-server `server/errors.json`. */
export const codes = { notForAccount: 10039, notForServer: 10076, nameTaken: 10058, unavailable: 10008 }

const dedupMs = 120_000
/** Some 50 000 rows; far beyond what replicas, workers and their removed rows come to. */
const tableBytesMax = 16 * 1024 * 1024

const nanos = (ms: number): number => ms * 1_000_000
const storageOf = (storage: "memory" | "file") => (storage === "file" ? StorageType.File : StorageType.Memory)

export const logConfig = (subjects: Subjects, options: LogOptions) => ({
  name: subjects.stream,
  subjects: [subjects.logged],
  retention: RetentionPolicy.Limits,
  discard: DiscardPolicy.Old,
  storage: storageOf(options.storage),
  num_replicas: options.replicas,
  max_age: nanos(options.ageMs),
  max_bytes: options.bytesMax,
  max_msgs: -1,
  max_msgs_per_subject: -1,
  duplicate_window: nanos(Math.min(dedupMs, options.ageMs))
})

/** As `nats kv add` makes one. Source: nats-io/nats-architecture-and-design ADR-8. */
export const tableConfig = (bucket: string, options: TableOptions) => ({
  name: `KV_${bucket}`,
  subjects: [`$KV.${bucket}.>`],
  retention: RetentionPolicy.Limits,
  discard: DiscardPolicy.New,
  storage: storageOf(options.storage),
  num_replicas: options.replicas,
  max_age: 0,
  max_bytes: tableBytesMax,
  max_msgs: -1,
  max_msgs_per_subject: 1,
  allow_rollup_hdrs: true,
  allow_direct: true,
  deny_delete: true
})

type Wanted = ReturnType<typeof logConfig> | ReturnType<typeof tableConfig>

/** What is otherwise than wanted, and what to do; empty when nothing is. */
export const conflict = (found: Partial<StreamConfig>, wanted: Wanted): string => {
  const show = (value: unknown) => JSON.stringify(value ?? null)
  const otherwise = Object.entries(wanted)
    .map(([field, value]) => ({ field, value, has: found[field as keyof StreamConfig] }))
    .filter(({ value, has }) => show(has) !== show(value))
    .map(({ field, value, has }) => `${field} is ${show(has)} and should be ${show(value)}`)
  if (otherwise.length === 0) return ""
  return (
    `the stream ${wanted.name} is not as configured: ${otherwise.join(", ")}. Give all replicas the same settings; then ` +
    `"nats stream edit ${wanted.name}", or "nats stream rm ${wanted.name}": it is made anew, and nothing in it is lost for good`
  )
}

const words = (name: string, error: unknown): string => {
  const code = error instanceof JetStreamApiError ? error.code : 0
  if (isNobody(error) || code === codes.notForServer)
    return "JetStream is not enabled on the NATS server; add `jetstream {}` to its configuration"
  if (code === codes.notForAccount) return "JetStream is not enabled for this NATS account"
  if (code === codes.unavailable || isLate(error)) return `JetStream does not answer for ${name}: it may have no leader`
  return `the stream ${name} cannot be made or read: ${wordsOf(error)}`
}

const isTransient = (error: unknown): boolean =>
  isLate(error) || (error instanceof JetStreamApiError && error.code === codes.unavailable)

/** One stream as it should be: its problem, or none. Rejects when it cannot be known. */
const lookAtOne = async ({ jsm }: Session, wanted: Wanted): Promise<string> => {
  const find = async (): Promise<Partial<StreamConfig>> => (await jsm.streams.info(wanted.name)).config
  try {
    return conflict(await find(), wanted)
  } catch (error) {
    if (!isMissing(error) || isNobody(error)) throw error
  }
  try {
    await jsm.streams.add(wanted)
    return ""
  } catch (error) {
    // Another replica was first, with other settings.
    if (error instanceof JetStreamApiError && error.code === codes.nameTaken) return conflict(await find(), wanted)
    throw error
  }
}

/** A look at all of it. Never rejects. */
export const lookAt = async (
  session: Session,
  subjects: Subjects,
  log: LogOptions,
  tables: TableOptions
): Promise<Looked> => {
  const old = versionProblem(session.nc.info?.version ?? "")
  if (old !== "") return { problems: [old], wait: false }
  const all: ReadonlyArray<Wanted> = [
    logConfig(subjects, log),
    ...tableNames.map((name) => tableConfig(subjects.bucket(name), tables))
  ]
  let wait = true
  const look = async (wanted: Wanted): Promise<string> => {
    try {
      const problem = await lookAtOne(session, wanted)
      if (problem !== "") wait = false
      return problem
    } catch (error) {
      if (!isTransient(error)) wait = false
      return words(wanted.name, error)
    }
  }
  const problems = await Promise.all(all.map(look))
  return { problems: [...new Set(problems)].filter((problem) => problem !== ""), wait }
}
