import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Worker } from "node:worker_threads"
import { Effect, Exit, Scope } from "effect"
import { describe, expect, it } from "vitest"
import * as SqliteStore from "../../../src/adapters/sqlite/SqliteStore.ts"
import { DEVICE } from "../../../src/domain/Tier.ts"
import { stateStoreConformance } from "../../ports/StateStoreConformance.ts"
import { extend, random } from "../../support/Chains.ts"
import { stretchOf } from "../../support/Shares.ts"

const run = Effect.runPromise

const open = async (deadlineMs = 10_000) => {
  const dir = mkdtempSync(join(tmpdir(), "warmpath-sqlite-"))
  const scope = await run(Scope.make())
  const options = { file: join(dir, "store.db"), ttlMs: 7_200_000, bytesMax: 2 ** 30, deadlineMs, lookupMs: 10_000 }
  const store = await run(Scope.provide(SqliteStore.open(options), scope))
  const close = async () => {
    await run(Scope.close(scope, Exit.void))
    rmSync(dir, { recursive: true })
  }
  return { store, close }
}

stateStoreConformance("SqliteStore", async () => {
  const { close, store } = await open()
  // The file is one router's alone.
  return { client: async () => store, cut: null, wipe: null, close }
})

describe("SqliteStore", () => {
  const keys = extend(new Int32Array(0), 0, 20, random(1))

  it("is away while its thread is dead, and has all it had when another is there", async () => {
    const threads: Array<Worker> = []
    const seen = (worker: Worker) => void threads.push(worker)
    process.on("worker", seen)
    const { close, store } = await open()
    const tenure = await run(store.enter("w"))
    await run(store.write(stretchOf({ tenure, layer: DEVICE, stride: 8 }, keys, true)))
    const generation = await run(store.generation)
    const asked = run(Effect.flip(store.write(stretchOf({ tenure, layer: DEVICE, stride: 8 }, keys, true))))
    await threads[0]!.terminate()
    expect(await asked).toMatchObject({ reason: "away" })
    expect(store.status().connected).toBe(false)
    expect(store.status().why).toContain("thread ended")
    expect(await run(Effect.flip(store.lookup(keys, 20, 8)))).toMatchObject({ reason: "away" })
    await expect.poll(() => store.status(), { timeout: 20_000 }).toMatchObject({ connected: true, why: "" })
    expect(await run(store.generation)).toBe(generation)
    expect(await run(store.lookup(keys, 20, 8))).toEqual([{ name: "w", blocks: [20, 20, 20, 20, 0] }])
    expect(threads).toHaveLength(2)
    process.off("worker", seen)
    await close()
  })

  it("says when an answer comes too late, and does what was asked even so", async () => {
    const { close, store } = await open(1)
    const enter = store.enter("w").pipe(Effect.retry({ times: 100 }))
    const tenure = await run(enter)
    const many = Array.from({ length: 2_000 }, (_, i) => extend(new Int32Array(0), 0, 8, random(i)))
    const shares = many.flatMap((chain) => stretchOf({ tenure, layer: DEVICE, stride: 8 }, chain, true))
    expect(await run(Effect.flip(store.write(shares)))).toMatchObject({ reason: "late" })
    const last = store.lookup(many.at(-1)!, 8, 8)
    await expect.poll(() => run(last), { timeout: 20_000 }).toEqual([{ name: "w", blocks: [8, 8, 8, 8, 0] }])
    await close()
  })

  it("writes what it was asked to before it closes, and nothing afterwards", async () => {
    const { close, store } = await open()
    const tenure = await run(store.enter("w"))
    const shares = stretchOf({ tenure, layer: DEVICE, stride: 8 }, keys, true)
    const writing = run(store.write(shares))
    await new Promise(setImmediate)
    const closing = close()
    await writing
    await closing
    expect(store.status().connected).toBe(false)
    expect(await run(Effect.flip(store.write(shares)))).toMatchObject({ reason: "away" })
  })
})
