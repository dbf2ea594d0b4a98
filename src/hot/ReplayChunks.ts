/**
 * ReplayChunks: a replay as messages of bounded size, for a replica that asks another.
 *
 *   chunk  │ its number u32 │ bytes of frames, cut anywhere │
 *   frame  │ tag u8 │ seq f64 │ length u32 │ payload │         big-endian; tags: batch, end, failed (payload: why), more
 *
 * Chunks are numbered from 0, so that one which is missing is noticed, as is a missing end. `more`: that was as much as
 * is sent at once; the rest is to be asked for.
 */
const BATCH = 0
const END = 1
const FAILED = 2
const MORE = 3
const chunkHead = 4
const frameHead = 13
/** What an engine's socket takes at most. */
const payloadMax = 64 * 1024 * 1024

export class ReplayWriter {
  private readonly chunk: Uint8Array
  private readonly view: DataView
  private readonly head = new Uint8Array(frameHead)
  private readonly send: (chunk: Uint8Array) => void
  private at = chunkHead
  private count = 0

  /** Chunks of `bytesMax` at most. What is sent is the taker's to keep. */
  constructor(bytesMax: number, send: (chunk: Uint8Array) => void) {
    this.chunk = new Uint8Array(bytesMax)
    this.view = new DataView(this.chunk.buffer)
    this.send = send
  }

  readonly batch = (seq: number, payload: Uint8Array): void => this.frame(BATCH, seq, payload)

  end(): void {
    this.last(END, new Uint8Array(0))
  }

  more(): void {
    this.last(MORE, new Uint8Array(0))
  }

  fail(reason: string): void {
    this.last(FAILED, Buffer.from(reason))
  }

  /** Sends what there is, and be it nothing: a sign of life. */
  flush(): void {
    this.view.setUint32(0, this.count++)
    this.send(this.chunk.slice(0, this.at))
    this.at = chunkHead
  }

  private last(tag: number, payload: Uint8Array): void {
    this.frame(tag, 0, payload)
    if (this.at > chunkHead) this.flush()
  }

  private frame(tag: number, seq: number, payload: Uint8Array): void {
    const view = new DataView(this.head.buffer)
    view.setUint8(0, tag)
    view.setFloat64(1, seq)
    view.setUint32(9, payload.length)
    this.write(this.head)
    this.write(payload)
  }

  private write(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; ) {
      const room = Math.min(bytes.length - from, this.chunk.length - this.at)
      this.chunk.set(bytes.subarray(from, from + room), this.at)
      this.at += room
      from += room
      if (this.at === this.chunk.length) this.flush()
    }
  }
}

export class ReplayReader {
  /** `broken`: a chunk is missing or wrong. `failed`: the engine's replay did, for `reason`. */
  state: "reading" | "done" | "more" | "failed" | "broken" = "reading"
  reason = ""
  private readonly take: (seq: number, payload: Uint8Array) => void
  private readonly head = new Uint8Array(frameHead)
  private readonly view = new DataView(this.head.buffer)
  private headAt = 0
  private payload: Uint8Array | null = null
  private payloadAt = 0
  private count = 0

  constructor(take: (seq: number, payload: Uint8Array) => void) {
    this.take = take
  }

  read(chunk: Uint8Array): void {
    if (this.state !== "reading") return
    const number = chunk.length < chunkHead ? -1 : new DataView(chunk.buffer, chunk.byteOffset).getUint32(0)
    if (number !== this.count++) {
      this.state = "broken"
      return
    }
    for (let at = chunkHead; at < chunk.length && this.state === "reading"; ) at += this.part(chunk, at)
  }

  /** Bytes taken. */
  private part(chunk: Uint8Array, at: number): number {
    if (this.payload === null) {
      const room = Math.min(frameHead - this.headAt, chunk.length - at)
      this.head.set(chunk.subarray(at, at + room), this.headAt)
      this.headAt += room
      if (this.headAt < frameHead) return room
      const length = this.view.getUint32(9)
      if (length > payloadMax) {
        this.state = "broken"
        return room
      }
      this.payload = new Uint8Array(length)
      this.payloadAt = 0
      if (this.payload.length === 0) this.frame(this.payload)
      return room
    }
    const { payload } = this
    const room = Math.min(payload.length - this.payloadAt, chunk.length - at)
    payload.set(chunk.subarray(at, at + room), this.payloadAt)
    this.payloadAt += room
    if (this.payloadAt === payload.length) this.frame(payload)
    return room
  }

  private frame(payload: Uint8Array): void {
    this.payload = null
    this.headAt = 0
    const tag = this.view.getUint8(0)
    if (tag === BATCH) this.take(this.view.getFloat64(1), payload)
    else if (tag === END) this.state = "done"
    else if (tag === MORE) this.state = "more"
    else if (tag === FAILED) {
      this.state = "failed"
      this.reason = Buffer.from(payload).toString()
    } else this.state = "broken"
  }
}
