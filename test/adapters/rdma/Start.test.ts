import { once } from "node:events"
import { connect } from "node:net"
import { describe, expect, it } from "vitest"
import { freePort } from "../../../loadtest/servers/ServerProcess.ts"
import * as Frames from "../../../src/adapters/rdma/Frames.ts"
import * as FakeFabric from "../../support/FakeFabric.ts"
import { node, stores } from "../../support/MemoryNodes.ts"

describe("A store whose memory node does not answer", () => {
  const opened = async (fabric: FakeFabric.FakeFabric, query = "") => {
    const all = stores(fabric)
    try {
      const store = await all.open(`rdma://127.0.0.1:${await freePort()}${query}`)
      return store.status().why
    } finally {
      await all.close()
    }
  }

  it("waits for it", async () => {
    expect(await opened(FakeFabric.make())).toMatch(/ECONNREFUSED/)
  })

  it("fails at the start where the provider is not there", async () => {
    await expect(opened(FakeFabric.make(), "?provider=nonesuch")).rejects.toMatchObject({ code: "ERR_RDMA_PROVIDER" })
  })

  it("fails at the start where the library is not there", async () => {
    const lacking = Object.assign(new Error("libfabric cannot be loaded: it is not there. Install it."), {
      code: "ERR_RDMA_LIBRARY"
    })
    const fabric = Object.assign(FakeFabric.make(), {
      open: () => {
        throw lacking
      }
    })
    await expect(opened(fabric)).rejects.toMatchObject({
      code: "ERR_RDMA_LIBRARY",
      why: "libfabric cannot be loaded: it is not there",
      fix: expect.stringMatching(/^Install it\. .*library=/)
    })
  })
})

const sockets = (): number => process.getActiveResourcesInfo().filter((kind) => kind === "TCPSocketWrap").length

describe("A memory node", () => {
  it("touches no file where another has its address", async () => {
    const fabric = FakeFabric.make()
    const first = await node(fabric)
    const mapped: Array<string | null> = []
    const other = {
      ...fabric,
      map: (path: string | null, bytes: number) => {
        mapped.push(path)
        return fabric.map(path, bytes)
      }
    }
    await expect(node(other, { port: first.port, backing: "/dev/shm/kept" })).rejects.toMatchObject({
      code: "EADDRINUSE"
    })
    expect(mapped).toEqual([])
    await first.close()
  })

  it("hangs up on those it refuses, whether they do or not", async () => {
    const own = await node(FakeFabric.make())
    await expect.poll(sockets).toBe(0)
    const socket = connect({ port: own.port, host: "127.0.0.1", allowHalfOpen: true })
    socket.on("error", () => {})
    Frames.send(socket, { layout: 1, wire: 1, token: "wrong", provider: "fake", version: "1", address: "" })
    const [refusal] = await once(socket, "data")
    expect(String(refusal)).toMatch(/ERR_RDMA_TOKEN/)
    // Ours alone is left, and silent.
    await expect.poll(sockets).toBe(1)
    socket.destroy()
    await own.close()
  })
})
