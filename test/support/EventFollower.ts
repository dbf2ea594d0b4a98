/** A naive consumer of vLLM's KV events: follows one publisher, asks for replays, and counts copies by hash. */
import { decode } from "@msgpack/msgpack"
import { Dealer, Subscriber } from "zeromq"

/** One event with its fields by name, whatever its encoding. Hashes are unsigned decimals. */
export interface Followed {
  readonly type: string
  readonly hashes: ReadonlyArray<string>
  readonly parent: string | null
  readonly tokenIds: ReadonlyArray<number>
  readonly blockSize: number
  readonly loraName: string | null
  readonly extraKeys: ReadonlyArray<ReadonlyArray<string> | null>
  readonly medium: string | null
  /** KV-cache group; 0 where none is named. */
  readonly group: number
}

export interface Batch {
  readonly topic: string
  readonly seq: number
  readonly rank: number | null
  readonly events: ReadonlyArray<Followed>
}

export interface Copy {
  readonly parent: string | null
  readonly tokenIds: ReadonlyArray<number>
  copies: number
}

const hashText = (value: unknown): string =>
  value instanceof Uint8Array
    ? Buffer.from(value)
        .readBigUInt64BE(value.length - 8)
        .toString()
    : BigInt.asUintN(64, BigInt(value as bigint | number)).toString()

const followed = (raw: unknown): Followed => {
  const [type, hashes, parent, tokenIds, blockSize, , , loraName, extraKeys] = Array.isArray(raw)
    ? raw
    : ["type", "block_hashes", "parent_block_hash", "token_ids", "block_size", "", "", "lora_name", "extra_keys"].map(
        (name) => (raw as Record<string, unknown>)[name]
      )
  const stored = type === "BlockStored"
  // Their places in the array form differ: medium and group stand sixth and ninth in a store, second and third after.
  const at = (place: number, name: string) => (Array.isArray(raw) ? raw[place] : (raw as Record<string, unknown>)[name])
  return {
    type: type as string,
    hashes: ((hashes ?? []) as ReadonlyArray<unknown>).map(hashText),
    parent: stored && parent !== null ? hashText(parent) : null,
    tokenIds: stored ? (tokenIds as ReadonlyArray<unknown>).map(Number) : [],
    blockSize: stored ? Number(blockSize) : 0,
    loraName: stored ? (loraName as string | null) : null,
    extraKeys: stored ? (extraKeys as ReadonlyArray<ReadonlyArray<string> | null>) : [],
    medium: (at(stored ? 6 : 2, "medium") as string | undefined) ?? null,
    group: Number(at(stored ? 9 : 3, "group_idx") ?? 0)
  }
}

const batchOf = (topic: Buffer, seq: Buffer, payload: Buffer): Batch => {
  const [, events, rank] = decode(payload, { useBigInt64: true }) as [number, ReadonlyArray<unknown>, number | null]
  return { topic: topic.toString("utf8"), seq: Number(seq.readBigUInt64BE(0)), rank, events: events.map(followed) }
}

/** Applies batches in the order given to an empty picture of the cache. */
export const apply = (batches: ReadonlyArray<Batch>): ReadonlyMap<string, Copy> => {
  const held = new Map<string, Copy>()
  for (const { events } of batches) {
    for (const event of events) {
      if (event.type === "AllBlocksCleared") held.clear()
      for (const [i, hash] of event.hashes.entries()) {
        const known = held.get(hash)
        if (event.type === "BlockRemoved") {
          if (known === undefined) throw new Error(`Removed ${hash}, which was never stored.`)
          if (--known.copies === 0) held.delete(hash)
        } else if (known !== undefined) known.copies++
        else {
          const tokenIds = event.tokenIds.slice(i * event.blockSize, (i + 1) * event.blockSize)
          held.set(hash, { parent: i === 0 ? event.parent : event.hashes[i - 1]!, tokenIds, copies: 1 })
        }
      }
    }
  }
  return held
}

/** Subscribes for as long as the test needs it; `batches` grows as they arrive. */
export class EventFollower {
  readonly batches: Array<Batch> = []
  readonly #subscriber = new Subscriber({ linger: 0 })

  constructor(endpoint: string, topic = "") {
    this.#subscriber.connect(endpoint)
    this.#subscriber.subscribe(topic)
    void this.#follow()
  }

  close(): void {
    this.#subscriber.close()
  }

  async #follow(): Promise<void> {
    for await (const [topic, seq, payload] of this.#subscriber) this.batches.push(batchOf(topic!, seq!, payload!))
  }
}

/** Everything a replay socket has from `start` on, and the frame counts of its messages. */
export const replay = async (
  endpoint: string,
  start: number
): Promise<{ readonly batches: ReadonlyArray<Batch>; readonly frames: ReadonlySet<number> }> => {
  const dealer = new Dealer({ linger: 0, receiveTimeout: 10_000 })
  try {
    dealer.connect(endpoint)
    const seq = Buffer.alloc(8)
    seq.writeBigUInt64BE(BigInt(start))
    await dealer.send([Buffer.alloc(0), seq])
    const batches: Array<Batch> = []
    const frames = new Set<number>()
    while (true) {
      const [delimiter, ...rest] = await dealer.receive()
      if (delimiter!.length !== 0) throw new Error("A replay message does not begin with the empty delimiter.")
      frames.add(rest.length)
      const [topic, at, payload] = rest.length === 2 ? [Buffer.alloc(0), ...rest] : rest
      if (at!.equals(Buffer.alloc(8, 0xff)) && payload!.length === 0) return { batches, frames }
      batches.push(batchOf(topic!, at!, payload!))
    }
  } finally {
    dealer.close()
  }
}
