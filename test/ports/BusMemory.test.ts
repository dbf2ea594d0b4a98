import * as BusMemory from "../../src/ports/BusMemory.ts"
import { busConformance } from "./BusConformance.ts"

busConformance("BusMemory", async () => {
  const hub = BusMemory.make()
  return {
    replica: async () => {
      const { bus, cut } = hub.client()
      return { bus, cut: async (away) => cut(away) }
    },
    wipe: async () => hub.wipe(),
    truncate: async (entries) => hub.truncate(entries),
    close: async () => {}
  }
})
