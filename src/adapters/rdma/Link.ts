/**
 * Link: the connection to one memory node, made again for as long as it is not closed, and questions over it.
 *
 * TCP says who we are and that the other is there; questions go over the fabric, and each has its own deadline. What waits for an
 * answer when the connection breaks fails at once.
 */
import { once } from "node:events"
import * as Net from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { Schema } from "effect"
import { layoutVersion } from "../../hot/NodeLayout.ts"
import * as Asking from "./Asking.ts"
import type { Endpoint, FabricAddon } from "./Fabric.ts"
import { Failed, type Unusable, unusableOf } from "./Failure.ts"
import * as Frames from "./Frames.ts"
import * as Hello from "./Hello.ts"
import { spinUs } from "./Spin.ts"
import * as Wire from "./Wire.ts"

export interface Options {
  readonly fabric: FabricAddon
  readonly host: string
  readonly port: number
  readonly provider: string
  readonly library: string | null
  readonly token: string
  /** Null: as the provider needs it. */
  readonly spinUs: number | null
  /** Told of every change. */
  readonly changed: (link: Link) => void
}

/** A connection that works. */
export interface Session {
  readonly welcome: Hello.Welcome
  readonly endpoint: Endpoint
  /** The node, as the endpoint counts. */
  readonly peer: number
  /** When it began, `performance.now()`. */
  readonly since: number
}

interface Waiting {
  readonly done: (words: Int32Array | null, why: Failed | null) => void
  readonly stop: () => void
}

/** For connecting, each of its steps. */
const connectMs = 2_000
const pauseMsMin = 50
const pauseMsMax = 2_000
/** A send for which there is no room is tried again. */
const againMs = 1
/** A write that is not acknowledged is sent again, under its own number. */
const resendMs = 250
/** Writes on their way at once. */
const writesMax = 32
/** Misses in a row after which nothing is asked for a while. */
const missesMax = 5
const breakMs = 1_000

interface Queued {
  readonly shares: Int32Array
  readonly ms: number
  readonly done: (error: Failed | null) => void
}

export class Link {
  readonly name: string
  /** Null while there is none. */
  session: Session | null = null
  /** It has answered on the fabric. */
  isUp = false
  why = "not connected yet"
  /** Why it will not connect, however long it waits. */
  unusable: Unusable | null = null
  /** Lookups that were late, in a row, and until when nothing is looked up for that. */
  misses = 0
  brokenUntil = 0
  private readonly options: Options
  private readonly waiting = new Map<number, Waiting>()
  private readonly writes: Array<Queued> = []
  private readonly frame = new Int32Array(Wire.messageBytesMax / 4)
  private endpoint: Endpoint | null = null
  private endpointHost = ""
  private underWay = 0
  private nextId = 1
  private nextWrite = 1
  private isClosed = false
  private socket: Net.Socket | null = null

  constructor(options: Options) {
    this.options = options
    this.name = `${options.host}:${options.port}`
  }

  /** Connects, and again whenever that breaks. Resolves with the first attempt, however it ended. */
  open(): Promise<void> {
    return new Promise((resolve) => {
      void this.keep(resolve)
    })
  }

  async close(): Promise<void> {
    this.isClosed = true
    this.socket?.destroy()
    this.broke("closed")
    await this.endpoint?.close()
    this.endpoint = null
  }

  /** Whether lookups may be asked of it. */
  isHealthy(now: number): boolean {
    return this.isUp && now >= this.brokenUntil
  }

  /** The reply to a message of `length` words in `frame`, head and all but session and id filled in. Cancel with what it returns. */
  private exchange(frame: Int32Array, length: number, ms: number, resends: boolean, done: Waiting["done"]): () => void {
    const { session } = this
    if (session === null) {
      done(null, new Failed("away", this.why))
      return () => {}
    }
    const id = this.nextId++ | 0
    frame[1] = session.welcome.session
    frame[2] = id
    let turn: NodeJS.Immediate | undefined
    let again: NodeJS.Timeout | undefined
    const late = setTimeout(() => {
      // Timers run before what has long arrived is read: what is there by now still counts.
      turn = setImmediate(() => {
        this.waiting.delete(id)
        clearTimeout(again)
        done(null, new Failed("late", `${this.name} did not answer in ${ms} ms`))
      })
    }, ms)
    const stop = (): void => {
      clearTimeout(late)
      clearTimeout(again)
      clearImmediate(turn)
      this.waiting.delete(id)
    }
    this.waiting.set(id, { done, stop })
    if (session.endpoint.send(session.peer, Wire.bytesOf(frame, length)) && !resends) return stop
    const bytes = Wire.bytesOf(frame, length).slice()
    const retry = (pause: number): void => {
      again = setTimeout(() => {
        const isSent = this.session === session && session.endpoint.send(session.peer, bytes)
        if (!isSent || resends) retry(isSent ? resendMs : againMs)
      }, pause)
    }
    retry(resends ? resendMs : againMs)
    return stop
  }

