/**
 * MemoryNode: block metadata in one memory, for routers on the same fabric.
 *
 * Routers begin over TCP (`Hello`), and are gone when that connection closes; all else is messages, and their own reads of the
 * memory. One process, one thread; what each message does is `Serving`.
 */
import { randomBytes, randomInt } from "node:crypto"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import * as Net from "node:net"
import { sweep } from "../../hot/NodeEvict.ts"
import * as NodeReopen from "../../hot/NodeReopen.ts"
import type { NodeTable } from "../../hot/NodeTable.ts"
import type { Endpoint, FabricAddon, Region } from "./Fabric.ts"
import * as Frames from "./Frames.ts"
import * as Hello from "./Hello.ts"
import { type Counters, makePeer, Serving } from "./Serving.ts"
import { spinUs } from "./Spin.ts"
import { messageBytesMax } from "./Wire.ts"

export interface Options {
  readonly host: string
  /** 0: any that is free. */
  readonly port: number
  readonly provider: string
  readonly library: string | null
  /** Of the table: at first, and at most. What is exposed to routers is the latter. */
  readonly bytes: number
  readonly bytesMax: number
  /** A file that the memory is of; null: of none. */
  readonly backing: string | null
  /** Empty: anybody may. */
  readonly token: string
  /** What nobody has written for so long goes, and names that nobody has entered. */
  readonly ttlS: number
  /** Polls so long after the last message before it sleeps; null: as the provider needs it. */
  readonly spinUs: number | null
  readonly release: string
  /** One line per change. */
  readonly log: (line: string) => void
}

export interface Node {
  readonly port: number
  readonly provider: string
  readonly version: string
  readonly generation: string
  readonly table: NodeTable
  readonly counters: Counters
  readonly peers: () => number
  readonly close: () => Promise<void>
}

/** What one who begins may take to say who it is. */
const helloMs = 5_000
/** Connections at once, whether they are peers yet or not. */
const socketsMax = 512
/** A TCP connection that is silent is probed after this: where the other machine has vanished, nothing else tells. */
const probeMs = 10_000
const sweepMs = 50
const sweepRecords = 2_000

const nowS = (): number => Math.floor(Date.now() / 1_000)

/** Other words after each boot of the machine; none of them where there is no such file. */
const bootOf = (): Int32Array => {
  try {
    const hex = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").replaceAll("-", "").trim()
    return Int32Array.from([0, 8, 16, 24], (at) => Number.parseInt(hex.slice(at, at + 8), 16) | 0)
  } catch {
    return Int32Array.from(new Uint32Array(randomBytes(16).buffer.slice(0, 16)))
  }
}

const openTable = (options: Options, memory: ArrayBuffer): NodeReopen.Opened => {
  const life = randomBytes(8)
  return NodeReopen.open(new Int32Array(memory, 0, Math.floor(memory.byteLength / 65_536) * 16_384), {
    limitBytes: options.bytes,
    stepBytes: options.bytes,
    tenure: 1 + randomInt(2 ** 28 - 1),
    life: { generationLo: life.readInt32LE(0), generationHi: life.readInt32LE(4), bornS: nowS(), boot: bootOf() }
  })
}

