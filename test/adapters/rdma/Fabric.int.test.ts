import { afterEach, beforeAll, describe, expect, it } from "vitest"
import { type Endpoint, type FabricAddon, type FabricOptions, load } from "../../../src/adapters/rdma/Fabric.ts"
import { tally } from "../../support/FabricMessages.ts"
import { type Peer, regionByte, regionBytes, sendAll, start } from "../../support/FabricPeer.ts"
import { addonFile, libfabric } from "../../support/Rdma.ts"

let addon = ""
let fabric: FabricAddon
let options: FabricOptions

beforeAll(async () => {
  addon = process.env.WARMPATH_TEST_ADDON ?? (await addonFile())
  fabric = load(addon)
  options = {
    provider: "tcp",
    host: "127.0.0.1",
    library: await libfabric(),
    messageBytesMax: 8_192,
    receives: 64,
    sendsMax: 32
  }
}, 300_000)

const closing: Array<() => Promise<void>> = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

const open = (more: Partial<FabricOptions> & { readonly spin?: number } = {}): Endpoint => {
  const { spin = 0, ...rest } = more
  const endpoint = fabric.open({ ...options, ...rest })
  endpoint.setSpin(spin)
  closing.push(() => endpoint.close())
  return endpoint
}

const peerOf = async (
  more: Partial<FabricOptions> & { readonly spin?: number; readonly echo?: boolean } = {}
): Promise<Peer> => {
  const peer = await start(addon, { spin: 0, ...options, ...more })
  closing.push(peer.kill)
  return peer
}

/** Looks until it is so. The test's own time limit ends it otherwise. */
const until = async (isSo: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 5))
}

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "none",
    (error) => String((error as { code?: string }).code)
  )

const expected = (offset: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => regionByte(offset + i))

