import { describe, expect, it } from "vitest"
import { type Counters, RelayFeed } from "../../actors/RelayFeed.ts"
import * as LogEntry from "../../src/hot/LogEntry.ts"

const lease = (epoch: number, sinceMs = -Infinity) => ({ owner: "other", epoch, sinceMs })

const rig = (steady = false) => {
  const told: Array<string> = []
  const counters: Counters = { heard: 0, fenced: 0, skipped: 0, heldDropped: 0, heldBytes: 0 }
  const kinds = ["batch", "up", "down"]
  const feed = new RelayFeed(
    {
      message: (seq) => told.push(`${seq}`),
      connected: () => told.push("connected"),
      disconnected: () => told.push("disconnected"),
      openDirect: () => told.push("open"),
      closeDirect: () => told.push("close"),
      append: (kind, seq) => told.push(`log ${kinds[kind]}${seq === undefined ? "" : ` ${seq}`}`)
    },
    counters,
    steady
  )
  const logged = (position: number, epoch: number, seq: number, kind: LogEntry.Kind = LogEntry.BATCH, bytes = 10) =>
    feed.logged(position, { kind, epoch, seq, payload: new Uint8Array(bytes) }, 0)
  return { feed, counters, logged, took: () => told.splice(0) }
}

describe("RelayFeed", () => {
  it("hears the log of a living owner, and leaves the engine's socket to it", () => {
    const { feed, logged, took } = rig()
    feed.prepared(0)
    feed.update("follower", lease(1), true, 0)
    logged(1, 1, 5)
    expect(took()).toEqual(["connected", "5"])
  })

  it("writes what its socket tells, and that it can be heard, while the lease is its own", () => {
    const { feed, took } = rig()
    feed.prepared(0)
    feed.update("owner", null, true, 0)
    expect(took()).toEqual(["open"])
    feed.directConnected()
    feed.directMessage(5, new Uint8Array(1))
    feed.directDisconnected()
    expect(took()).toEqual(["log up", "connected", "log batch 5", "5", "log down", "disconnected"])
    feed.update("solo", null, false, 0)
    feed.directConnected()
    feed.directMessage(6, new Uint8Array(1))
    expect(took()).toEqual(["connected", "6"])
    feed.update("owner", null, true, 0)
    expect(took()).toEqual(["log up"])
  })

  it("says of a socket that is being opened that it is not heard once that takes long, and once", () => {
    const { feed, took } = rig()
    feed.prepared(0)
    feed.update("owner", null, true, 0)
    feed.update("owner", null, true, 400)
    expect(took()).toEqual(["open"])
    feed.update("owner", null, true, 500)
    feed.update("owner", null, true, 600)
    expect(took()).toEqual(["log down"])
    feed.directConnected()
    feed.update("owner", null, true, 2_000)
    expect(took()).toEqual(["log up", "connected"])
  })

  it("leaves to the next owner what to say of the engine", () => {
    const { feed, took } = rig()
    feed.prepared(0)
    feed.update("owner", null, true, 0)
    feed.update("follower", lease(2), true, 100)
    feed.update("follower", lease(2), true, 2_000)
    expect(took()).toEqual(["open", "connected", "close"])
  })

  it("takes a message for the signal that comes after it", () => {
    const { feed, took } = rig()
    feed.prepared(0)
    feed.update("solo", null, true, 0)
    feed.directMessage(5, new Uint8Array(1))
    feed.directConnected()
    expect(took()).toEqual(["open", "connected", "5"])
    feed.directConnected()
    expect(took()).toEqual(["disconnected", "connected"])
  })

  it("goes on with the log until its own socket is heard, and with the socket until the new owner is", () => {
    const { feed, logged, took } = rig()
    feed.prepared(0)
    feed.update("follower", lease(1), true, 0)
    feed.update("solo", lease(1), true, 0)
    logged(1, 1, 5)
    expect(took()).toEqual(["connected", "open", "5"])
    feed.directConnected()
    logged(2, 1, 6)
    expect(took()).toEqual(["disconnected", "connected"])
    feed.update("follower", lease(2, 0), true, 100)
    feed.directMessage(7, new Uint8Array(1))
    logged(3, 2, 0, LogEntry.DISCONNECTED)
    expect(took()).toEqual(["7"])
    logged(4, 2, 0, LogEntry.CONNECTED)
    feed.directMessage(8, new Uint8Array(1))
    logged(5, 2, 8)
    expect(took()).toEqual(["disconnected", "connected", "close", "8"])
  })

  it("takes a new owner for connected that says nothing for a second", () => {
    const { feed, took } = rig()
    feed.prepared(0)
    feed.update("follower", lease(2, 1_000), true, 1_999)
    expect(took()).toEqual([])
    feed.update("follower", lease(2, 1_000), true, 2_000)
    expect(took()).toEqual(["connected"])
  })

  it("is disconnected while nobody alive writes, and while the owner does not hear the engine", () => {
    const { feed, logged, took } = rig()
    feed.prepared(0)
    feed.update("follower", lease(1), true, 0)
    feed.update("follower", null, true, 0)
    expect(took()).toEqual(["connected", "disconnected"])
    feed.update("follower", lease(2, 0), true, 0)
    logged(1, 2, 0, LogEntry.CONNECTED)
    expect(took()).toEqual(["connected"])
    logged(2, 2, 0, LogEntry.DISCONNECTED)
    expect(feed.deafFromMs).toBe(0)
    feed.update("follower", lease(2, 0), true, 5_000)
    logged(3, 2, 0, LogEntry.CONNECTED)
    expect(feed.deafFromMs).toBe(Infinity)
    expect(took()).toEqual(["disconnected", "connected"])
  })

  it("stays as it is while the broker is away for a moment", () => {
    const { feed, took } = rig()
    feed.prepared(0)
    feed.update("follower", lease(1), true, 0)
    feed.update("follower", null, false, 0)
    expect(took()).toEqual(["connected"])
    // For long: it waits for its own socket, and asks nothing of the log.
    feed.update("solo", null, false, 0)
    expect(took()).toEqual(["open", "disconnected"])
  })

  it("drops what an owner wrote that was none any more", () => {
    const { counters, feed, logged, took } = rig()
    feed.prepared(0)
    feed.update("follower", lease(3), true, 0)
    logged(1, 3, 5)
    logged(2, 2, 6)
    expect(took()).toEqual(["connected", "5"])
    expect(counters.fenced).toBe(1)
    // The log may be ahead of the table.
    logged(3, 4, 6)
    logged(4, 3, 7)
    expect(took()).toEqual(["6", "7"])
    feed.update("follower", lease(3), true, 250)
    expect(took()).toEqual(["disconnected", "connected"])
    feed.update("follower", lease(4), true, 0)
    logged(5, 3, 8)
    expect(took()).toEqual([])
    // A broker that lost its data has leases of lower epochs: the table is right.
    feed.update("follower", lease(1), true, 0)
    logged(6, 1, 9)
    expect(took()).toContain("9")
  })

  it("looks again when the log has a hole", () => {
    const { feed, took } = rig()
    feed.prepared(0)
    feed.update("follower", lease(1), true, 0)
    feed.logLost(0)
    feed.update("follower", lease(1), true, 249)
    expect(took()).toEqual(["connected"])
    feed.update("follower", lease(1), true, 250)
    feed.update("follower", lease(1), true, 1_000)
    expect(took()).toEqual(["disconnected", "connected"])
  })

  it("looks once for all signs that come together", () => {
    const { feed, logged, took } = rig()
    feed.prepared(0)
    feed.update("follower", lease(1), true, 0)
    feed.logLost(0)
    logged(1, 1, 0, LogEntry.CONNECTED)
    logged(2, 1, 0, LogEntry.CONNECTED)
    for (const nowMs of [100, 200, 300, 400, 1_000]) feed.update("follower", lease(1), true, nowMs)
    expect(took()).toEqual(["connected", "disconnected", "connected"])
    logged(3, 1, 0, LogEntry.CONNECTED)
    // Connected anew for another reason, it has looked.
    logged(4, 1, 0, LogEntry.DISCONNECTED)
    logged(5, 1, 0, LogEntry.CONNECTED)
    feed.update("follower", lease(1), true, 2_000)
    expect(took()).toEqual(["disconnected", "connected"])
  })

  it("holds what comes before it is prepared, and leaves out what its picture has", () => {
    const { counters, feed, logged, took } = rig()
    feed.update("follower", lease(1), true, 0)
    for (const position of [1, 2, 3]) logged(position, 1, position)
    expect(took()).toEqual([])
    feed.prepared(2)
    // Applied on its picture first, so that no more than the last of it is asked for.
    expect(took()).toEqual(["3", "connected"])
    expect(counters).toMatchObject({ skipped: 2, heldBytes: 0 })
  })

  it("leaves nothing out when the log began anew since the picture was asked for", () => {
    const { feed, logged, took } = rig()
    feed.update("follower", lease(1), true, 0)
    feed.logLost(0)
    logged(1, 1, 1)
    feed.prepared(500)
    logged(2, 1, 2)
    expect(took()).toEqual(["connected", "1", "2"])
  })

  it("holds so many, and so many bytes, and drops the oldest", () => {
    const { counters, feed, logged, took } = rig()
    feed.update("follower", lease(1), true, 0)
    for (let i = 1; i <= 2_010; i++) logged(i, 1, i)
    expect(counters).toMatchObject({ heldDropped: 10, heldBytes: 20_000 })
    for (let i = 0; i < 3; i++) logged(3_000 + i, 1, 3_000 + i, LogEntry.BATCH, 2 * 1024 * 1024)
    feed.prepared(0)
    expect(took()).toEqual(["connected", "3001", "3002"])
    expect(counters.heldBytes).toBe(0)
  })

  it("writes beside an engine that it hears all along only while the lease is its own", () => {
    const { feed, took } = rig(true)
    feed.update("none", lease(1), true, 0)
    feed.directConnected()
    feed.directMessage(1, new Uint8Array(1))
    feed.update("owner", null, true, 0)
    feed.directMessage(2, new Uint8Array(1))
    feed.update("none", lease(3), true, 0)
    feed.directMessage(3, new Uint8Array(1))
    expect(took()).toEqual(["open", "log up", "log batch 2"])
  })
})
