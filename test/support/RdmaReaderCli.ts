/** Reads all of a memory node over and over, as a process that may be stopped or killed meanwhile. Arguments: the store's address. */
import { Effect, Logger, Redacted, Scope } from "effect"
import * as RdmaStore from "../../src/adapters/rdma/RdmaStore.ts"

const store = await Effect.runPromise(
  RdmaStore.open({ url: process.argv[2]!, token: Redacted.make("secret") }).pipe(
    Effect.provideService(Scope.Scope, Scope.makeUnsafe()),
    Effect.provide(Logger.layer([]))
  )
)
for (;;) {
  await Effect.runPromise(
    store
      .read(() => Effect.sync(() => process.stdout.write("reading\n")))
      .pipe(Effect.catch(() => Effect.sleep("10 millis")))
  )
}
