import { describe, expect, it } from "vitest"
import { tally } from "../../support/FabricMessages.ts"
import { regionByte, regionBytes, sendAll } from "../../support/FabricPeer.ts"
import * as FabricRig from "../../support/FabricRig.ts"

const { until } = FabricRig
const rig = FabricRig.make()

const expected = (offset: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => regionByte(offset + i))

describe.each([
  { name: "tcp, asleep on its descriptor", provider: "tcp", spin: 0 },
  { name: "tcp, spinning", provider: "tcp", spin: 200 },
  { name: "shared memory, spinning", provider: "shm", spin: 200 }
])("Fabric over $name", ({ provider, spin }) => {
  it("carries thousands of messages both ways, each whole and once", { timeout: 60_000 }, async () => {
    const own = rig.open({ provider, spin })
    const peer = await rig.peer({ provider, spin })
    expect(peer.provider).toBe(own.provider)
    const came = tally(rig.options().messageBytesMax)
    own.onMessage(came.take)
    await peer.meet(own.address)
    const to = own.insert(peer.address)
    const count = 5_000
    await Promise.all([sendAll(own, to, count, rig.options().messageBytesMax), peer.burst(count)])
    await until(() => came.result().whole === count)
    await until(async () => (await peer.tally()).whole === count)
    expect(came.result()).toEqual({ whole: count, torn: 0, twice: 0 })
    expect(await peer.tally()).toEqual({ whole: count, torn: 0, twice: 0 })
  })

  it("carries messages of a megabyte", async () => {
    const large = { provider, spin, messageBytesMax: 1 << 20, receives: 8 }
    const own = rig.open(large)
    const peer = await rig.peer(large)
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
    const own = rig.open({ provider, spin })
    const peer = await rig.peer({ provider, spin })
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

  it("meets a peer that was started anew", async () => {
    const own = rig.open({ provider, spin })
    let echoed = 0
    own.onMessage(() => echoed++)
    for (let life = 1; life <= 3; life++) {
      const peer = await rig.peer({ provider, spin, echo: true })
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

  it("serves many peers at once", { timeout: 60_000 }, async () => {
    const own = rig.open({ provider, spin })
    const came = Array.from({ length: 12 }, () => 0)
    own.onMessage((bytes) => came[bytes[0]!]!++)
    const others = came.map(() => rig.open({ provider, spin }))
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
