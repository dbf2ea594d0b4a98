/**
 * Fabric: messages and remote reads over libfabric, as the native addon offers them. Transport only: what the bytes mean is
 * `RdmaStore` and `MemoryNode`.
 *
 * An endpoint is connectionless and reliable (RDM). Peers know each other's addresses from elsewhere, a TCP connection that also
 * tells that one of them went. Nothing relies on order between messages, on atomics, or on remote writes.
 */
import { existsSync, readdirSync, rmSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { NativeAddon } from "./FabricEndpoint.ts"
import * as FabricEndpoint from "./FabricEndpoint.ts"

export interface FabricOptions {
  /** `auto`, or as libfabric names it: tcp, shm, verbs, efa, cxi. */
  readonly provider: string
  /** An own address of this machine at which peers reach it, for providers over IP; null or none: the provider chooses. */
  readonly host?: string | null
  /** Path of `libfabric.so.1`, or a folder that has it and what it needs; null: as the system finds it. */
  readonly library: string | null
  /** Larger messages are refused. Receive buffers of this size are posted. */
  readonly messageBytesMax: number
  readonly receives: number
  /** Messages to one peer that wait because the provider would not take them yet; more are refused. */
  readonly sendsMax: number
}

export interface Region {
  /** How a peer names it; both go through the handshake as they are. */
  readonly key: bigint
  readonly base: bigint
}

export interface Endpoint {
  /** As libfabric resolved it: `tcp;ofi_rxm`. Both sides must have the same. */
  readonly provider: string
  /** Of the library: `1.17`. */
  readonly version: string
  readonly address: Uint8Array
  /** Whether remote reads cost the target's CPU, as far as the provider says. */
  readonly manualProgress: boolean
  /** A peer by its address; the number is this endpoint's own. */
  readonly insert: (address: Uint8Array) => number
  /** Nothing is sent to it any more, and what waits for it is dropped. */
  readonly remove: (peer: number) => void
  /** Copies the bytes. False: too many under way to this peer, or it is gone. */
  readonly send: (peer: number, bytes: Uint8Array) => boolean
  /**
   * Reads `length` bytes, up to 16 MiB, at `offset` of a peer's region. Rejects with an Error with `code`: `ERR_RDMA_DEADLINE`
   * after `deadlineMs`, `ERR_RDMA_LOST` or `ERR_RDMA_FAILED` with the peer, `ERR_RDMA_BUSY` when 256 of the peer are under way, `ERR_RDMA_CLOSED`.
   */
  readonly read: (
    peer: number,
    region: Region,
    offset: number,
    length: number,
    deadlineMs: number
  ) => Promise<Uint8Array>
  /** Lets peers read, and only read, this memory, which `map` made, until the endpoint is closed. */
  readonly expose: (memory: ArrayBuffer) => Region
  /** Each message as it comes, valid during the call only. */
  readonly onMessage: (take: (bytes: Uint8Array) => void) => void
  /** A peer that sends or reads fail to, told once. Remove it; the same address inserted anew is another peer. */
  readonly onLost: (lost: (peer: number, why: string) => void) => void
  /** Polls without sleeping for so long after the last thing that happened; 0 sleeps at once. */
  readonly setSpin: (microseconds: number) => void
  readonly close: () => Promise<void>
}

export interface FabricAddon {
  /**
   * Throws an Error with `code`: `ERR_RDMA_LIBRARY`, `ERR_RDMA_PROVIDER` with `offered`, the names of the providers there are, or
   * `ERR_RDMA_MEMORY` where memory cannot be registered.
   */
  readonly open: (options: FabricOptions) => Endpoint
  /** Providers there are, with what they say of themselves. */
  readonly providers: (library: string | null) => ReadonlyArray<{
    readonly name: string
    readonly version: string
    readonly remoteReads: boolean
    readonly manualProgress: boolean
  }>
  /** Memory backed by a file (made or grown to `bytes`), or by none. Kept until the process ends. */
  readonly map: (path: string | null, bytes: number) => ArrayBuffer
}

const place = `native/prebuilt/${process.platform}-${process.arch}/fabric.node`

const sharedMemory = "/dev/shm"

/**
 * libfabric's shm makes files there, named by process number first, and a process that is killed leaves them: one that is given
 * its number later could not open an endpoint.
 */
const forgetNamesakes = (): void => {
  try {
    for (const name of readdirSync(sharedMemory)) {
      if (name.startsWith(`${process.pid}:`)) rmSync(join(sharedMemory, name), { force: true })
    }
  } catch {
    // Not there, or somebody else's: then libfabric says what is wrong.
  }
}
let isFirst = true

/** Why there is no addon: an Error with `code` `ERR_RDMA_ADDON`. */
const missing = (why: string): Error =>
  Object.assign(new Error(`The RDMA store needs its native addon, and ${why}`), { code: "ERR_RDMA_ADDON" })

/**
 * The addon: the file that `path` names, else the one that was built beside this file. Throws an Error with `code`
 * `ERR_RDMA_ADDON` that says what to do. Needs no libfabric; `open` does.
 */
export const load = (path: string | null = null): FabricAddon => {
  if (process.platform !== "linux") throw missing(`that is for Linux only, not for ${process.platform}.`)
  const file = path ?? fileURLToPath(new URL(place, import.meta.url))
  if (!existsSync(file)) {
    throw missing(
      `there is none at ${file}. Build it where Warmpath's source is, with \`npm run build:native\` (needs g++ or clang++).`
    )
  }
  let native: NativeAddon & Omit<FabricAddon, "open">
  try {
    native = createRequire(import.meta.url)(file)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw missing(`${file} cannot be loaded: ${reason}. Build it anew on this machine: \`npm run build:native\`.`)
  }
  return {
    ...native,
    open: (options) => {
      if (isFirst) forgetNamesakes()
      isFirst = false
      try {
        return FabricEndpoint.open(native, options)
      } catch (error) {
        if ((error as { readonly code?: string }).code !== "ERR_RDMA_PROVIDER") throw error
        const offered = native.providers(options.library).map((provider) => provider.name)
        const { message } = error as Error
        throw Object.assign(new Error(`${message} Offered here: ${offered.join(", ") || "none"}.`), {
          code: "ERR_RDMA_PROVIDER",
          offered
        })
      }
    }
  }
}
