/**
 * Ask: a question to one of those who serve its subject, answered by any number of messages.
 *
 * Those who serve a subject are one queue group, so that NATS gives each question to one of them. Answers come to an inbox
 * of the question's own, in order. The last message has the header `Warmpath-End`: `done`, or `refused` with the reason as
 * its body; `Warmpath-Answers` counts those before it, so that one lost on the way is not taken for an answer in full.
 */
import { createInbox, headers, type Msg } from "@nats-io/transport-node"
import { Cause, Effect, FiberSet } from "effect"
import { type Bus, type BusError, refusal } from "../../ports/Bus.ts"
import * as Failure from "./Failure.ts"
import type { Guard } from "./Health.ts"
import type { Session, Sessions } from "./Session.ts"
import type { Subjects } from "./Subjects.ts"

const endHeader = "Warmpath-End"
const countHeader = "Warmpath-Answers"
const queue = "warmpath"
/** Questions being answered at once on one subject; more are refused. */
const questionsMax = 64

type AskOf = Pick<Bus["Service"], "ask" | "serve">

export const makeAsk =
  (sessions: Sessions, subjects: Subjects, guard: Guard, bytesMax: () => number): AskOf["ask"] =>
  (subject, data, take, silenceMs) =>
    Effect.callback<void, BusError>((resume) => {
      const what = `ask ${subject}`
      const session = sessions.current()
      if (session === null) return void resume(Effect.fail(Failure.away(what)))
      if (data.length > bytesMax())
        return void resume(Effect.fail(Failure.refused(what, `${data.length} bytes are more than ${bytesMax()}`)))
      const { nc } = session
      const inbox = createInbox()
      let answers = 0
      let isOver = false
      const over = (error: BusError | null): void => {
        if (isOver) return
        isOver = true
        clearTimeout(silence)
        stopEach()
        if (!nc.isClosed()) subscription.unsubscribe()
        resume(error === null ? Effect.void : Effect.fail(error))
      }
      const silence = setTimeout(() => over(Failure.late(what, `no answer in ${silenceMs} ms`)), silenceMs)
      const end = (message: Msg, how: string): void => {
        if (how === "refused") return over(Failure.refused(what, message.string()))
        const sent = Number(message.headers?.get(countHeader))
        over(sent === answers ? null : Failure.late(what, `${sent - answers} of ${sent} answers were lost`))
      }
      const subscription = nc.subscribe(inbox, {
        callback: (error, message) => {
          if (isOver) return
          if (error !== null) return over(Failure.busError(what, error))
          if (message.headers?.code === 503) return over(Failure.nobody(what, "nobody serves it"))
          const how = message.headers?.get(endHeader) ?? ""
          if (how !== "") return end(message, how)
          answers++
          silence.refresh()
          guard(() => take(new Uint8Array(message.data)))
        }
      })
      const stopEach = sessions.each(() => () => over(Failure.away(what)))
      nc.publish(subjects.full(subject), data, { reply: inbox })
      return Effect.sync(() => over(null))
    })

type Answer = Parameters<AskOf["serve"]>[1]

/** Answers one question, to its end. */
const answerOne = (session: Session, message: Msg, answer: Answer, bytesMax: () => number): Effect.Effect<void> => {
  let answers = 0
  let tooLarge = 0
  const respond = (data: Uint8Array | string, options?: { headers: ReturnType<typeof headers> }): void => {
    // Who asks notices by itself when the connection is gone.
    if (session.isOpen()) message.respond(data, options)
  }
  const send = (data: Uint8Array): void => {
    if (data.length > bytesMax()) tooLarge = data.length
    if (tooLarge > 0) return
    answers++
    respond(data)
  }
  const end = (refused: string | null): void => {
    const how = headers()
    how.set(endHeader, refused === null ? "done" : "refused")
    how.set(countHeader, String(answers))
    respond(refused ?? "", { headers: how })
  }
  return Effect.suspend(() => answer(new Uint8Array(message.data), send)).pipe(
    Effect.onExit((exit) =>
      Effect.sync(() => end(tooLarge > 0 ? `an answer of ${tooLarge} bytes is more than ${bytesMax()}` : refusal(exit)))
    ),
    Effect.catchCause((cause) =>
      Cause.hasDies(cause) ? Effect.logError("An answer on the bus died", cause) : Effect.void
    )
  )
}

export const makeServe =
  (sessions: Sessions, subjects: Subjects, bytesMax: () => number): AskOf["serve"] =>
  (subject, answer) =>
    Effect.gen(function* () {
      const run = yield* FiberSet.makeRuntime<never>()
      let asked = 0
      let isStopped = false
      const refuse = (session: Session, message: Msg, why: string): void =>
        void Effect.runFork(answerOne(session, message, () => Effect.fail({ message: why }), bytesMax))
      const begin = (session: Session): (() => void) => {
        const subscription = session.nc.subscribe(subjects.full(subject), {
          queue,
          callback: (error, message) => {
            if (error !== null) return
            if (isStopped) return refuse(session, message, "it stopped serving")
            if (asked >= questionsMax) return refuse(session, message, "it answers too many questions already")
            asked++
            const over = Effect.sync(() => void asked--)
            run(answerOne(session, message, answer, bytesMax).pipe(Effect.ensuring(over)))
          }
        })
        return () => {
          // Questions that are on their way here are still refused, rather than left without an answer.
          if (!session.nc.isClosed()) subscription.drain().catch(() => {})
        }
      }
      yield* Effect.acquireRelease(
        Effect.sync(() => sessions.each(begin)),
        (stop) =>
          Effect.sync(() => {
            isStopped = true
            stop()
          })
      )
    })
