/** A fabric inside one process: the addon's twin, with what goes wrong on others. */
import { setTimeout as sleep } from "node:timers/promises"
import type { Endpoint, FabricAddon, FabricOptions } from "../../src/adapters/rdma/Fabric.ts"

export interface FakeFabric extends FabricAddon {
  /** Endpoints that are stopped: nothing is taken by them, and nothing read from them, until they go on. */
  readonly freeze: (name: string, isFrozen: boolean) => void
  /** Of the messages to all, this share is lost, by `next`; the connection does not notice. */
  dropOneIn: number
  /** Later ones may overtake it. */
  delayMsMax: number
  /** Of what is read, this share has a word of it changed, as when it is written meanwhile. */
  tearOneIn: number
  /** For each message and read. */
  next: (below: number) => number
  /** Names of the endpoints, in the order of their opening. */
  readonly names: ReadonlyArray<string>
  manualProgress: boolean
}

interface Fake {
  readonly name: string
  readonly take: { message: (bytes: Uint8Array) => void; lost: (peer: number, why: string) => void }
  readonly memory: { at: ArrayBuffer | null }
  readonly held: Array<Uint8Array>
  isFrozen: boolean
  isClosed: boolean
}

const coded = (code: string): Error => Object.assign(new Error(code), { code })

export const make = (provider = "fake"): FakeFabric => {
  const endpoints = new Map<string, Fake>()
  const names: Array<string> = []

  const deliver = (to: Fake, bytes: Uint8Array): void => {
    if (to.isClosed) return
    if (to.isFrozen) to.held.push(bytes)
    else to.take.message(bytes)
  }

  const open = (options: FabricOptions): Endpoint => {
    if (options.provider !== "auto" && options.provider !== provider) {
      throw Object.assign(new Error(`There is no provider ${options.provider}`), {
        code: "ERR_RDMA_PROVIDER",
        offered: [provider]
      })
    }
    const name = `endpoint ${names.length}`
    names.push(name)
    const own: Fake = {
      ...{ name, memory: { at: null }, held: [], isFrozen: false, isClosed: false },
      take: { message: () => {}, lost: () => {} }
    }
    endpoints.set(name, own)
    const peers: Array<string | null> = []
    const peerOf = (peer: number): Fake | undefined => endpoints.get(peers[peer] ?? "")
    return {
      ...{ provider, version: "0.0", manualProgress: fabric.manualProgress, address: new TextEncoder().encode(name) },
      insert: (address) => peers.push(new TextDecoder().decode(address)) - 1,
      remove: (peer) => {
        peers[peer] = null
      },
      send: (peer, bytes) => {
        const to = peerOf(peer)
        if (to === undefined || bytes.length > options.messageBytesMax) return false
        if (to.isFrozen && to.held.length >= options.sendsMax) return false
        if (fabric.dropOneIn > 0 && fabric.next(fabric.dropOneIn) === 0) return true
        const copy = bytes.slice()
        if (fabric.delayMsMax > 0) setTimeout(() => deliver(to, copy), fabric.next(fabric.delayMsMax))
        else setImmediate(() => deliver(to, copy))
        return true
      },
      read: async (peer, _region, offset, length, deadlineMs) => {
        const to = peerOf(peer)
        if (to === undefined) throw coded("ERR_RDMA_LOST")
        await new Promise((resolve) => setImmediate(resolve))
        if (to.isFrozen) {
          await sleep(deadlineMs)
          throw coded("ERR_RDMA_DEADLINE")
        }
        if (to.memory.at === null || offset + length > to.memory.at.byteLength) throw coded("ERR_RDMA_FAILED")
        const copy = new Int32Array(to.memory.at.slice(offset, offset + length))
        if (fabric.tearOneIn > 0 && fabric.next(fabric.tearOneIn) === 0) {
          copy[fabric.next(copy.length)]! ^= 1 << fabric.next(32)
        }
        return new Uint8Array(copy.buffer)
      },
      expose: (memory) => {
        own.memory.at = memory
        return { key: 7n, base: 0n }
      },
      onMessage: (take) => {
        own.take.message = take
      },
      onLost: (lost) => {
        own.take.lost = lost
      },
      setSpin: () => {},
      close: async () => {
        own.isClosed = true
        endpoints.delete(name)
      }
    }
  }

  const fabric: FakeFabric = {
    open,
    providers: () => [{ name: provider, version: "0.0", remoteReads: true, manualProgress: fabric.manualProgress }],
    map: (_path, bytes) => new ArrayBuffer(bytes),
    freeze: (name, isFrozen) => {
      const endpoint = endpoints.get(name)!
      endpoint.isFrozen = isFrozen
      if (!isFrozen) for (const bytes of endpoint.held.splice(0)) deliver(endpoint, bytes)
    },
    dropOneIn: 0,
    delayMsMax: 0,
    tearOneIn: 0,
    next: () => 1,
    names,
    manualProgress: false
  }
  return fabric
}
