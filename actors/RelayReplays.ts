/**
 * RelayReplays: replays that replicas ask of each other: of the one that has the lease, and reads the engine's socket.
 *
 * A replay is asked for part by part, each once the one before was taken, so that what is on its way stays bounded however
 * slow who asks is. An engine cannot be made to wait, as it drops what is not taken at once: each part is a replay of its
 * own, from where the last one ended.
 */
import { Deferred, Effect, Option, Schema, type Scope, Semaphore } from "effect"
import { ReplayReader, ReplayWriter } from "../src/hot/ReplayChunks.ts"
import { Bus, type BusError, word } from "../src/ports/Bus.ts"
import type { Subscription } from "../src/ports/EventStream.ts"

/** Served at a time; the others wait. Each runs at the speed of the engine's socket, some 50 MB/s. */
const concurrentReplays = 8
/** One message at most: larger ones gain nothing, and keep others waiting. */
const chunkBytesMax = 256 * 1024
/**
 * One part: so many batches, or somewhat more than so many bytes. An engine that keeps 10 000 is asked ten times; it looks
 * for such requests every 0.1 s.
 */
const partBatchesMax = 1_000
const partBytesMax = 8 * 1024 * 1024
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

/** Asks a replica for what a publisher has published, in order, to the end. */
export const ask = (
  bus: Bus["Service"],
  replica: string,
  question: typeof Question.Type,
  take: (seq: number, payload: Uint8Array) => void
): Effect.Effect<Outcome> =>
  Effect.suspend(() => {
    const { from, name } = question
    const lost = (reason: string) => Effect.succeed<Outcome>({ _tag: "lost", reason })
    let next = from
    const reader = new ReplayReader((seq, payload) => {
      next = Math.max(next, seq + 1)
      take(seq, payload)
    })
    return bus
      .ask(subjectOf(replica), Buffer.from(JSON.stringify(question)), (chunk) => reader.read(chunk), silenceMs)
      .pipe(
        Effect.matchEffect({
          onFailure: ({ message }: BusError) => lost(message),
          onSuccess: (): Effect.Effect<Outcome> => {
            if (reader.state === "done") return Effect.succeed({ _tag: "done" })
            if (reader.state === "failed") return Effect.succeed({ _tag: "refused", reason: reader.reason })
            if (reader.state === "more" && next > from) return ask(bus, replica, { name, from: next }, take)
            return lost(`the answer of ${replica} broke off`)
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
    const full = Deferred.makeUnsafe<void>()
    let batches = 0
    let bytes = 0
    const isFull = (): boolean => batches >= partBatchesMax || bytes >= partBytesMax
    const take = (seq: number, payload: Uint8Array): void => {
      // The engine goes on until its replay is ended.
      if (isFull()) return
      batches++
      bytes += payload.length
      writer.batch(seq, payload)
      if (isFull()) Deferred.doneUnsafe(full, Effect.void)
    }
    const replay = Effect.raceFirst(subscription.replay(from, take, partBatchesMax), Deferred.await(full)).pipe(
      Effect.match({
        onFailure: ({ reason }) => writer.fail(reason),
        onSuccess: () => {
          if (isFull()) return writer.more()
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
