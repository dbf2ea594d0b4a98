/**
 * An endpoint over the native one, which posts what it is given and tells how that ended: here are the queue of each peer, the
 * deadlines of reads, and who is lost.
 *
 * A read that missed its deadline is answered; the provider may still write into its buffer, which therefore stays where it is
 * until the provider is done with it, or the endpoint is closed. So it counts as under way.
 */
import type { Endpoint, FabricOptions, Region } from "./Fabric.ts"

/** 1: it is under way; 0: try again; -1: the same, and nothing of this peer is under way; else why not. */
type Posted = 1 | 0 | -1 | string

/** `native/Addon.cc`. What it is given wrongly it throws for, without much explanation. */
export interface NativeEndpoint {
  readonly provider: string
  readonly version: string
  readonly address: Uint8Array
  readonly manualProgress: boolean
  readonly insert: (address: Uint8Array) => number
  /** False while operations of the peer are under way. */
  readonly remove: (peer: number) => boolean
  readonly send: (peer: number, bytes: Uint8Array) => Posted
  readonly read: (peer: number, id: number, address: bigint, key: bigint, length: number) => Posted
  readonly expose: (memory: ArrayBuffer) => Region
  readonly setSpin: (microseconds: number) => void
  readonly setTicking: (shall: 0 | 1) => void
  readonly close: () => void
}

export interface NativeAddon {
  readonly open: (
    provider: string,
    host: string | null,
    library: string | null,
    messageBytesMax: number,
    receives: number,
    onMessage: (bytes: Uint8Array) => void,
    /** Each read that was posted, once: its bytes, or why not. */
    onReadDone: (id: number, result: Uint8Array | string) => void,
    onSendFailed: (peer: number, why: string) => void,
    /** Each millisecond while `setTicking`, and whenever something happened. */
    onTick: () => void,
    onClosed: () => void
  ) => NativeEndpoint
}

// Providers answer "try again" while they connect, some of them for ever.
const connectMsMax = 3_000
// And when a peer takes no more.
const stallMsMax = 10_000
const readsMax = 256
/** Ticks go on for so long after they were needed: the next read is not far. */
const quietMs = 10
const readBytesMax = 16 * 1024 * 1024

interface Read {
  readonly id: number
  readonly address: bigint
  readonly key: bigint
  readonly length: number
  readonly deadlineMs: number
  readonly peer: Peer
  readonly resolve: (bytes: Uint8Array) => void
  readonly reject: (error: Error) => void
  isAnswered: boolean
}

interface Peer {
  readonly number: number
  /** What the provider would not take yet, in order: messages and reads. */
  readonly waiting: Array<Uint8Array | Read>
  /** Messages among them. */
  messages: number
  /** That wait, or that the provider is not done with. */
  reads: number
  isLost: boolean
  /** When the provider first refused what is at the head of `waiting`. */
  refusedMs: number | null
}

const failure = (code: string, message: string): Error => Object.assign(new Error(message), { code })

const requireWhole = (value: number, what: string, from: number, to: number): void => {
  if (!Number.isInteger(value) || value < from || value > to) {
    throw Object.assign(new RangeError(`${what} must be a whole number from ${from} to ${to}, not ${value}.`), {
      code: "ERR_OUT_OF_RANGE"
    })
  }
}

