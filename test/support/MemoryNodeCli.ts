/** `memory-node` alone, as a process of its own. */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Effect, Exit } from "effect"
import { CliError, Command } from "effect/cli"
import * as MemoryNodeCommand from "../../src/adapters/rdma/MemoryNodeCommand.ts"

Command.run(
  MemoryNodeCommand.make((error) => new CliError.UserError({ cause: error, userMessage: error.message })),
  { version: "0" }
).pipe(
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({
    teardown: (exit, done) => done(Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause) ? 1 : 0)
  })
)
