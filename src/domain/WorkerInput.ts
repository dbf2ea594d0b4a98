/** A worker as a person writes it: in the config file, on the command line, or to the admin API. */
import { Schema } from "effect"
import type { WorkerSpec } from "./Worker.ts"

const isUrl = Schema.makeFilter((text: string) => {
  const url = URL.canParse(text) ? new URL(text) : null
  return (
    (url !== null &&
      (url.protocol === "http:" || url.protocol === "https:") &&
      url.username === "" &&
      url.password === "" &&
      url.search === "" &&
      url.hash === "") ||
    "must be an http or https address without user, query or fragment, for example http://10.0.0.4:8000"
  )
})

const isZmqAddress = Schema.isPattern(/^(tcp:\/\/[^\s*]+:\d+|ipc:\/\/\S+)$/, {
  message: "must be an address a subscriber can connect to, for example tcp://10.0.0.4:5557"
})

const Url = Schema.String.check(isUrl)

const Id = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9._:[\]-]{1,128}$/, { message: "must be 1 to 128 of A-Z a-z 0-9 . _ : - [ ]" })
)

const Events = Schema.Struct({
  endpoint: Schema.String.check(isZmqAddress),
  replayEndpoint: Schema.optionalKey(Schema.NullOr(Schema.String.check(isZmqAddress))),
  topic: Schema.optionalKey(Schema.String),
  rank: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)))
})

const ranksDiffer = Schema.makeFilter(
  (sources: ReadonlyArray<typeof Events.Type>) =>
    new Set(sources.map((source, index) => source.rank ?? index)).size === sources.length ||
    "must name each rank once; a source without one has that of its place in the list, counted from 0"
)

const ApiKey = Schema.RedactedFromValue(
  Schema.String.check(Schema.isPattern(/^[\x21-\x7e]+$/, { message: "must be printable ASCII without spaces" }))
)

/** What anyone may know of it: how replicas tell each other of a worker, and how it announces itself. */
export const publicFields = {
  id: Schema.optionalKey(Id),
  url: Url,
  /** One publisher, or one for each data-parallel rank, whose rank is its place unless it says another. */
  events: Schema.optionalKey(Schema.Union([Events, Schema.Array(Events).check(Schema.isMinLength(1), ranksDiffer)]))
}

export const WorkerInput = Schema.Struct({ ...publicFields, apiKey: Schema.optionalKey(ApiKey) })
export type WorkerInput = typeof WorkerInput.Type

/** The spec meant by an input: trailing slashes go, and the id defaults to `host:port`. */
export const toSpec = (input: WorkerInput): WorkerSpec => {
  const url = new URL(input.url)
  const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port
  const { apiKey, events } = input
  const sources = events === undefined || !("endpoint" in events) ? events : [events]
  return {
    id: input.id ?? `${url.hostname}:${port}`,
    url: url.origin + url.pathname.replace(/\/+$/, ""),
    ...(sources === undefined
      ? {}
      : { events: sources.map((source, rank) => ({ replayEndpoint: null, topic: "", rank, ...source })) }),
    ...(apiKey === undefined ? {} : { apiKey })
  }
}
