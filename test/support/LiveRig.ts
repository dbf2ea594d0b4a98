/** The admin listener over a fleet that is made up: of any size, and changed by the test. The page and its feed are the real ones. */
import { Effect, Exit, References, Scope } from "effect"
import type { LiveWorker } from "../../src/domain/Live.ts"
import type { Receipt, ReceiptLine } from "../../src/domain/Receipt.ts"
import * as Admin from "../../src/http/Admin.ts"
import * as AdminLive from "../../src/http/AdminLive.ts"
import * as AdminPage from "../../src/http/AdminPage.ts"
import { Pulse } from "../../src/http/Pulse.ts"

export const worker = (n: number, fields: Partial<LiveWorker> = {}): LiveWorker => ({
  id: `gpu-${n}`,
  url: `http://10.0.0.${n}:8000`,
  state: "ready",
  why: "it answers",
  engine: "vllm",
  model: "m",
  ranks: 1,
  trust: "exact",
  credit: 1,
  queued: n % 3,
  active: n % 7,
  waitMs: (n * 37) % 900,
  inFlight: n % 7,
  deliveredShare: 1,
  blocks: (n * 61) % 1_000,
  blocksMax: 1_000,
  hitRate: (n % 100) / 100,
  ttftsMs: Array.from({ length: 16 }, (_, i) => 50 + ((n * 31 + i * 17) % 200)),
  ...fields
})

export interface LiveRig {
  readonly url: string
  readonly port: number
  workers: ReadonlyArray<LiveWorker>
  /** By their ids. */
  readonly receipts: Map<string, Receipt>
  /** Requests are over. */
  readonly over: (line: ReceiptLine) => void
  readonly close: () => Promise<void>
}

export const start = async (workers: ReadonlyArray<LiveWorker>, port = 0): Promise<LiveRig> => {
  const scope = Scope.makeUnsafe()
  const listeners = new Set<(line: () => ReceiptLine) => void>()
  const live = AdminLive.make({
    workers: () => rig.workers,
    pulse: new Pulse(() => true),
    inFlight: () => 0,
    listen: (heard) => {
      listeners.add(heard)
      return () => void listeners.delete(heard)
    },
    now: Date.now
  })
  const deps: Parameters<typeof Admin.listen>[1] = {
    list: () => [],
    find: () => undefined,
    add: () => Effect.die("nobody adds here"),
    remove: () => false,
    rank: () => null,
    blocks: () => new Int32Array(0),
    config: () => ({}),
    metrics: () => "",
    rooms: {
      live,
      receipts: (_request, _url, [id = ""]) => ({ status: 200, json: rig.receipts.get(id) ?? { receipts: [] } }),
      prefixes: () => ({ status: 200, json: { requests: 0, alone: 0, roots: [] } })
    },
    page: AdminPage.make()
  }
  const listening = await Effect.runPromise(
    Admin.listen({ host: "127.0.0.1", port }, deps).pipe(
      Effect.provideService(Scope.Scope, scope),
      Effect.provideService(References.MinimumLogLevel, "None")
    )
  )
  const rig: LiveRig = {
    url: `http://127.0.0.1:${listening.port}`,
    port: listening.port,
    workers,
    receipts: new Map(),
    over: (line) => {
      for (const heard of listeners) heard(() => line)
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
  return rig
}
