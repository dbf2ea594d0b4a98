import { stateStoreConformance } from "../../ports/StateStoreConformance.ts"
import * as FakeFabric from "../../support/FakeFabric.ts"
import { rig } from "../../support/MemoryNodes.ts"

for (const mode of ["rpc", "read"] as const) {
  stateStoreConformance(`RdmaStore on a fabric in memory, mode ${mode}`, () => rig(FakeFabric.make(), `mode=${mode}`), {
    steps: 60,
    requests: 100,
    shares: 400
  })
}
