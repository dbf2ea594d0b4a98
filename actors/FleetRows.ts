/**
 * FleetRows: what replicas tell each other of a worker, and what a replica makes of all it was told. Pure.
 *
 * A row is never taken out to say that its worker left: `drained` and `removed` are rows, too. So a table that has lost
 * its rows is told from one whose workers left, and a replica that was away learns of both.
 */
import { Equal, Result, Schema } from "effect"
import { explain } from "../src/domain/Explain.ts"
import type { WorkerSpec } from "../src/domain/Worker.ts"
import { publicFields, toSpec } from "../src/domain/WorkerInput.ts"
import type { Origin } from "./FleetEntry.ts"

/** `drained`: finish what is in flight, then gone. `removed`: gone at once. */
export type RowState = "listed" | "drained" | "removed"

/** One operator's word on one worker. */
export interface Told {
  /** Without its key, whatever it has. */
  readonly spec: WorkerSpec
  readonly state: RowState
  /** It has a key, which is not told: only replicas that were given the key themselves list it. */
  readonly keyed: boolean
  /** When, ms since the epoch on the clock of the replica that was told; later than the word it replaces. */
  readonly atMs: number
  /** That replica. */
  readonly by: string
}

const version = 1
const textBytesMax = 64 * 1024

const Row = Schema.Struct({
  version: Schema.Literal(version),
  worker: Schema.Struct(publicFields),
  state: Schema.Literals(["listed", "drained", "removed"]),
  keyed: Schema.Boolean,
  atMs: Schema.Finite,
  by: Schema.String
})

/** JSON bytes as a schema wants them; the failure says what is wrong, with the value. */
export const read = <A>(schema: Schema.Decoder<A>, data: Uint8Array): Result.Result<A, string> => {
  if (data.length > textBytesMax) return Result.fail(`it is ${data.length} bytes long, above ${textBytesMax}`)
  let input: unknown
  try {
    input = JSON.parse(Buffer.from(data).toString("utf8"))
  } catch (cause) {
    return Result.fail(`it is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`)
  }
  const decoded = Schema.decodeUnknownResult(schema)(input, { errors: "all", onExcessProperty: "error" })
  return Result.isSuccess(decoded)
    ? Result.succeed(decoded.success)
    : Result.fail(explain(decoded.failure, input).join("; "))
}

export const decode = (data: Uint8Array): Result.Result<Told, string> =>
  Result.map(read(Row, data), ({ atMs, by, keyed, state, worker }) => ({
    spec: toSpec(worker),
    state,
    keyed,
    atMs,
    by
  }))

/** What anyone may know of a worker. */
export const withoutKey = ({ apiKey: _, ...rest }: WorkerSpec): WorkerSpec => rest

export const encode = ({ atMs, by, keyed, spec, state }: Told): Uint8Array =>
  Buffer.from(JSON.stringify({ version, worker: withoutKey(spec), state, keyed, atMs, by }))

/** The last write counts; of two at the same moment the one of the greater name, so that all choose alike. */
export const isNewer = (told: Told, than: Told | undefined): boolean =>
  than === undefined || told.atMs > than.atMs || (told.atMs === than.atMs && told.by > than.by)

/** Who knows of a worker. */
export interface Sources {
  /** What operators told this deployment. */
  readonly told: Told | undefined
  /** From this replica's own list. */
  readonly listed: WorkerSpec | undefined
  /** With a key, from this replica's own admin API. */
  readonly keyed: WorkerSpec | undefined
  /** What it says of itself. */
  readonly announced: WorkerSpec | undefined
}

/** What a replica does about a worker: has it, lets it finish, or forgets it. */
export type Wanted =
  | { readonly _tag: "Have"; readonly spec: WorkerSpec; readonly origin: Origin }
  | { readonly _tag: "Drain" }
  | { readonly _tag: "Forget" }

const have = (spec: WorkerSpec, origin: Origin): Wanted => ({ _tag: "Have", spec, origin })

/**
 * An operator's word counts over lists and announcements. Of several descriptions of one address this replica's own is
 * taken: it knows the key, and how events are reached from here. Nobody's worker is drained.
 */
export const wanted = ({ announced, keyed, listed, told }: Sources): Wanted => {
  if (told?.state === "drained") return { _tag: "Drain" }
  if (told?.state === "removed") return { _tag: "Forget" }
  const isMeant = (own: WorkerSpec | undefined): own is WorkerSpec =>
    own !== undefined && (told === undefined || told.spec.url === own.url)
  if (isMeant(keyed)) return have(keyed, "admin")
  if (isMeant(listed)) return have(listed, "config")
  if (told !== undefined && !told.keyed) return have(told.spec, "admin")
  return announced === undefined ? { _tag: "Drain" } : have(announced, "announced")
}

/** Does the fleet list it as it is wanted? */
export const isAsWanted = (
  found: { readonly spec: WorkerSpec; readonly state: string } | undefined,
  want: Wanted
): boolean => {
  if (want._tag === "Have")
    return found !== undefined && found.state !== "draining" && Equal.equals(found.spec, want.spec)
  return found === undefined || (want._tag === "Drain" && found.state === "draining")
}
