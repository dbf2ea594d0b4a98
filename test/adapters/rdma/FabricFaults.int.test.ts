import { describe, expect, it } from "vitest"
import * as FabricRig from "../../support/FabricRig.ts"

const { codeOf, fill, until } = FabricRig
const rig = FabricRig.make()

const tcp = [
  { name: "tcp, asleep on its descriptor", provider: "tcp", spin: 0 },
  { name: "tcp, spinning", provider: "tcp", spin: 200 }
]

describe.each([...tcp, { name: "shared memory, spinning", provider: "shm", spin: 200 }])(
  "Faults of the fabric over $name",
  ({ provider, spin }) => {
    it("tells of a killed peer once, and goes on with the others", async () => {
      const own = rig.open({ provider, spin })
      const lost: Array<number> = []
      own.onLost((peer) => lost.push(peer))
      let echoed = 0
      own.onMessage(() => echoed++)
      const [victim, other] = await Promise.all([
        rig.peer({ provider, spin }),
        rig.peer({ provider, spin, echo: true })
      ])
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

    it("closes with operations under way", async () => {
      const own = rig.open({ provider, spin })
      const peer = await rig.peer({ provider, spin })
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

    it("closes while a peer hangs", async () => {
      const own = rig.open({ provider, spin })
      const peer = await rig.peer({ provider, spin })
      const to = own.insert(peer.address)
      await own.read(to, peer.region, 0, 512, 10_000)
      peer.process.kill("SIGSTOP")
      await fill(own, to, new Uint8Array(4_000))
      expect(await codeOf(own.read(to, peer.region, 0, 512, 20))).toBe("ERR_RDMA_DEADLINE")
      const pending = codeOf(own.read(to, peer.region, 0, 512, 10_000))
      await own.close()
      expect(await pending).toBe("ERR_RDMA_CLOSED")
    })

    it("takes as many messages as may wait for a peer that does not answer, and then says it is lost", async () => {
      const own = rig.open({ provider, spin })
      const lost: Array<string> = []
      own.onLost((_peer, why) => lost.push(why))
      const peer = await rig.peer({ provider, spin })
      peer.process.kill("SIGSTOP")
      const to = own.insert(peer.address)
      let taken = 0
      while (own.send(to, new Uint8Array(100))) taken++
      expect(taken).toBe(rig.options().sendsMax)
      await until(() => lost.length > 0)
      expect(lost).toEqual(["it could not be reached for 3 s"])
      expect(own.send(to, new Uint8Array(100))).toBe(false)
      // Its place is good for another.
      own.remove(to)
      const next = await rig.peer({ provider, spin })
      const toNext = own.insert(next.address)
      expect((await own.read(toNext, next.region, 0, 512, 10_000)).length).toBe(512)
    })
  }
)

// In shared memory a peer that hangs is read all the same.
describe.each(tcp)("Hanging peers over $name", ({ provider, spin }) => {
  it("keeps deadlines while a peer hangs, goes on with the others, and with it when it is back", async () => {
    const own = rig.open({ provider, spin })
    let echoed = 0
    own.onMessage(() => echoed++)
    const [hanging, other] = await Promise.all([rig.peer({ provider, spin }), rig.peer({ provider, spin, echo: true })])
    await other.meet(own.address)
    const toHanging = own.insert(hanging.address)
    const toOther = own.insert(other.address)
    await own.read(toHanging, hanging.region, 0, 512, 10_000)
    await own.read(toOther, other.region, 0, 512, 10_000)
    hanging.process.kill("SIGSTOP")
    const late = [20, 60, 100].map((deadlineMs) => codeOf(own.read(toHanging, hanging.region, 0, 100_000, deadlineMs)))
    expect(await Promise.all(late)).toEqual(Array(3).fill("ERR_RDMA_DEADLINE"))
    const taken = await fill(own, toHanging, new Uint8Array(4_000))
    expect(taken).toBeGreaterThan(0)
    expect(own.send(toHanging, new Uint8Array(4_000))).toBe(false)
    expect((await own.read(toOther, other.region, 0, 512, 10_000)).length).toBe(512)
    own.send(toOther, new Uint8Array(100))
    await until(() => echoed === 1)
    hanging.process.kill("SIGCONT")
    expect((await own.read(toHanging, hanging.region, 0, 512, 10_000)).length).toBe(512)
  })

  it("refuses reads beyond what may be under way to one peer", async () => {
    const own = rig.open({ provider, spin })
    const peer = await rig.peer({ provider, spin })
    const to = own.insert(peer.address)
    await own.read(to, peer.region, 0, 512, 10_000)
    peer.process.kill("SIGSTOP")
    const codes = await Promise.all(
      Array.from({ length: 300 }, () => codeOf(own.read(to, peer.region, 0, 100_000, 50)))
    )
    // Reads whose deadline passed count on: the provider may still write to their buffers.
    const count = (code: string) => codes.filter((one) => one === code).length
    expect(count("ERR_RDMA_BUSY")).toBe(44)
    expect(await codeOf(own.read(to, peer.region, 0, 512, 50))).toBe("ERR_RDMA_BUSY")
  })
})

describe("Faults of the fabric over tcp", () => {
  it("fails a read beyond the region, with a wrong key, or after the peer has closed; and no write exists", async () => {
    const peer = await rig.peer()
    const wrong = [
      { region: peer.region, offset: (1 << 20) - 100 },
      { region: peer.region, offset: 1 << 30 },
      { region: { ...peer.region, key: peer.region.key ^ 1n }, offset: 0 }
    ]
    for (const { region, offset } of wrong) {
      const own = rig.open()
      const to = own.insert(peer.address)
      expect((await own.read(to, peer.region, 0, 512, 10_000)).length).toBe(512)
      expect(await codeOf(own.read(to, region, offset, 512, 10_000))).toBe("ERR_RDMA_FAILED")
    }
    const own = rig.open()
    const to = own.insert(peer.address)
    expect((await own.read(to, peer.region, 0, 512, 10_000)).length).toBe(512)
    await peer.close()
    expect(await codeOf(own.read(to, peer.region, 0, 512, 2_000))).not.toBe("none")
    expect(Object.keys(own).some((name) => /write|atomic/i.test(name))).toBe(false)
  })

  it("refuses a message that is too large before it leaves", async () => {
    const own = rig.open()
    const to = own.insert((await rig.peer()).address)
    expect(() => own.send(to, new Uint8Array(rig.options().messageBytesMax + 1))).toThrow(/larger than the 8192/)
    expect(own.send(to, new Uint8Array(rig.options().messageBytesMax))).toBe(true)
    expect(own.send(to, new Uint8Array(0))).toBe(true)
  })

  it("loses a peer that takes only smaller messages, or the message; the peer serves others all the same", async () => {
    const own = rig.open()
    const other = rig.open()
    const small = rig.open({ messageBytesMax: 1_024 })
    const came: Array<number> = []
    const lost: Array<number> = []
    small.onMessage((bytes) => came.push(bytes.length))
    own.onLost((peer) => lost.push(peer))
    const to = own.insert(small.address)
    own.send(to, new Uint8Array(1_000))
    await until(() => came.length === 1)
    own.send(to, new Uint8Array(2_000))
    // The peer drops the connection: libfabric says so, or makes another one.
    await until(() => came.length > 1 || own.send(to, new Uint8Array(1_000)) === false)
    expect(lost).toEqual(came.length > 1 ? [] : [to])
    other.send(other.insert(small.address), new Uint8Array(900))
    await until(() => came.includes(900))
    expect(came.every((length) => length <= 1_024)).toBe(true)
  })
})
