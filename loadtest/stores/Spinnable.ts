/** Spinnable: the addon, and a way to have all endpoints that were opened with it spin. */
import * as Fabric from "../../src/adapters/rdma/Fabric.ts"

export const spinnable = () => {
  const addon = Fabric.load()
  const endpoints: Array<Fabric.Endpoint> = []
  const fabric: Fabric.FabricAddon = {
    ...addon,
    open: (options) => {
      const endpoint = addon.open(options)
      endpoints.push(endpoint)
      return endpoint
    }
  }
  return {
    fabric,
    setSpin: (us: number): void => {
      for (const endpoint of endpoints) endpoint.setSpin(us)
    }
  }
}
