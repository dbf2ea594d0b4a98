/** `warmpath explain`: why a request went where it went, or where one would go now. */
import { readFile } from "node:fs/promises"
import { Console, Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import picocolors from "picocolors"
import * as AdminClient from "./AdminClient.ts"
import type { Receipt, ReceiptLine } from "./domain/Receipt.ts"
import * as ExplainText from "./ExplainText.ts"
import * as Columns from "./top/Columns.ts"

const text = (name: string, words: string) => Flag.String(name).pipe(Flag.optional, Flag.withDescription(words))

/** Lines that the API gives at once. */
const lastMax = 1_000

const flags = {
  id: Argument.String("request-id").pipe(
    Argument.optional,
    Argument.withDescription("x-request-id of an answer that has ended")
  ),
  last: Flag.Int("last").pipe(
    Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: lastMax }))),
    Flag.optional,
    Flag.withDescription(`Instead: the newest so many requests, a line each; at most ${lastMax}`)
  ),
  model: text("model", "Instead: where a request for this model would go now; with --prompt or --messages"),
  prompt: text("prompt", "Its prompt, as in a completions request"),
  messages: text("messages", "File with its messages, a JSON array, as in a chat request"),
  body: text("body", "Instead: file with the JSON body of a request, to ask where it would go now"),
  admin: AdminClient.flag,
  json: Flag.Boolean("json").pipe(Flag.withDefault(false), Flag.withDescription("As JSON, as the admin API has it"))
}

type Given = Command.Command.Config.Infer<typeof flags>

/** It was not said what to explain, or that cannot be read. */
class ExplainRefused extends Schema.TaggedError<ExplainRefused>()("ExplainRefused", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

const refuse = (detail: string) => Effect.fail(new ExplainRefused({ detail }))

const jsonOf = (flag: string, file: string) =>
  Effect.tryPromise({
    try: async () => JSON.parse(await readFile(file, "utf8")) as unknown,
    catch: (cause) => {
      const { code, message } = cause as NodeJS.ErrnoException
      const why = code === "ENOENT" ? "there is no such file" : message
      return new ExplainRefused({ detail: `${flag} ${file}: ${why}. Give a file of JSON.` })
    }
  })

/** What is asked of the API, and how it is shown. */
interface Question {
  readonly path: string
  readonly body?: unknown
  readonly show: (answer: never) => string
}

const colors = picocolors.createColors(process.stdout.isTTY && picocolors.isColorSupported)
const ways = "Give a request's id, or --last N, or --model with --prompt or --messages, or --body FILE"

const questionOf = Effect.fnUntraced(function* (given: Given) {
  const id = Option.getOrNull(given.id)
  const last = Option.getOrNull(given.last)
  const model = Option.getOrNull(given.model)
  const prompt = Option.getOrNull(given.prompt)
  const messages = Option.getOrNull(given.messages)
  const body = Option.getOrNull(given.body)
  const asked = [id, last, model ?? prompt ?? messages, body].filter((way) => way !== null)
  if (asked.length !== 1)
    return yield* refuse(`${asked.length === 0 ? "What is to be explained?" : "One at a time."} ${ways}.`)
  const now = (body: unknown): Question => ({
    ...{ path: "/admin/explain", body },
    show: (answer: ExplainText.Explained) => ExplainText.explained(answer, colors)
  })
  if (id !== null) {
    const show = (answer: Receipt) => ExplainText.receipt(answer, colors)
    return { path: `/admin/receipts/${encodeURIComponent(id)}`, show } as Question
  }
  if (last !== null) {
    const show = (answer: { readonly receipts: ReadonlyArray<ReceiptLine> }) =>
      ExplainText.list(answer.receipts, colors)
    return { path: `/admin/receipts?limit=${last}`, show } as Question
  }
  if (body !== null) return now(yield* jsonOf("--body", body))
  if (model === null) return yield* refuse("For which model? Add --model NAME.")
  if (prompt !== null && messages !== null) return yield* refuse("Give --prompt or --messages, not both.")
  if (prompt !== null) return now({ model, prompt })
  if (messages !== null) return now({ model, messages: yield* jsonOf("--messages", messages) })
  return yield* refuse("What would be asked of it? Add --prompt TEXT or --messages FILE.")
})

/** What engines and clients wrote commands no terminal. JSON escapes it by itself. */
const clean = (answer: unknown): unknown =>
  JSON.parse(JSON.stringify(answer), (_, value: unknown) => (typeof value === "string" ? Columns.clean(value) : value))

const run = Effect.fnUntraced(function* (given: Given) {
  const question = yield* questionOf(given)
  const admin = yield* AdminClient.make(given.admin)
  const answer = yield* admin.ask(question.path, question.body)
  yield* Console.log(given.json ? JSON.stringify(answer, null, 2) : question.show(clean(answer) as never))
})

export const make = (usage: (error: { readonly message: string }) => Error) =>
  Command.make("explain", flags, (given) => run(given).pipe(Effect.mapError(usage))).pipe(
    Command.withDescription(
      "Why a request went where it went: every candidate's cost, what was predicted of its cache and what was delivered; or where one would go now"
    )
  )
