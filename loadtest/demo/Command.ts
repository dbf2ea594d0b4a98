/** `warmpath demo`: flags, and from Ctrl-C to a clean end. */
import { Effect, Schema } from "effect"
import { CliError, Command, Flag } from "effect/cli"
import * as Demo from "./Demo.ts"
import * as Screen from "./Screen.ts"

const whole = (name: string, minimum: number, maximum: number, fallback: number, description: string) =>
  Flag.Int(name).pipe(
    Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum, maximum }))),
    Flag.withDefault(fallback),
    Flag.withDescription(`${description} (${minimum} to ${maximum}, default ${fallback})`)
  )

const yes = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDefault(false), Flag.withDescription(description))

/** Rendered once by the command line, without a stack. */
const failure = (error: unknown) =>
  new CliError.UserError({
    cause: error,
    userMessage: `The demo did not finish: ${error instanceof Error ? error.message : String(error)}`
  })

/** Runs until the promise settles. Interrupted, it fires the signal and waits until everything has stopped. */
const untilSettled = <A>(work: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, CliError.UserError> =>
  Effect.callback<A, CliError.UserError>((resume) => {
    const abort = new AbortController()
    const promise = work(abort.signal)
    promise.then(
      (value) => resume(Effect.succeed(value)),
      (error: unknown) => resume(Effect.fail(failure(error)))
    )
    return Effect.promise(() => {
      abort.abort()
      return promise.then(
        () => {},
        () => {}
      )
    })
  })

/** The command, over the router it is to show. */
export const make = (startRouter: Demo.StartRouter) =>
  Command.make(
    "demo",
    {
      engines: whole("engines", 1, 64, 4, "Simulated engines"),
      requests: whole("requests", 10, 100_000, 280, "Requests under each of the two policies"),
      seconds: whole("seconds", 2, 3_600, 20, "Seconds the requests are spread over, under each policy"),
      seed: whole("seed", 0, 2_147_483_647, 1, "Same seed, same traffic"),
      json: yes("json", "Print the figures as one JSON document and nothing else"),
      keep: yes("keep", "Afterwards keep engines and router up, with traffic, until Ctrl-C")
    },
    Effect.fn(function* ({ json, ...options }) {
      const screen = json ? Screen.silent : Screen.make(process.stdout, process.env)
      const show = (report: Demo.DemoReport) => {
        if (json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
      }
      yield* untilSettled((signal) => Demo.run(options, { startRouter, screen, signal, onReport: show })).pipe(
        Effect.ensuring(Effect.sync(screen.close))
      )
    })
  ).pipe(
    Command.withDescription(
      "A whole fleet on this machine: simulated engines, the router, agent, RAG and chat traffic made from real text; " +
        "then block hit rate, TTFT and load spread beside round robin on the same traffic. Takes about a minute."
    )
  )