export const open = (addon: NativeAddon, options: FabricOptions): Endpoint => {
  const { messageBytesMax, sendsMax } = options
  requireWhole(sendsMax, "sendsMax", 1, 1_000_000)
  requireWhole(messageBytesMax, "messageBytesMax", 64, 16 * 1024 * 1024)
  requireWhole(options.receives, "receives", 1, Math.min(65_536, Math.floor(1024 ** 3 / messageBytesMax)))
  const peers = new Map<number, Peer>()
  /** Removed, with operations under way. */
  const leaving = new Set<number>()
  const reads = new Map<number, Read>()
  const refused = new Set<Peer>()
  let readId = 0
  let unanswered = 0
  let isTicking = false
  let neededMs = 0
  let lookedMs = 0
  let closing: Promise<void> | null = null
  let take: (bytes: Uint8Array) => void = () => {}
  let lost: (peer: number, why: string) => void = () => {}
  let closed: () => void = () => {}

  /** Something waits that only time brings on: a deadline, or what the provider refused. */
  const needTicks = (): void => {
    if (isTicking || closing !== null) return
    isTicking = true
    native.setTicking(1)
  }

  const answer = (read: Read, result: Uint8Array | Error): void => {
    if (read.isAnswered) return
    read.isAnswered = true
    unanswered--
    if (result instanceof Error) read.reject(result)
    else read.resolve(result)
  }

  /** Nothing goes to this peer any more. What is under way ends by itself, or never. */
  const lose = (peer: Peer, why: string): void => {
    if (peer.isLost) return
    peer.isLost = true
    refused.delete(peer)
    for (const read of reads.values()) {
      if (read.peer === peer) answer(read, failure("ERR_RDMA_LOST", `The read failed: ${why}.`))
    }
    for (const item of peer.waiting) if (!(item instanceof Uint8Array)) reads.delete(item.id)
    peer.waiting.length = 0
  }

  const post = (peer: Peer, item: Uint8Array | Read): Posted =>
    item instanceof Uint8Array
      ? native.send(peer.number, item)
      : native.read(peer.number, item.id, item.address, item.key, item.length)

  const posted = (peer: Peer, item: Uint8Array | Read): void => {
    if (item instanceof Uint8Array) peer.messages--
  }

  /** Gives the provider what waits, as much as it takes. */
  const drain = (peer: Peer, nowMs: number): void => {
    let taken = 0
    let why: Posted = 1
    for (const item of peer.waiting) {
      // Whoever waited for it was told.
      if (!(item instanceof Uint8Array) && item.isAnswered) {
        reads.delete(item.id)
        peer.reads--
      } else {
        try {
          why = post(peer, item)
        } catch (error) {
          // No memory for it.
          why = error instanceof Error ? error.message : String(error)
        }
        if (why !== 1) break
        posted(peer, item)
      }
      taken++
    }
    peer.waiting.splice(0, taken)
    if (taken > 0) peer.refusedMs = nowMs
    if (peer.waiting.length === 0) {
      peer.refusedMs = null
      refused.delete(peer)
    } else if (typeof why === "string") {
      tellLost(peer, why)
    } else {
      peer.refusedMs ??= nowMs
      const limitMs = why === 0 ? stallMsMax : connectMsMax
      if (nowMs - peer.refusedMs > limitMs) {
        tellLost(peer, `it ${why === 0 ? "took nothing" : "could not be reached"} for ${limitMs / 1_000} s`)
      }
    }
  }

  const tellLost = (peer: Peer, why: string): void => {
    if (peer.isLost || closing !== null) return
    lose(peer, why)
    lost(peer.number, why)
  }

  const onReadDone = (id: number, result: Uint8Array | string): void => {
    const read = reads.get(id)
    if (read === undefined) return
    reads.delete(id)
    read.peer.reads--
    if (typeof result !== "string") return answer(read, result)
    answer(read, failure("ERR_RDMA_FAILED", `The read failed: ${result}.`))
    // One that was removed is nobody's loss.
    if (peers.has(read.peer.number)) tellLost(read.peer, result)
  }

  const onTick = (): void => {
    const nowMs = performance.now()
    // Ticks may come much more often than deadlines pass.
    if (nowMs - lookedMs >= 1) {
      lookedMs = nowMs
      for (const read of reads.values()) {
        if (read.deadlineMs <= nowMs) {
          answer(read, failure("ERR_RDMA_DEADLINE", "The read was not answered before its deadline."))
        }
      }
      forget()
    }
    for (const peer of refused) drain(peer, nowMs)
    if (unanswered > 0 || refused.size > 0) {
      neededMs = nowMs
    } else if (nowMs - neededMs > quietMs && closing === null) {
      isTicking = false
      native.setTicking(0)
    }
  }

  /** Removed peers whose operations have ended in the meantime. Those of a peer that hangs do not until the endpoint is closed. */
  const forget = (): void => {
    for (const number of leaving) if (native.remove(number)) leaving.delete(number)
  }

  const native = addon.open(
    options.provider,
    options.host ?? null,
    options.library,
    messageBytesMax,
    options.receives,
    (bytes) => take(bytes),
    onReadDone,
    (number, why) => {
      const peer = peers.get(number)
      if (peer !== undefined) tellLost(peer, why)
    },
    onTick,
    () => closed()
  )

  /** In order: after what waits. */
  const submit = (peer: Peer, item: Uint8Array | Read): void => {
    const why = peer.waiting.length > 0 ? 0 : post(peer, item)
    if (item instanceof Uint8Array) peer.messages++
    if (why === 1) return posted(peer, item)
    // The caller may use its bytes again.
    peer.waiting.push(item instanceof Uint8Array ? new Uint8Array(item) : item)
    refused.add(peer)
    needTicks()
    if (typeof why === "string") queueMicrotask(() => tellLost(peer, why))
  }

  const read = (peer: Peer, region: Region, offset: number, length: number, deadlineMs: number): Promise<Uint8Array> =>
    new Promise((resolve, reject) => {
      const made: Read = {
        id: ++readId,
        address: region.base + BigInt(offset),
        key: region.key,
        length,
        deadlineMs: performance.now() + deadlineMs,
        peer,
        resolve,
        reject,
        isAnswered: false
      }
      submit(peer, made)
      reads.set(made.id, made)
      peer.reads++
      unanswered++
      needTicks()
    })

  return {
    provider: native.provider,
    version: native.version,
    manualProgress: native.manualProgress,
    address: native.address,
    insert: (address) => {
      if (closing === null) forget()
      const number = native.insert(address)
      peers.set(number, {
        number,
        waiting: [],
        messages: 0,
        reads: 0,
        isLost: false,
        refusedMs: null
      })
      return number
    },
    remove: (number) => {
      const peer = peers.get(number)
      if (peer === undefined || closing !== null) return
      peers.delete(number)
      lose(peer, "the peer was removed")
      leaving.add(number)
      forget()
    },
    send: (number, bytes) => {
      if (!(bytes instanceof Uint8Array)) throw new TypeError("A message must be a Uint8Array.")
      if (bytes.length > messageBytesMax) {
        throw Object.assign(
          new RangeError(`A message of ${bytes.length} bytes is larger than the ${messageBytesMax} that are allowed.`),
          { code: "ERR_OUT_OF_RANGE" }
        )
      }
      const peer = peers.get(number)
      if (peer === undefined || peer.isLost || closing !== null || peer.messages >= sendsMax) return false
      submit(peer, bytes)
      return true
    },
    read: (number, region, offset, length, deadlineMs) => {
      requireWhole(offset, "The offset", 0, Number.MAX_SAFE_INTEGER)
      requireWhole(length, "The length", 1, readBytesMax)
      if (!(deadlineMs > 0 && deadlineMs < Infinity)) {
        throw new RangeError(`The deadline must be some milliseconds, not ${deadlineMs}.`)
      }
      const peer = peers.get(number)
      if (closing !== null) return Promise.reject(failure("ERR_RDMA_CLOSED", "The endpoint is closed."))
      if (peer === undefined || peer.isLost) {
        return Promise.reject(failure("ERR_RDMA_LOST", `Peer ${number} is gone.`))
      }
      if (peer.reads >= readsMax) {
        const why = `${readsMax} reads of this peer are under way, those that missed their deadline included.`
        return Promise.reject(failure("ERR_RDMA_BUSY", why))
      }
      return read(peer, region, offset, length, deadlineMs)
    },
    expose: native.expose,
    onMessage: (taker) => {
      take = taker
    },
    onLost: (taker) => {
      lost = taker
    },
    setSpin: (microseconds) => {
      if (closing === null) native.setSpin(microseconds)
    },
    close: () => {
      closing ??= new Promise((resolve) => {
        closed = resolve
        native.close()
        for (const read of reads.values()) answer(read, failure("ERR_RDMA_CLOSED", "The endpoint is closed."))
        reads.clear()
        refused.clear()
        peers.clear()
      })
      return closing
    }
  }
}
