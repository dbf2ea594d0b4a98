/** SnapshotWords: what replicas say to each other when one takes the other's picture: questions and answers, as JSON. */
import { Schema } from "effect"

export const subject = "snapshot"
export const sessionSubject = (replica: string): string => `${subject}.${replica}`

/** Publishers by name; a slot is each replica's own. */
const Who = Schema.Struct({ name: Schema.String, model: Schema.String })

/** On `snapshot`, of any replica that is ready. */
export const Open = Schema.fromJsonString(
  Schema.Struct({
    /** `take`: begin a session. `retake`: with those only that are known from their start. */
    what: Schema.Literals(["take", "retake"]),
    publishers: Schema.Array(Who),
    /** Replicas that are not to answer: who asks, and who has failed it. */
    not: Schema.Array(Schema.String)
  })
)

/**
 * The one answer to it. `pass`: it is one of those that are not to, gives to as many as it can, or has nothing to take anew.
 * Numbers count in `publishers`.
 */
export const Opened = Schema.fromJsonString(
  Schema.Union([
    Schema.TaggedStruct("pass", { replica: Schema.String, busy: Schema.Boolean }),
    Schema.TaggedStruct("session", {
      replica: Schema.String,
      session: Schema.Int,
      /** Those that come in this session, and those it cannot give; the rest is to be asked for again. */
      taken: Schema.Array(Schema.Int),
      absent: Schema.Array(Schema.Int)
    })
  ])
)

/** On `snapshot.<replica>`: the next messages of a session, after so many. Answered by `SnapshotFrames`. */
export const Pull = Schema.fromJsonString(Schema.Struct({ session: Schema.Int, after: Schema.Int }))

/** What a frame of kind `SAY` says; `publisher` and the places in `layers` count in `taken`. */
export const Say = Schema.fromJsonString(
  Schema.Union([
    /** Its head and pieces follow; it stood at this place of the log. */
    Schema.TaggedStruct("publisher", { publisher: Schema.Int, position: Schema.Finite }),
    /** It cannot be given after all. */
    Schema.TaggedStruct("gone", { publisher: Schema.Int }),
    /** Which tiers are told apart, a bit each. What the index holds follows. */
    Schema.TaggedStruct("layers", { layers: Schema.Array(Schema.Int) }),
    /** That was all. What was sent of these is void. */
    Schema.TaggedStruct("end", { voided: Schema.Array(Schema.Int) })
  ])
)
export type Say = typeof Say.Type

export const bytesOf = (text: string): Uint8Array => Buffer.from(text)
export const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()
