/**
 * Publishes KV events over ZeroMQ as one rank of an engine does: a PUB socket for what happens, a ROUTER socket that replays.
 *
 *   live      topic · seq (8 bytes, big-endian) · payload
 *   replay    asked with  "" · seq      answered with  "" · topic · seq · payload …  then  "" · "" · ff×8 · ""
 *             (before vLLM 0.26, and by SGLang, without the topic frame, in the end marker too)
 *
 * `seq` starts at 0 with each life. The ring keeps the newest `bufferSteps` batches, whether they were sent or not:
 * faults lose batches on the way, as a full subscriber queue would, and replay heals them. Batches a fault holds back
 * for reordering leave with the next batch, or after 200 ms when none comes.
 */
import { Publisher, Router } from "zeromq"
import type { CacheEvent, Encode } from "./CacheEvent.ts"
import type { Faults, Flap } from "./Faults.ts"
import { advertised, bindTcp, portOf } from "./Ports.ts"

export interface PublisherOptions {
  readonly host: string
  readonly topic: string
  readonly replay: boolean
  readonly replayLayout: "topic" | "plain"
  readonly bufferSteps: number
  /** Connects to the address it was given instead of binding it. */
  readonly connects?: boolean
  /** How far its clock is ahead. */
  readonly skewMs?: number
  readonly encode: Encode
}

/** Null lets the system choose. */
export interface EventPorts {
  readonly events: number | null
  readonly replay: number | null
}

type Frames = readonly [topic: Buffer, seq: Buffer, payload: Uint8Array]

const end = Buffer.alloc(8, 0xff)
const empty = Buffer.alloc(0)
const heldMs = 200
/** A byte msgpack never uses, so that what follows is no message. */
const neverUsed = 0xc1

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
  readonly #late: Array<{ readonly frames: Frames; readonly at: number }> = []
  #lateTimer: NodeJS.Timeout | undefined
  #closed = false
  #flapping = false
  #replays = 0
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

  /** The ports it has or had. */
  get ports(): EventPorts {
    return {
      events: this.#endpoint === "" ? null : portOf(this.#endpoint),
      replay: this.#replayEndpoint === null ? null : portOf(this.#replayEndpoint)
    }
  }

  /** Opens the sockets. False, and nothing open, when a port cannot be had; `patient` waits a second for it. */
  async open(ports: EventPorts, patient: boolean): Promise<boolean> {
    const { connects, host, replay } = this.#options
    const publisher = new Publisher({ linger: 0, sendHighWaterMark: 100_000 })
    const router = replay ? new Router({ linger: 0, sendHighWaterMark: 100_000 }) : undefined
    const endpoint = await bindTcp(publisher, host, ports.events, patient)
    const replayEndpoint =
      endpoint === null || router === undefined ? null : await bindTcp(router, host, ports.replay, patient)
    if (this.#closed || endpoint === null || (router !== undefined && replayEndpoint === null)) {
      publisher.close()
      router?.close()
      return false
    }
    if (connects === true) {
      await publisher.unbind(endpoint)
      publisher.connect(endpoint)
    }
    this.#publisher = publisher
    this.#router = router
    this.#endpoint = advertised(endpoint)
    this.#replayEndpoint = replayEndpoint === null ? null : advertised(replayEndpoint)
    if (router !== undefined) void this.#serve(router)
    return true
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#heldTimer)
    clearTimeout(this.#lateTimer)
    this.#shut()
  }

  #shut(): void {
    const sockets = [this.#publisher, this.#router]
    this.#publisher = undefined
    this.#router = undefined
    for (const socket of sockets) socket?.close()
  }

  /** Keeps only the newest batches for replay. */
  shorten(batches: number): void {
    this.#ring.splice(0, Math.max(0, this.#ring.length - batches))
  }

  /**
   * Closes the sockets and opens them again, over and over. What is published meanwhile is only kept for replay. One at a
   * time: asked for another before it is over, it goes on as it is.
   */
  async flap({ everyMs, forMs }: Flap): Promise<void> {
    if (this.#flapping) return
    this.#flapping = true
    const half = () => new Promise((resolve) => setTimeout(resolve, everyMs / 2))
    for (const until = performance.now() + forMs; performance.now() < until && !this.#closed; ) {
      const { ports } = this
      this.#shut()
      await half()
      while (!this.#closed && !(await this.open(ports, true)));
      await half()
    }
    this.#flapping = false
  }

  /** Numbers a batch, keeps it for replay, and sends it unless a fault says otherwise. */
  publish(events: ReadonlyArray<CacheEvent>): void {
    const seq = Buffer.alloc(8)
    seq.writeBigUInt64BE(BigInt(this.#seq++))
    const ts = (performance.timeOrigin + performance.now() + (this.#options.skewMs ?? 0)) / 1000
    const frames: Frames = [this.#topic, seq, this.#payload(ts, events)]
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

  #payload(ts: number, events: ReadonlyArray<CacheEvent>): Uint8Array {
    const payload = this.#options.encode(ts, events)
    if (!this.#faults.hits("garbage")) return payload
    return payload.map((_, i) => (i === 0 ? neverUsed : Math.floor(this.#faults.random() * 256)))
  }

  #letGo(): void {
    clearTimeout(this.#heldTimer)
    const held = this.#held
    this.#held = undefined
    if (held !== undefined) this.#send(held)
  }

  /** Hands a batch to the socket, at once or when a fault's delay is over; none overtakes another. */
  #send(frames: Frames): void {
    this.#late.push({ frames, at: performance.now() + this.#faults.standing.delayMs })
    this.#release()
  }

  #release(): void {
    clearTimeout(this.#lateTimer)
    for (; this.#late.length > 0; this.#queue(this.#late.shift()!.frames)) {
      const wait = this.#late[0]!.at - performance.now()
      if (wait <= 0) continue
      this.#lateTimer = setTimeout(() => this.#release(), Math.ceil(wait))
      return
    }
  }

  /** One send at a time: a second while the first is pending is an error of the socket library. */
  #queue(frames: Frames): void {
    this.#outbox.push(frames)
    this.#sending ??= this.#drain().finally(() => {
      this.#sending = undefined
    })
  }

  async #drain(): Promise<void> {
    for (let frames = this.#outbox.shift(); frames !== undefined; frames = this.#outbox.shift()) {
      const publisher = this.#publisher
      if (publisher === undefined) continue // Nobody hears it: the sockets are closed, if only for a while.
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
    const { standing } = this.#faults
    const served = this.#replays++
    if (standing.replay === "absent" || (standing.replay === "oneShot" && served > 0)) return
    if (standing.failReplays > 0) {
      standing.failReplays--
      return
    }
    const plain = this.#options.replayLayout === "plain"
    const batches = this.#ring.filter(([, seq]) => seq.readBigUInt64BE(0) >= start)
    const breaks = standing.breakReplays > 0
    if (breaks) standing.breakReplays--
    for (const [topic, seq, payload] of breaks ? batches.slice(0, batches.length / 2) : batches) {
      await router.send(plain ? [identity, empty, seq, payload] : [identity, empty, topic, seq, payload])
    }
    if (!breaks) await router.send(plain ? [identity, empty, end, empty] : [identity, empty, empty, end, empty])
  }
}
