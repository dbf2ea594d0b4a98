/**
 * RelayReplays: replays that replicas ask of each other: of the one that has the lease, and reads the engine's socket.
 */
import { Effect, Option, Schema, type Scope, Semaphore } from "effect"
import { ReplayReader, ReplayWriter } from "../src/hot/ReplayChunks.ts"
import { Bus, type BusError, word } from "../src/ports/Bus.ts"
import type { Subscription } from "../src/ports/EventStream.ts"

/** Served at a time; the others wait. Each runs at the speed of the engine's socket, some 50 MB/s. */
const concurrentReplays = 8
/** One message at most: larger ones gain nothing, and keep others waiting. */
const chunkBytesMax = 256 * 1024
/** While there is nothing to send. */
const signMs = 1_000
const silenceMs = 4_000

const Question = Schema.fromJsonString(Schema.Struct({ name: Schema.String, from: Schema.Int }))
const decode = Schema.decodeUnknownOption(Question)
const subjectOf = (replica: string): string => `replay.${word(replica)}`

/** What came of a question. `refused`: the engine's replay failed. `lost`: the other replica could not be asked. */
export type Outcome =
  | { readonly _tag: "done" }
  | { readonly _tag: "refused"; readonly reason: string }
  | { readonly _tag: "lost"; readonly reason: string }

/** Asks a replica for what a publisher has published. */
export const ask = (
  bus: Bus["Service"],
  replica: string,
  question: typeof Question.Type,
  take: (seq: number, payload: Uint8Array) => void
): Effect.Effect<Outcome> =>
  Effect.suspend(() => {
    const reader = new ReplayReader(take)
    const data = Buffer.from(JSON.stringify(question))
    return bus
      .ask(subjectOf(replica), data, (chunk) => reader.read(chunk), silenceMs)
      .pipe(
        Effect.match({
          onFailure: ({ message }: BusError): Outcome => ({ _tag: "lost", reason: message }),
          onSuccess: (): Outcome => {
            if (reader.state === "done") return { _tag: "done" }
            if (reader.state === "failed") return { _tag: "refused", reason: reader.reason }
            return { _tag: "lost", reason: `the answer of ${replica} broke off` }
          }
        })
      )
  })

/** Answers the others. `subscriptionOf`: of a publisher that is read here, for everybody; else null. */
export const serve = Effect.fnUntraced(function* (
  replica: string,
  subscriptionOf: (name: string) => Subscription | null,
  served: () => void
): Effect.fn.Return<void, never, Bus | Scope.Scope> {
  const bus = yield* Bus
  const permits = yield* Semaphore.make(concurrentReplays)
  const answer = (data: Uint8Array, send: (chunk: Uint8Array) => void): Effect.Effect<void, Error> => {
    const question = Option.getOrNull(decode(Buffer.from(data).toString()))
    if (question === null) return Effect.fail(new Error("not a question for a replay"))
    const { from, name } = question
    const subscription = subscriptionOf(name)
    if (subscription === null) return Effect.fail(new Error(`${replica} does not read ${name}`))
    const writer = new ReplayWriter(Math.min(bus.bytesMax(), chunkBytesMax), send)
    const replay = subscription.replay(from, writer.batch).pipe(
      Effect.match({
        onFailure: ({ reason }) => writer.fail(reason),
        onSuccess: () => {
          writer.end()
          served()
        }
      })
    )
    const signs = Effect.sleep(signMs).pipe(Effect.andThen(Effect.sync(() => writer.flush())), Effect.forever)
    return Effect.raceFirst(permits.withPermits(1)(replay), signs)
  }
  yield* bus.serve(subjectOf(replica), answer)
})
