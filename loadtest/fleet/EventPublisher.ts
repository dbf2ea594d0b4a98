/**
 * Publishes KV events over ZeroMQ as one vLLM rank does: a PUB socket for what happens, a ROUTER socket that replays.
 *
 *   live      topic · seq (8 bytes, big-endian) · payload
 *   replay    asked with  "" · seq      answered with  "" · topic · seq · payload …  then  "" · "" · ff×8 · ""
 *             (before vLLM 0.26 without the topic frame, in the end marker too)
 *
 * `seq` starts at 0 with each life. The ring keeps the newest `bufferSteps` batches, whether they were sent or not:
 * faults lose batches on the way, as a full subscriber queue would, and replay heals them. Batches a fault holds back
 * for reordering leave with the next batch, or after 200 ms when none comes.
 */
import { Publisher, Router } from "zeromq"
import * as EventEncoding from "./EventEncoding.ts"
import type { Faults } from "./Faults.ts"
import { advertised, bindTcp } from "./Ports.ts"

export interface PublisherOptions extends EventEncoding.Form {
  readonly host: string
  readonly topic: string
  readonly replay: boolean
  readonly replayLayout: "topic" | "plain"
  readonly bufferSteps: number
}

type Frames = readonly [topic: Buffer, seq: Buffer, payload: Uint8Array]

const end = Buffer.alloc(8, 0xff)
const empty = Buffer.alloc(0)
const heldMs = 200

export class EventPublisher {
  readonly #options: PublisherOptions
  readonly #faults: Faults
  readonly #topic: Buffer
  readonly #ring: Array<Frames> = []
  #publisher: Publisher | undefined
  #router: Router | undefined
  #seq = 0
  #outbox: Array<Frames> = []
  #sending: Promise<void> | undefined
  #held: Frames | undefined
  #heldTimer: NodeJS.Timeout | undefined
  #endpoint = ""
  #replayEndpoint: string | null = null

  constructor(options: PublisherOptions, faults: Faults) {
    this.#options = options
    this.#faults = faults
    this.#topic = Buffer.from(options.topic, "utf8")
  }

  /** Address of the PUB socket as a subscriber connects to it. */
  get endpoint(): string {
    return this.#endpoint
  }

  get replayEndpoint(): string | null {
    return this.#replayEndpoint
  }

  /** Sequence number the next batch will have. */
  get seq(): number {
    return this.#seq
  }

  /** Opens the sockets, on the ports of `before` when they are free, so that a restart is found where it was. */
  async open(before?: EventPublisher): Promise<void> {
    const { host, replay } = this.#options
    this.#publisher = new Publisher({ linger: 0, sendHighWaterMark: 100_000 })
    this.#endpoint = advertised(await bindTcp(this.#publisher, host, before?.endpoint))
    if (!replay) return
    this.#router = new Router({ linger: 0, sendHighWaterMark: 100_000 })
    this.#replayEndpoint = advertised(await bindTcp(this.#router, host, before?.replayEndpoint ?? undefined))
    void this.#serve(this.#router)
  }

  close(): void {
    clearTimeout(this.#heldTimer)
    this.#publisher?.close()
    this.#router?.close()
    this.#publisher = undefined
    this.#router = undefined
  }

  /** Numbers a batch, keeps it for replay, and sends it unless a fault says otherwise. */
  publish(events: ReadonlyArray<EventEncoding.CacheEvent>): void {
    const seq = Buffer.alloc(8)
    seq.writeBigUInt64BE(BigInt(this.#seq++))
    const ts = (performance.timeOrigin + performance.now()) / 1000
    const frames: Frames = [this.#topic, seq, EventEncoding.payload(this.#options, ts, events, 0)]
    this.#ring.push(frames)
    if (this.#ring.length > this.#options.bufferSteps) this.#ring.shift()
    if (this.#faults.standing.silent || this.#faults.hits("drop")) return
    if (this.#held === undefined && this.#faults.hits("reorder")) {
      this.#held = frames
      this.#heldTimer = setTimeout(() => this.#letGo(), heldMs)
      return
    }
    this.#send(frames)
    if (this.#faults.hits("duplicate")) this.#send(frames)
    this.#letGo()
  }

  #letGo(): void {
    clearTimeout(this.#heldTimer)
    const held = this.#held
    this.#held = undefined
    if (held !== undefined) this.#send(held)
  }

  /** One send at a time: a second while the first is pending is an error of the socket library. */
  #send(frames: Frames): void {
    this.#outbox.push(frames)
    this.#sending ??= this.#drain().finally(() => {
      this.#sending = undefined
    })
  }

  async #drain(): Promise<void> {
    for (let frames = this.#outbox.shift(); frames !== undefined; frames = this.#outbox.shift()) {
      const publisher = this.#publisher
      if (publisher === undefined) return
      // Fails only when the socket was closed meanwhile: then nobody listens any more.
      await publisher.send([...frames]).catch(() => undefined)
    }
  }

  async #serve(router: Router): Promise<void> {
    try {
      for await (const frames of router) {
        const [identity, delimiter, start] = frames
        if (frames.length !== 3 || delimiter!.length !== 0 || start!.length !== 8) continue
        await this.#replay(router, identity!, start!.readBigUInt64BE(0))
      }
    } catch (cause) {
      if (this.#router === router) throw cause // Closed on purpose otherwise.
    }
  }

  async #replay(router: Router, identity: Buffer, start: bigint): Promise<void> {
    const plain = this.#options.replayLayout === "plain"
    for (const [topic, seq, payload] of [...this.#ring]) {
      if (seq.readBigUInt64BE(0) < start) continue
      await router.send(plain ? [identity, empty, seq, payload] : [identity, empty, topic, seq, payload])
    }
    await router.send(plain ? [identity, empty, end, empty] : [identity, empty, empty, end, empty])
  }
}
