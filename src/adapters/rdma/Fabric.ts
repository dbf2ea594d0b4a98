/**
 * Fabric: messages and remote reads over libfabric, as the native addon offers them. Transport only: what the bytes mean is
 * `RdmaStore` and `MemoryNode`.
 *
 * An endpoint is connectionless and reliable (RDM). Peers know each other's addresses from elsewhere, a TCP connection that also
 * tells that one of them went. Nothing relies on order between messages, on atomics, or on remote writes.
 */

export interface FabricOptions {
  /** `auto`, or as libfabric names it: tcp, shm, verbs, efa, cxi. */
  readonly provider: string
  /** Path of `libfabric.so.1`, or a folder that has it and what it needs; null: as the system finds it. */
  readonly library: string | null
  /** Larger messages are refused. Receive buffers of this size are posted. */
  readonly messageBytesMax: number
  readonly receives: number
  /** Sends to one peer under way or waiting at most; more are refused. */
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
  /** Reads `length` bytes at `offset` of a peer's region; rejects when the provider says it failed or after `deadlineMs`. */
  readonly read: (
    peer: number,
    region: Region,
    offset: number,
    length: number,
    deadlineMs: number
  ) => Promise<Uint8Array>
  /** Lets peers read, and only read, this memory until the endpoint is closed. */
  readonly expose: (memory: ArrayBufferLike) => Region
  /** Each message as it comes, valid during the call only. */
  readonly onMessage: (take: (bytes: Uint8Array) => void) => void
  /** A peer that sends or reads fail to: told once, until it is inserted again. */
  readonly onLost: (lost: (peer: number, why: string) => void) => void
  /** Polls without sleeping for so long after the last thing that happened; 0 sleeps at once. */
  readonly setSpin: (microseconds: number) => void
  readonly close: () => Promise<void>
}

export interface FabricAddon {
  /** Throws an Error with `code` `ERR_RDMA_LIBRARY` or `ERR_RDMA_PROVIDER`, and `offered`: the providers there are. */
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
  readonly crc32c: (bytes: Uint8Array) => number
}