  /** Who reaches how far, by slot. */
  lookup(
    keys: Int32Array,
    count: number,
    stride: number,
    ms: number,
    done: (reach: Wire.ReachReply | null, why: Failed | null) => void
  ): () => void {
    const { frame } = this
    const most = Math.min(count, Wire.lookupKeysMax)
    Wire.head(frame, Wire.LOOKUP, 0, 0, Wire.lookupArgument(most, stride))
    frame.set(most * 2 === keys.length ? keys : keys.subarray(0, 2 * most), Wire.headWords)
    return this.exchange(frame, Wire.headWords + 2 * most, ms, false, (words, why) => {
      this.missed(why)
      if (words === null) return done(null, why)
      const reach = Wire.reachOf(words)
      done(reach, reach === null ? new Failed("refused", `${this.name} did not understand`) : null)
    })
  }

  /** Counts a lookup that was late, or not. */
  missed(why: Failed | null): void {
    if (why === null) this.misses = 0
    else if (why.reason === "late" && ++this.misses >= missesMax) {
      this.misses = 0
      this.brokenUntil = performance.now() + breakMs
    }
  }

  /** Shares as they are on the wire, in one message. In the order of the calls. */
  write(shares: Int32Array, ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.session === null) return reject(new Failed("away", this.why))
      this.writes.push({ shares, ms, done: (error) => (error === null ? resolve() : reject(error)) })
      this.sendWrites()
    })
  }

  private sendWrites(): void {
    while (this.underWay < writesMax && this.writes.length > 0) {
      const { done, ms, shares } = this.writes.shift()!
      const { frame } = this
      Wire.head(frame, Wire.WRITE, 0, 0, this.nextWrite)
      this.nextWrite = (this.nextWrite + 1) | 0
      frame.set(shares, Wire.headWords)
      this.underWay++
      this.exchange(frame, Wire.headWords + shares.length, ms, true, (words, why) => {
        this.underWay--
        if (why?.reason === "late") this.fail("it did not acknowledge what was written")
        const isRefused = words !== null && words[3] !== Wire.OK
        done(isRefused ? new Failed("refused", `${this.name} did not understand`) : why)
        this.sendWrites()
      })
    }
  }

  /** The answer to a question that is asked seldom. */
  async ask<A>(question: Asking.Question, answer: Schema.Codec<A, unknown>, ms: number): Promise<A> {
    const message = Wire.wordsOf(Wire.json(Wire.ASK, 0, 0, 0, question))!
    const words = await this.words(message, ms)
    const value = Wire.jsonOf(words)
    if (words[3] !== Wire.OK || !Schema.is(answer)(value))
      throw new Failed("refused", `${this.name} did not understand`)
    return value
  }

  /** Some of its nodes, from a granule on. */
  async bulk(from: number, ms: number): Promise<{ readonly next: number; readonly nodes: Array<Uint8Array> }> {
    const message = new Int32Array(Wire.headWords)
    Wire.head(message, Wire.BULK, 0, 0, from)
    const part = Wire.bulkOf(await this.words(message, ms))
    if (part === null) throw new Failed("refused", `${this.name} did not understand`)
    if (part.next >= 0 && part.next <= from) {
      throw new Failed("refused", `${this.name} tells nodes again from ${part.next}, after ${from}`)
    }
    return part
  }

  private words(message: Int32Array, ms: number): Promise<Int32Array> {
    return new Promise((resolve, reject) => {
      this.exchange(message, message.length, ms, false, (words, why) =>
        words === null ? reject(why) : resolve(words.slice())
      )
    })
  }

  private readonly take = (bytes: Uint8Array): void => {
    const words = Wire.wordsOf(bytes)
    if (words === null || words[1] !== this.session?.welcome.session || (words[0]! & Wire.REPLY) === 0) return
    const waiting = this.waiting.get(words[2]!)
    if (waiting === undefined) return
    waiting.stop()
    waiting.done(words, null)
  }

  private async keep(attempted: () => void): Promise<void> {
    let isFirst = true
    for (let pauseMs = pauseMsMin; !this.isClosed; pauseMs = Math.min(pauseMsMax, 2 * pauseMs)) {
      try {
        const socket = await this.connect()
        pauseMs = pauseMsMin
        attempted()
        if (!socket.destroyed) await once(socket, "close").catch(() => {})
        this.broke(this.session === null ? this.why : "the connection was closed")
      } catch (error) {
        this.unusable = unusableOf(error) ?? (error as { readonly unusable?: Unusable }).unusable ?? null
        this.socket?.destroy()
        if (isFirst) this.unusable ??= await this.tryFabric()
        this.broke(this.unusable?.why ?? (error instanceof Error ? wordsOf(error) : String(error)))
        attempted()
      }
      if (this.isClosed) return
      isFirst = false
      await sleep(pauseMs * (0.5 + Math.random()), undefined, { ref: false })
    }
  }

  private async connect(): Promise<Net.Socket> {
    const { host, port } = this.options
    const socket = Net.connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 5_000 })
    this.socket = socket
    const signal = AbortSignal.timeout(connectMs)
    await once(socket, "connect", { signal })
    socket.on("error", () => {})
    const endpoint = await this.endpointAt(socket.localAddress ?? "")
    const welcome = await this.greet(socket, endpoint)
    if (this.isClosed) throw new Error("closed")
    const peer = endpoint.insert(Buffer.from(welcome.address, "base64"))
    const session: Session = { welcome, endpoint, peer, since: performance.now() }
    this.session = session
    this.nextWrite = 1
    socket.once("close", () => this.broke("the connection was closed"))
    // The first message of two peers takes longest; and only an answer shows that the fabric carries any.
    await this.ask({ ask: "state" }, Asking.State, connectMs)
    if (socket.destroyed) throw new Error("the connection was closed")
    this.unusable = null
    this.why = ""
    this.misses = 0
    this.isUp = true
    this.options.changed(this)
    return socket
  }

  private openAt(host: string | null): Endpoint {
    const { fabric, library, provider } = this.options
    const { messageBytesMax } = Wire
    return fabric.open({ provider, host, library, messageBytesMax, receives: 32, sendsMax: 256 })
  }

  /** What the fabric lacks shows when a node is there to be reached over it; where none is, it is opened for that alone. */
  private async tryFabric(): Promise<Unusable | null> {
    if (this.endpoint !== null || this.isClosed) return null
    try {
      await this.openAt(null).close()
      return null
    } catch (error) {
      return unusableOf(error)
    }
  }

  private async endpointAt(host: string): Promise<Endpoint> {
    if (this.endpoint !== null && this.endpointHost === host) return this.endpoint
    await this.endpoint?.close()
    this.endpoint = null
    if (this.isClosed) throw new Error("closed")
    const endpoint = this.openAt(host)
    endpoint.setSpin(spinUs(endpoint.provider, this.options.spinUs))
    endpoint.onMessage(this.take)
    endpoint.onLost((peer, why) => {
      if (peer === this.session?.peer) this.fail(why)
    })
    this.endpoint = endpoint
    this.endpointHost = host
    return endpoint
  }

  private greet(socket: Net.Socket, { address, provider, version }: Endpoint): Promise<Hello.Welcome> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`it said nothing in ${connectMs} ms`)), connectMs)
      const fail = (error: Error): void => {
        clearTimeout(late)
        reject(error)
      }
      socket.once("close", () => fail(new Error("it hung up")))
      Frames.receive(
        socket,
        (value) => {
          clearTimeout(late)
          if (Hello.isWelcome(value)) return resolve(value)
          if (!Hello.isRefusal(value)) return fail(new Error("it does not speak as a memory node does"))
          const { code, fix, refused } = value
          fail(Object.assign(new Error(refused), { unusable: { code, why: refused, fix } }))
        },
        (why) => fail(new Error(why))
      )
      Frames.send(socket, {
        ...{ layout: layoutVersion, wire: Wire.wireVersion, token: this.options.token, provider, version },
        address: Buffer.from(address).toString("base64")
      } satisfies Hello.Hello)
    })
  }

  /** Gives the connection up. */
  private fail(why: string): void {
    this.why = why
    this.socket?.destroy()
    this.broke(why)
  }

  private broke(why: string): void {
    const { session } = this
    if (this.isClosed && this.why === "closed") return
    const wasAnother = this.why !== why
    this.why = why
    this.session = null
    this.isUp = false
    if (session !== null) session.endpoint.remove(session.peer)
    const failed = new Failed("away", `${this.name}: ${why}`)
    const queued = this.writes.splice(0)
    for (const waiting of [...this.waiting.values()]) {
      waiting.stop()
      waiting.done(null, failed)
    }
    for (const { done } of queued) done(failed)
    if (session !== null || wasAnother) this.options.changed(this)
  }
}

const wordsOf = (error: Error): string => {
  if (error.name === "AbortError") return `no answer in ${connectMs} ms`
  const first = error instanceof AggregateError ? error.errors[0] : undefined
  return first instanceof Error ? first.message : error.message || error.name
}
