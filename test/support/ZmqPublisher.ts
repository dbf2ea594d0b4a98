/** The sockets of an engine that publishes KV events: PUB for live, ROUTER for replay, in either reply layout. */
import * as zmq from "zeromq"

export interface ZmqPublisher {
  readonly endpoint: string
  readonly replayEndpoint: string
  /** Numbers, buffers and, unless `lost`, sends a payload. */
  readonly publish: (payload: Uint8Array, lost?: boolean) => Promise<void>
  /** Sends frames as they are. */
  readonly raw: (frames: ReadonlyArray<Uint8Array | string>) => Promise<void>
  /** Replays asked for: their first numbers. */
  readonly asked: ReadonlyArray<number>
  /** When set, replays stop after this many batches and never say that they are done. */
  breakAfter: number | null
  readonly close: () => void
}

export const seqFrame = (seq: number | bigint): Buffer => {
  const frame = Buffer.alloc(8)
  frame.writeBigUInt64BE(BigInt(seq))
  return frame
}

const endMarker = Buffer.alloc(8, 0xff)

/** `at`: the addresses of an earlier life, to come back on; free ports of the loopback unless told. */
export const open = async (
  layout: "with topic" | "without topic",
  topic = "kv-events",
  at?: { readonly endpoint: string; readonly replayEndpoint: string }
): Promise<ZmqPublisher> => {
  const pub = new zmq.Publisher({ linger: 0, ipv6: at !== undefined })
  const router = new zmq.Router({ linger: 0, ipv6: at !== undefined })
  await pub.bind(at?.endpoint ?? "tcp://127.0.0.1:*")
  await router.bind(at?.replayEndpoint ?? "tcp://127.0.0.1:*")
  const ring: Array<Uint8Array> = []
  const asked: Array<number> = []
  const publisher: ZmqPublisher = {
    endpoint: pub.lastEndpoint!,
    replayEndpoint: router.lastEndpoint!,
    publish: async (payload, lost = false) => {
      const seq = ring.push(payload) - 1
      if (!lost) await pub.send([topic, seqFrame(seq), payload])
    },
    raw: (frames) => pub.send([...frames]),
    asked,
    breakAfter: null,
    close: () => {
      pub.close()
      router.close()
    }
  }
  const serve = async () => {
    for await (const [peer, delimiter, from] of router) {
      if (delimiter?.length !== 0 || from?.length !== 8) continue
      const start = Number(from.readBigUInt64BE())
      asked.push(start)
      const reply = (seq: Buffer, payload: Uint8Array, named: string) =>
        router.send(layout === "with topic" ? [peer!, "", named, seq, payload] : [peer!, "", seq, payload])
      const end = publisher.breakAfter === null ? ring.length : Math.min(ring.length, start + publisher.breakAfter)
      for (let seq = start; seq < end; seq++) await reply(seqFrame(seq), ring[seq]!, topic)
      if (publisher.breakAfter === null) await reply(endMarker, new Uint8Array(0), "")
    }
  }
  serve().catch((error: unknown) => {
    if (!router.closed) throw error
  })
  return publisher
}

/** Resolves when `done` says so; rejects, with what was awaited, after ten seconds. */
export const until = async (what: string, done: () => boolean | Promise<boolean>): Promise<void> => {
  const deadline = performance.now() + 10_000
  while (!(await done())) {
    if (performance.now() > deadline) throw new Error(`Waited 10 s for: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
