/** Memory nodes in this process, and stores of their own on them, for a fabric that is given. */
import { Effect, Exit, Logger, Redacted, Scope } from "effect"
import type { FabricAddon } from "../../src/adapters/rdma/Fabric.ts"
import * as MemoryNode from "../../src/adapters/rdma/MemoryNode.ts"
import * as RdmaStore from "../../src/adapters/rdma/RdmaStore.ts"
import type { Interface } from "../../src/ports/StateStore.ts"
import type { Rig } from "../ports/StateStoreConformance.ts"
import * as TcpProxy from "./TcpProxy.ts"

export type Store = Effect.Success<ReturnType<typeof RdmaStore.open>>

export const node = (fabric: FabricAddon, some: Partial<MemoryNode.Options> = {}): Promise<MemoryNode.Node> =>
  MemoryNode.start(fabric, {
    ...{ host: "127.0.0.1", port: 0, provider: "auto", library: null, backing: null, token: "secret" },
    ...{ bytes: 16 * 2 ** 20, bytesMax: 64 * 2 ** 20, ttlS: 7_200, spinUs: 0, release: "1.2.3", log: () => {} },
    ...some
  })

/** Opens stores, and closes all it opened. */
export const stores = (fabric: FabricAddon) => {
  const scope = Scope.makeUnsafe()
  return {
    open: (url: string, some: Partial<RdmaStore.Options> = {}): Promise<Store> =>
      Effect.runPromise(
        RdmaStore.open({ url, fabric, token: Redacted.make("secret"), lookupMs: 1_000, spinUs: 0, ...some }).pipe(
          Effect.provideService(Scope.Scope, scope),
          Effect.provide(Logger.layer([]))
        )
      ),
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** A node, and clients that can each be cut off: what the conformance of stores asks for. */
export const rig = async (
  fabric: FabricAddon,
  query: string,
  some: Partial<MemoryNode.Options> = {},
  options: Partial<RdmaStore.Options> = {}
): Promise<Rig> => {
  let own = await node(fabric, some)
  const { port } = own
  const opened = stores(fabric)
  const proxies = new Map<Interface, TcpProxy.TcpProxy>()
  return {
    client: async () => {
      const proxy = await TcpProxy.open(port)
      const store = await opened.open(`rdma://127.0.0.1:${proxy.port}?${query}`, options)
      proxies.set(store, proxy)
      return store
    },
    cut: async (store, away) => {
      proxies.get(store)!.cut(away)
      await until(() => store.status().connected !== away)
    },
    wipe: async () => {
      await own.close()
      own = await node(fabric, { ...some, port })
      for (const store of proxies.keys()) await until(() => store.status().connected)
    },
    close: async () => {
      await opened.close()
      for (const proxy of proxies.values()) await proxy.close()
      await own.close()
    }
  }
}

/** Looks until it is so. The test's own time limit ends it otherwise. */
export const until = async (isSo: () => boolean): Promise<void> => {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5))
}
