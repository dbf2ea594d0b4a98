/** Ours: the router's own index, and the adapters of the port `StateStore` that need no fabric. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { createClient } from "redis"
import * as PrefixIndex from "../../actors/PrefixIndex.ts"
import * as RedisStore from "../../src/adapters/redis/RedisStore.ts"
import * as SqliteStore from "../../src/adapters/sqlite/SqliteStore.ts"
import { layersMax } from "../../src/domain/Tier.ts"
import type { Interface } from "../../src/ports/StateStore.ts"
import * as RedisServer from "../servers/RedisServer.ts"
import { own, processUs } from "./Cpu.ts"
import { memoryOf } from "./RedisBlocks.ts"
import { nameOf, type Store, type Way } from "./Stores.ts"
import type { Query, Told, Workload } from "./Workload.ts"

export const ttlMs = 7_200_000
/** A machine that is busy is no reason to give up: what is late is to be seen. */
export const patience = { lookupMs: 60_000, deadlineMs: 60_000 }

/** A store of the port: every worker enters, and writes under its tenure. */
export const tell = Effect.fnUntraced(function* (store: Interface, workers: number) {
  yield* store.generation
  const tenures: Array<number> = []
  for (let worker = 0; worker < workers; worker++) tenures.push(yield* store.enter(nameOf(worker)))
  return (shares: ReadonlyArray<Told>) =>
    store.write(shares.map(({ share, worker }) => ({ ...share, tenure: tenures[worker]! })))
})

export const way = (name: string, store: Interface, stride: number, trips: Way["trips"]): Way => ({
  name,
  trips,
  lookup: ({ keys }) => store.lookup(keys, keys.length >> 1, stride)
})

export const local = ({ blocks, workers }: Workload) =>
  Effect.sync((): Store => {
    const turns: Array<() => void> = []
    const index = PrefixIndex.make(
      { workersMax: workers, blocksMax: Math.ceil(blocks.parents.length * 1.3) + 100_000 },
      (turn) => void turns.push(turn),
      (error) => {
        throw error
      }
    )
    const out = new Uint32Array(layersMax * workers)
    const now = ({ keys }: Query): Int32Array => {
      index.depths(keys, keys.length >> 1, out)
      return new Int32Array(out.buffer, 0, workers)
    }
    return {
      name: "local index",
      isNetworked: false,
      write: (shares) =>
        Effect.sync(() => {
          for (const { share, worker } of shares) {
            // It is told of what is new behind what is known, as by an engine's event.
            const from = 31 - Math.clz32(share.told & -share.told)
            const parent = from === 0 ? share.parent : share.keys.subarray(2 * from - 2, 2 * from)
            index.tell({ _tag: "Stored", worker, layer: share.layer, parent, keys: share.keys.subarray(2 * from) })
            for (let turn = turns.pop(); turn !== undefined; turn = turns.pop()) turn()
          }
        }),
      serverUs: null,
      bytes: Effect.sync(() => index.stats().bytes),
      ways: [
        // Each lookup finds code and memory as the one before left them; or as all the others have.
        { name: "local index", times: 50 },
        { name: "local index, caches cold" }
      ].map((one) => ({
        ...one,
        now,
        lookup: (query: Query) => Effect.sync(() => now(query).slice()),
        trips: () => 0
      }))
    }
  })

export const redis = Effect.fnUntraced(function* ({ stride, workers }: Workload) {
  const server = yield* Effect.acquireRelease(
    Effect.promise(() => RedisServer.start()),
    (server) => Effect.promise(server.close)
  )
  const url = `redis://127.0.0.1:${server.port}`
  const secrets = { user: null, password: null, caFile: null, certFile: null, keyFile: null }
  const store = yield* RedisStore.open({ url, namespace: "bench", ttlMs, ...secrets, ...patience })
  const client = createClient({ url })
  yield* Effect.acquireRelease(
    Effect.promise(() => client.connect()),
    () => Effect.sync(() => client.destroy())
  )
  const opened: Store = {
    name: "our Redis",
    isNetworked: true,
    write: yield* tell(store, workers),
    serverUs: () => processUs(server.pid()),
    bytes: Effect.promise(async () => memoryOf(await client.info("memory"))),
    ways: [way("our Redis", store, stride, (rounds) => rounds)]
  }
  return opened
})

export const sqlite = Effect.fnUntraced(function* ({ stride, workers }: Workload) {
  const folder = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "store-bench-"))),
    (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
  )
  const store = yield* SqliteStore.open({ file: join(folder, "kv.sqlite"), ttlMs, bytesMax: 2 ** 32, ...patience })
  const opened: Store = {
    name: "sqlite",
    isNetworked: false,
    write: yield* tell(store, workers),
    // Its thread is one of ours; so are those that collect garbage.
    serverUs: () => own().others,
    bytes: Effect.map(store.findings, (facts) => {
      // What is used of the file, or will be once its log is in it.
      return Number(facts.find(({ what }) => what === "size")!.value.split(" ")[0]) * 2 ** 20
    }),
    ways: [way("sqlite", store, stride, () => 1)]
  }
  return opened
})
