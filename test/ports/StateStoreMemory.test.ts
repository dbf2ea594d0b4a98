import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { DEVICE } from "../../src/domain/Tier.ts"
import type { Interface } from "../../src/ports/StateStore.ts"
import * as StateStoreMemory from "../../src/ports/StateStoreMemory.ts"
import { extend, random } from "../support/Chains.ts"
import { stretchOf } from "../support/Shares.ts"
import { stateStoreConformance } from "./StateStoreConformance.ts"

// Against itself the twin shows nothing, but the histories must run.
stateStoreConformance(
  "StateStoreMemory",
  async () => {
    const hub = StateStoreMemory.make()
    const clients = new Map<Interface, StateStoreMemory.Client>()
    return {
      client: async () => {
        const client = hub.client()
        clients.set(client.store, client)
        return client.store
      },
      cut: async (store, away) => clients.get(store)!.cut(away),
      wipe: async () => hub.wipe(),
      close: async () => {}
    }
  },
  { steps: 100, requests: 300, shares: 400 }
)

describe("StateStoreMemory", () => {
  it("does what is asked of it even when its answer comes too late", async () => {
    const hub = StateStoreMemory.make({ deadlineMs: 1, lookupMs: 1 })
    const { slow, store } = hub.client()
    const keys = extend(new Int32Array(0), 0, 4, random(1))
    const tenure = await Effect.runPromise(store.enter("w"))
    slow(true)
    const write = store.write(stretchOf({ tenure, layer: DEVICE, stride: 8 }, keys, true))
    expect(await Effect.runPromise(Effect.flip(write))).toMatchObject({ reason: "late" })
    expect(await Effect.runPromise(Effect.flip(store.lookup(keys, 4, 8)))).toMatchObject({ reason: "late" })
    slow(false)
    expect(await Effect.runPromise(store.lookup(keys, 4, 8))).toEqual([{ name: "w", blocks: [4, 4, 4, 4, 0] }])
  })
})
