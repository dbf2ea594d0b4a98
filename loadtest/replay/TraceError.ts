import { Schema } from "effect"

/** A trace cannot be read. */
export class TraceError extends Schema.TaggedError<TraceError>()("TraceError", {
  file: Schema.String,
  /** From 1; null where no line is to blame. */
  line: Schema.NullOr(Schema.Int),
  found: Schema.String,
  /** What would do. */
  accepted: Schema.String
}) {
  readonly blame = "client"
  readonly retry = "never"
  override get message() {
    return `${this.file}${this.line === null ? "" : `, line ${this.line}`}: ${this.found}. Accepted: ${this.accepted}.`
  }
}
