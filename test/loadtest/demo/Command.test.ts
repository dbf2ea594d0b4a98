import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit } from "effect"
import { Command as Cli, CliError } from "effect/cli"
import * as Command from "../../../loadtest/demo/Command.ts"

/** Runs `demo` with these arguments over a router that refuses to start, so that nothing is ever left running. */
const run = (args: ReadonlyArray<string>) =>
  Cli.runWith(
    Command.make(() => Promise.reject(new Error("port taken"))),
    { version: "0", renderErrors: false }
  )(args).pipe(Effect.provide(NodeServices.layer), Effect.exit)

const errorOf = (exit: Exit.Exit<void, unknown>): unknown => {
  assert(Exit.isFailure(exit))
  return Cause.squash(exit.cause)
}

describe("warmpath demo", () => {
  for (const args of [
    ["--engines", "0"],
    ["--engines", "two"],
    ["--requests", "9"],
    ["--seconds", "1"],
    ["--seed", "-1"],
    ["--sede", "1"]
  ]) {
    it.effect(`refuses ${args.join(" ")} before anything starts`, () =>
      Effect.gen(function* () {
        const error = errorOf(yield* run(args))
        assert(error instanceof CliError.ShowHelp)
        assert.isAtLeast(error.errors.length, 1)
      })
    )
  }

  it.effect("explains itself with --help", () =>
    Effect.gen(function* () {
      assert.isTrue(Exit.isSuccess(yield* run(["--help"])))
    })
  )
})