const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`

/** Begins to serve. Rejects where the address, the fabric or the memory cannot be had. */
export const start = async (fabric: FabricAddon, options: Options): Promise<Node> => {
  let take: (socket: Net.Socket) => void = (socket) => socket.destroy()
  const server = Net.createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: probeMs }, (socket) =>
    take(socket)
  )
  server.maxConnections = socketsMax
  // Before a file is touched: whoever has the address may have the file, too.
  server.listen(options.port, options.host)
  await once(server, "listening")
  // One connection that cannot be taken, for want of files or memory, does not end the node: who asked tries again.
  server.on("error", ({ message }) => options.log(`could not let a router in: ${message}`))
  try {
    const { door, endpoint, serving, table } = await serve(fabric, options)
    take = door.take
    const stopLooking = look(table, options)
    return {
      port: (server.address() as Net.AddressInfo).port,
      provider: endpoint.provider,
      version: endpoint.version,
      generation: table.generation,
      table,
      counters: serving.counters,
      peers: () => serving.peers.size,
      close: async () => {
        stopLooking()
        const closed = once(server, "close")
        server.close()
        door.close()
        await closed
        await endpoint.close()
      }
    }
  } catch (error) {
    server.close()
    throw error
  }
}

/** Fabric and memory, and who comes in. */
const serve = async (fabric: FabricAddon, options: Options) => {
  const { log } = options
  const anywhere = options.host === "0.0.0.0" || options.host === "::"
  const endpoint = fabric.open({
    provider: options.provider,
    host: anywhere ? null : options.host,
    library: options.library,
    messageBytesMax,
    receives: 64,
    sendsMax: 256
  })
  endpoint.setSpin(spinUs(endpoint.provider, options.spinUs))
  let opened: NodeReopen.Opened
  let region: Region
  try {
    const memory = fabric.map(options.backing, options.bytesMax)
    opened = openTable(options, memory)
    region = endpoint.expose(memory)
  } catch (error) {
    await endpoint.close()
    throw error
  }
  const { table } = opened
  if (options.backing !== null) {
    log(
      opened.isKept
        ? `kept ${opened.records} records of ${options.backing}${opened.dropped > 0 ? `, dropped ${opened.dropped} that were torn` : ""}; generation ${table.generation}`
        : `${options.backing} has nothing to keep; generation ${table.generation}`
    )
  }
  const serving = new Serving(table, nowS)
  endpoint.onMessage(serving.take)
  const door = makeDoor(endpoint, region, table, serving, options)
  endpoint.onLost((peer, why) => door.lost(peer, why))
  return { endpoint, table, serving, door }
}

/** Looks after the table while there is time, and says when it has grown. */
const look = (table: NodeTable, { log, ttlS }: Options): (() => void) => {
  let { limit } = table.pages
  let isFull = false
  const timer = setInterval(() => {
    const beforeS = nowS() - ttlS
    sweep(table, sweepRecords, beforeS)
    if (table.names.expire(beforeS) > 0) table.publish()
    if (table.pages.limit !== limit) {
      limit = table.pages.limit
      log(`grew to ${mib(limit * 65_536)} of ${mib(table.pages.pagesMax * 65_536)}`)
    }
    if (isFull || table.hands.evicted === 0) return
    isFull = true
    log("is full: what was written longest ago goes. Give it more with --max-size")
  }, sweepMs)
  return () => clearInterval(timer)
}

/** The TCP side: who comes, who may, who went. */
const makeDoor = (endpoint: Endpoint, region: Region, table: NodeTable, serving: Serving, options: Options) => {
  const { log, release, token } = options
  const sockets = new Set<Net.Socket>()
  const byPeer = new Map<number, Net.Socket>()

  const welcome = (socket: Net.Socket, hello: Hello.Hello, from: string): boolean => {
    const refusal = Hello.refusalOf(hello, { token, provider: endpoint.provider, version: endpoint.version })
    if (refusal !== null) {
      log(`refused ${from}: ${refusal.refused}`)
      Frames.send(socket, refusal)
      // Whole: one that does not hang up itself would keep its place for ever.
      socket.destroySoon()
      return false
    }
    let session = 0
    while (session === 0 || serving.peers.has(session)) session = randomInt(1, 2 ** 31)
    const peer = endpoint.insert(Buffer.from(hello.address, "base64"))
    byPeer.set(peer, socket)
    serving.add(makePeer(session, (bytes) => endpoint.send(peer, bytes)))
    socket.once("close", () => {
      serving.remove(session)
      byPeer.delete(peer)
      endpoint.remove(peer)
      log(`${from} left; ${serving.peers.size} connected`)
    })
    const { address, manualProgress, provider, version } = endpoint
    Frames.send(socket, {
      ...{ session, provider, version, manualProgress, release, bornS: table.words[8]! },
      address: Buffer.from(address).toString("base64"),
      region: { key: String(region.key), base: String(region.base) },
      generation: table.generation
    } satisfies Hello.Welcome)
    log(`${from} joined on ${provider}; ${serving.peers.size} connected`)
    return true
  }

  return {
    take: (socket: Net.Socket): void => {
      const from = `${socket.remoteAddress}:${socket.remotePort}`
      sockets.add(socket)
      socket.on("error", () => {})
      socket.once("close", () => sockets.delete(socket))
      const late = setTimeout(() => socket.destroy(), helloMs)
      let isPeer = false
      const broken = (why: string): void => {
        if (!isPeer) log(`refused ${from}: ${why}`)
        socket.destroy()
      }
      Frames.receive(
        socket,
        (value) => {
          if (isPeer) return
          clearTimeout(late)
          if (!Hello.isHello(value)) return broken("it does not speak as a router does")
          try {
            isPeer = welcome(socket, value, from)
          } catch (error) {
            broken(error instanceof Error ? error.message : String(error))
          }
        },
        broken
      )
      socket.once("close", () => clearTimeout(late))
    },
    lost: (peer: number, why: string): void => {
      const socket = byPeer.get(peer)
      if (socket === undefined) return
      log(`lost ${socket.remoteAddress}:${socket.remotePort}: ${why}`)
      socket.destroy()
    },
    close: (): void => {
      for (const socket of sockets) socket.destroy()
    }
  }
}