describe.each([
  { name: "tcp, asleep on its descriptor", provider: "tcp", spin: 0 },
  { name: "tcp, spinning", provider: "tcp", spin: 200 },
  { name: "shared memory, spinning", provider: "shm", spin: 200 }
])("Fabric over $name", ({ provider, spin }) => {
  it("carries thousands of messages both ways, each whole and once", { timeout: 60_000 }, async () => {
    const own = open({ provider, spin })
    const peer = await peerOf({ provider, spin })
    expect(peer.provider).toBe(own.provider)
    const came = tally(options.messageBytesMax)
    own.onMessage(came.take)
    await peer.meet(own.address)
    const to = own.insert(peer.address)
    const count = 5_000
    await Promise.all([sendAll(own, to, count, options.messageBytesMax), peer.burst(count)])
    await until(() => came.result().whole === count)
    await until(async () => (await peer.tally()).whole === count)
    expect(came.result()).toEqual({ whole: count, torn: 0, twice: 0 })
    expect(await peer.tally()).toEqual({ whole: count, torn: 0, twice: 0 })
  })

  it("carries messages of a megabyte", async () => {
    const large = { provider, spin, messageBytesMax: 1 << 20, receives: 8 }
    const own = open(large)
    const peer = await peerOf(large)
    const came = tally(large.messageBytesMax)
    own.onMessage(came.take)
    await peer.meet(own.address)
    const to = own.insert(peer.address)
    // Every fiftieth has the full length.
    await Promise.all([sendAll(own, to, 200, large.messageBytesMax), peer.burst(200)])
    await until(() => came.result().whole === 200)
    await until(async () => (await peer.tally()).whole === 200)
    expect([came.result().torn, (await peer.tally()).torn]).toEqual([0, 0])
  })

  it("reads a peer's region, many reads at once", async () => {
    const own = open({ provider, spin })
    const peer = await peerOf({ provider, spin })
    const to = own.insert(peer.address)
    for (const [offset, length] of [
      [0, 1],
      [4_096, 512],
      [77, 100_001],
      [0, regionBytes],
      [regionBytes - 1, 1]
    ] as const) {
      expect(Buffer.compare(await own.read(to, peer.region, offset, length, 10_000), expected(offset, length))).toBe(0)
    }
    const many = await Promise.all(
      Array.from({ length: 200 }, (_, i) => own.read(to, peer.region, i * 512, 512, 10_000))
    )
    expect(many.every((bytes, i) => Buffer.compare(bytes, expected(i * 512, 512)) === 0)).toBe(true)
  })

  it("tells of a killed peer once, and goes on with the others", async () => {
    const own = open({ provider, spin })
    const lost: Array<number> = []
    own.onLost((peer) => lost.push(peer))
    let echoed = 0
    own.onMessage(() => echoed++)
    const [victim, other] = await Promise.all([peerOf({ provider, spin }), peerOf({ provider, spin, echo: true })])
    await other.meet(own.address)
    const toVictim = own.insert(victim.address)
    const toOther = own.insert(other.address)
    await own.read(toVictim, victim.region, 0, 512, 10_000)
    await own.read(toOther, other.region, 0, 512, 10_000)
    await victim.kill()
    if (provider === "tcp") {
      // Its kernel says so.
      await until(() => {
        own.send(toVictim, new Uint8Array(100))
        return lost.length > 0
      })
      expect(own.send(toVictim, new Uint8Array(100))).toBe(false)
      expect(await codeOf(own.read(toVictim, victim.region, 0, 512, 1_000))).toBe("ERR_RDMA_LOST")
    } else {
      // Nobody says so: reads end by their deadline, or at once.
      expect(await codeOf(own.read(toVictim, victim.region, 0, 512, 50))).not.toBe("none")
    }
    own.send(toOther, new Uint8Array(100))
    await until(() => echoed === 1)
    expect(lost.filter((peer) => peer === toVictim).length).toBeLessThanOrEqual(1)
    expect(lost).not.toContain(toOther)
    own.remove(toVictim)
  })

  it("meets a peer that was started anew", async () => {
    const own = open({ provider, spin })
    let echoed = 0
    own.onMessage(() => echoed++)
    for (let life = 1; life <= 3; life++) {
      const peer = await peerOf({ provider, spin, echo: true })
      await peer.meet(own.address)
      const to = own.insert(peer.address)
      await until(() => own.send(to, new Uint8Array(100)))
      await until(() => echoed === life)
      expect((await own.read(to, peer.region, 0, 512, 10_000)).length).toBe(512)
      await peer.kill()
      own.remove(to)
      expect(own.send(to, new Uint8Array(100))).toBe(false)
    }
  })

  it("closes with operations under way", async () => {
    const own = open({ provider, spin })
    const peer = await peerOf({ provider, spin })
    const to = own.insert(peer.address)
    await own.read(to, peer.region, 0, 512, 10_000)
    const reads = Array.from({ length: 50 }, () => codeOf(own.read(to, peer.region, 0, 65_536, 10_000)))
    for (let i = 0; i < 20; i++) own.send(to, new Uint8Array(1_000))
    await own.close()
    await own.close()
    const codes = new Set(await Promise.all(reads))
    expect([...codes].every((code) => code === "ERR_RDMA_CLOSED" || code === "none")).toBe(true)
    expect(own.send(to, new Uint8Array(1))).toBe(false)
    expect(await codeOf(own.read(to, peer.region, 0, 1, 100))).toBe("ERR_RDMA_CLOSED")
    expect(() => own.insert(peer.address)).toThrow("closed")
  })

  it("serves many peers at once", { timeout: 60_000 }, async () => {
    const own = open({ provider, spin })
    const came = Array.from({ length: 12 }, () => 0)
    own.onMessage((bytes) => came[bytes[0]!]!++)
    const others = came.map(() => open({ provider, spin }))
    for (const [i, other] of others.entries()) {
      const to = other.insert(own.address)
      for (let n = 0; n < 100; n++) {
        while (!other.send(to, Uint8Array.of(i, n))) await new Promise((resolve) => setImmediate(resolve))
      }
    }
    await until(() => came.every((count) => count === 100))
    expect(came).toEqual(came.map(() => 100))
  })
})
