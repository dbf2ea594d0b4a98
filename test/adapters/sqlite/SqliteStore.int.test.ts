import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Exit, Scope } from "effect"
import * as SqliteStore from "../../../src/adapters/sqlite/SqliteStore.ts"
import { stateStoreConformance } from "../../ports/StateStoreConformance.ts"

stateStoreConformance("SqliteStore", async () => {
  const dir = mkdtempSync(join(tmpdir(), "warmpath-sqlite-"))
  const scope = await Effect.runPromise(Scope.make())
  const options = {
    file: join(dir, "store.db"),
    ttlMs: 7_200_000,
    bytesMax: 2 ** 30,
    deadlineMs: 10_000,
    lookupMs: 10_000
  }
  // The file is one router's alone.
  const store = await Effect.runPromise(Scope.provide(SqliteStore.open(options), scope))
  return {
    client: async () => store,
    cut: null,
    wipe: null,
    close: async () => {
      await Effect.runPromise(Scope.close(scope, Exit.void))
      rmSync(dir, { recursive: true })
    }
  }
})
