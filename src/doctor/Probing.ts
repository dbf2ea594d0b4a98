/**
 * Probing: four short requests, five where chats are tokenised otherwise here, and what was heard of them. Tokens as they
 * are come first, so that what is wrong with tokenizers does not hide what is wrong with events.
 */
import { Effect, Schedule } from "effect"
import type { Prompt } from "../domain/Request.ts"
import type { WorkerSpec } from "../domain/Worker.ts"
import * as Chains from "./Chains.ts"
import * as Generate from "./Generate.ts"
import type { Ear } from "./Listen.ts"
import type { Met } from "./Meet.ts"
import * as Prompts from "./Prompts.ts"
import type { Heard, Probe, ProbeName } from "./Seen.ts"
import * as Tokens from "./Tokens.ts"

/** Time an engine has to publish what an answer left in its cache. */
const heardMs = 3_000

export const probe = Effect.fnUntraced(function* (
  spec: WorkerSpec,
  met: Met,
  ears: ReadonlyArray<Ear>
): Effect.fn.Return<ReadonlyArray<Probe>> {
  const { facts, model } = met
  const rank = facts.ranks[0] ?? null
  const served = facts.models.find(({ id }) => id === model)
  const count = Prompts.length(facts.blockSize, served?.maxModelLen ?? null)
  const heard = (): ReadonlyArray<Heard> => ears.flatMap((ear) => ear.heard())

  const send = Effect.fnUntraced(function* (name: ProbeName, prompt: Prompt, salt: string | null) {
    const sentAtMs = Date.now()
    return yield* Effect.promise(
      async (): Promise<Probe> => ({
        name,
        prompt,
        salt,
        sentAtMs,
        answer: await Generate.generate(spec, model, prompt, salt, rank),
        local: await met.local(prompt),
        remote: await met.remote(prompt)
      })
    )
  })
  const until = (is: () => boolean) =>
    Effect.sync(is).pipe(
      Effect.repeat({ until: (done) => done, schedule: Schedule.spaced("25 millis") }),
      Effect.timeoutOption(ears.some((ear) => ear.isConnected()) ? heardMs : 0)
    )

  const prompt = Prompts.tokens(count)
  const cold = yield* send("cold", prompt, null)
  // What is refused once is refused again.
  if (cold.answer.status !== 200 || prompt._tag !== "Tokens") return [cold]
  yield* until(() => Chains.find(Chains.of(heard()), prompt.ids) !== null)
  const warm = yield* send("warm", prompt, null)
  const salted = yield* send("salted", prompt, Prompts.salt())
  const chat = yield* send("chat", Prompts.chat(count), null)
  const chains = () => Tokens.own(Chains.of(heard()), cold)
  const isSame = (probe: Probe) => Tokens.compare(probe, chains()).verdict === "same"
  yield* until(() => isSame(chat))
  const probes = [cold, warm, salted, chat]
  if (chat.answer.status !== 200 || Tokens.compare(chat, chains()).verdict !== "different") return probes
  const text = yield* send("text", Prompts.text(count), null)
  yield* until(() => isSame(text))
  return [...probes, text]
})
