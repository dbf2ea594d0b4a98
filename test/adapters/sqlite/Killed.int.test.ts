import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as SqliteStore from "../../../src/adapters/sqlite/SqliteStore.ts"
import type { Interface } from "../../../src/ports/StateStore.ts"
import * as StateStoreMemory from "../../../src/ports/StateStoreMemory.ts"
import { readAll } from "../../ports/StateStoreHistory.ts"
import { random } from "../../support/Chains.ts"
import { lines } from "../../support/Shares.ts"
import { batch } from "../../support/SqliteWriter.ts"

const writer = fileURLToPath(new URL("../../support/SqliteWriter.ts", import.meta.url))
const run = Effect.runPromise

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "warmpath-sqlite-"))
})
afterEach(() => rmSync(dir, { recursive: true }))

const optionsOf = (file: string) => ({ file, ttlMs: 7_200_000, bytesMax: 2 ** 30, deadlineMs: 30_000 })
const withStore = <A>(file: string, use: (store: Interface) => Promise<A>): Promise<A> =>
  run(Effect.scoped(Effect.flatMap(SqliteStore.open(optionsOf(file)), (store) => Effect.promise(() => use(store)))))

/** A process that has the file open and writes to it. */
const begin = async (file: string, first: number, tenures: ReadonlyArray<number>) => {
  const child = spawn(process.execPath, [writer, file, String(first), ...tenures.map(String)], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  let said = ""
  child.stdout.on("data", (chunk: Buffer) => {
    said += chunk.toString()
  })
  const closed = once(child, "close")
  const died = closed.then(() => Promise.reject(new Error("It ended by itself.")))
  died.catch(() => {})
  /** Until it has done so many batches more. */
  const does = async (batches: number): Promise<void> => {
    while (said.split("\n").length < batches + 2) await Promise.race([once(child.stdout, "data"), died])
  }
  await does(0)
  return {
    does,
    /** The number of the last batch that it said is done. */
    kill: async (): Promise<number> => {
      child.kill("SIGKILL")
      await closed
      return Number(
        said
          .trim()
          .split("\n")
          .at(-1)
          ?.replace("open", String(first - 1))
      )
    }
  }
}

describe("A file whose router is killed", () => {
  it("has all that was acknowledged, and of what was under way whole shares from the first on", async () => {
    const file = join(dir, "store.db")
    const names = ["a", "b", "c", "d", "e"]
    const twin = StateStoreMemory.make().client().store
    const tenures: Array<number> = []
    const twins: Array<number> = []
    await withStore(file, async (store) => {
      for (const name of names) {
        tenures.push(await run(store.enter(name)))
        twins.push(await run(twin.enter(name)))
      }
    })
    const next = random(7)
    let first = 0
    for (let life = 0; life < 8; life++) {
      const child = await begin(file, first, tenures)
      await child.does(1 + next(20))
      await sleep(next(5))
      const acknowledged = await child.kill()
      for (; first <= acknowledged; first++) await run(twin.write(batch(first, twins)))
      const there = await withStore(file, async (store) => lines(await readAll(store)))
      const known = async () => lines(await readAll(twin))
      const isThere = async () => there.join("\n") === (await known()).join("\n")
      // The next life begins with the batch that was under way: what is written again is written once.
      for (const share of batch(first, twins)) if (!(await isThere())) await run(twin.write([share]))
      expect(there).toEqual(await known())
    }
  })

  it("can be opened at once, and not before", async () => {
    const file = join(dir, "store.db")
    const child = await begin(file, 0, [1])
    const refused = await run(Effect.flip(Effect.scoped(SqliteStore.open(optionsOf(file)))))
    expect(refused).toMatchObject({ code: "ERR_STORE_BUSY", store: `sqlite:${file}` })
    expect(refused.message).toContain("another process has the file open")
    await child.kill()
    await withStore(file, async (store) => expect(await run(store.names)).toEqual([]))
  })
})
