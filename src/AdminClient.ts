/** AdminClient: questions of a command to the admin API of a router that runs. */
import { Effect, Option, Schema } from "effect"
import { Flag } from "effect/cli"
import * as Config from "./Config.ts"

/** Nobody answered, or with a refusal. */
export class AdminRefused extends Schema.TaggedError<AdminRefused>()("AdminRefused", {
  /** As the API names it, `unknown_receipt`; null where no router answered. */
  code: Schema.NullOr(Schema.String),
  detail: Schema.String
}) {
  override get message() {
    return this.detail
  }
}

export interface AdminClient {
  readonly url: string
  /** What is answered to a GET, or with a body to a POST. */
  readonly ask: (path: string, body?: unknown) => Effect.Effect<unknown, AdminRefused>
}

const answerMs = 15_000

/** Where a router of this machine has it, by the same variables. */
const here = (env: NodeJS.ProcessEnv): string => {
  const { adminHost, adminPort } = Config.knobs
  const host = env[adminHost.env ?? ""] || adminHost.fallback
  const shown = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host
  return `http://${shown.includes(":") ? `[${shown}]` : shown}:${env[adminPort.env ?? ""] || adminPort.fallback}`
}

/** `--admin`, of every command that asks. */
export const flag = Flag.String("admin").pipe(
  Flag.optional,
  Flag.withDescription("Address of the router's admin API; that of a router on this machine, by its variables")
)

/** `given`: what `flag` was; none for a router of this machine. */
export const addressOf = (given: Option.Option<string>): Effect.Effect<string, AdminRefused> => {
  const text = Option.getOrElse(given, () => here(process.env))
  const whole = /^https?:\/\//i.test(text) ? text : `http://${text}`
  return URL.canParse(whole)
    ? Effect.succeed(new URL(whole).origin)
    : Effect.fail(
        new AdminRefused({
          code: null,
          detail: `--admin ${text} is no address: give http://host:${Config.knobs.adminPort.fallback}.`
        })
      )
}

export const make = (given: Option.Option<string>): Effect.Effect<AdminClient, AdminRefused> =>
  Effect.map(addressOf(given), (url) => ({ url, ask: ask(url) }))

const ask =
  (url: string) =>
  (path: string, body?: unknown): Effect.Effect<unknown, AdminRefused> =>
    Effect.tryPromise({
      try: async (signal) => {
        const response = await fetch(`${url}${path}`, {
          signal: AbortSignal.any([signal, AbortSignal.timeout(answerMs)]),
          ...(body === undefined
            ? {}
            : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
        })
        return { status: response.status, text: await response.text() }
      },
      catch: (cause) => unreachable(url, whyOf(cause))
    }).pipe(
      Effect.flatMap(({ status, text }) => {
        const json = parsed(text)
        if (status === 200 && json !== undefined) return Effect.succeed(json)
        const fault = faultOf(json)
        return Effect.fail(
          fault === null
            ? new AdminRefused({
                code: null,
                detail: `${url}${path} answered ${status}, and not as a router does: ${hint}`
              })
            : new AdminRefused({ code: fault.code, detail: `${fault.message} ${fault.fix}` })
        )
      })
    )

const hint = "give the address that `warmpath serve` prints as admin, --admin http://host:8081."

/** `why`: in words. */
export const unreachable = (url: string, why: string): AdminRefused =>
  new AdminRefused({
    code: null,
    detail: `No router answers at ${url} (${why}). Is one running there? Else ${hint} It answers other machines only with --admin-host.`
  })

const whyOf = (cause: unknown): string => {
  const error = cause as Error & { readonly cause?: Error }
  return error.name === "TimeoutError" ? `no answer in ${answerMs / 1_000} s` : (error.cause?.message ?? error.message)
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const Fault = Schema.Struct({
  error: Schema.Struct({ code: Schema.String, message: Schema.String, fix: Schema.String })
})
const isFault = Schema.is(Fault)

const faultOf = (json: unknown) => (isFault(json) ? json.error : null)
