/**
 * One simulated engine: vLLM's HTTP API over a real tokenizer, a paged block cache, a model of time, real KV events over
 * ZeroMQ, and faults on demand. Here are its lives (start, crash, restart, close); what it answers is in `Routes.ts`.
 */
import { randomUUID } from "node:crypto"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { type CachedBlock, EngineCore } from "./EngineCore.ts"
import { EventPublisher } from "./EventPublisher.ts"
import * as Faults from "./Faults.ts"
import { Generating } from "./Generating.ts"
import type { Model } from "./Model.ts"
import * as Plan from "./Plan.ts"
import { advertised } from "./Ports.ts"
import { Reply } from "./Reply.ts"
import * as Routes from "./Routes.ts"
import type { SimOptions } from "./SimOptions.ts"
import * as Speech from "./Speech.ts"

/** What `GET /sim/state` shows. */
export interface SimState {
  readonly engine: number
  readonly alive: boolean
  /** Starts so far, the first included. */
  readonly lives: number
  readonly running: number
  readonly waiting: number
  /** Requests of this life (one a prompt): received, and how they ended. */
  readonly received: number
  readonly finished: number
  readonly aborted: number
  readonly promptTokens: number
  /** Tokens looked up in the cache at admission, and found. */
  readonly queriedTokens: number
  readonly cachedTokens: number
  readonly generatedTokens: number
  readonly freeBlocks: number
  readonly cachedBlocks: number
  /** Batches published in this life. */
  readonly seq: number
}

export class SimEngine {
  readonly index: number
  readonly options: SimOptions
  readonly model: Model
  readonly speech: Speech.Speech
  readonly faults: Faults.Faults
  readonly #server: Server
  readonly #generating = new Set<Generating>()
  #core: EngineCore
  #publisher: EventPublisher
  #address = ""
  #port: number
  #alive = false
  #lives = 0
  #reopen: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: SimOptions, model: Model, index: number, siblings: ReadonlyArray<SimEngine>) {
    this.index = index
    this.options = options
    this.model = model
    this.speech = Speech.make(model)
    this.faults = new Faults.Faults(options.seed * 1_000_003 + index)
    this.#port = options.port === 0 ? 0 : options.port + index
    this.#publisher = this.#makePublisher()
    this.#core = this.#makeCore()
    this.#server = createServer((request, response) => Routes.answer(this, siblings, request, response))
    this.#server.keepAliveTimeout = 75_000
  }

  /** Base URL without a trailing slash. */
  get url(): string {
    return this.#address
  }

  get core(): EngineCore {
    return this.#core
  }

  /** Address of the event publisher; empty when events are off. */
  get eventEndpoint(): string {
    return this.#publisher.endpoint
  }

  get replayEndpoint(): string | null {
    return this.#publisher.replayEndpoint
  }

  get alive(): boolean {
    return this.#alive
  }

  async start(): Promise<void> {
    if (this.options.events) await this.#publisher.open()
    await this.#listen()
    this.#alive = true
    this.#lives++
    this.setFaults(this.options.faults)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#stop()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  /** What the cache holds now. Up to date with the events when no step is running. */
  cache(): ReadonlyArray<CachedBlock> {
    return this.#core.dump()
  }

  state(): SimState {
    const { counters } = this.#core
    return {
      engine: this.index,
      alive: this.#alive,
      lives: this.#lives,
      running: this.#core.running,
      waiting: this.#core.waiting,
      received: counters.received,
      finished: counters.stopped + counters.lengthened,
      aborted: counters.aborted,
      promptTokens: counters.promptTokens,
      queriedTokens: counters.queries,
      cachedTokens: counters.hits,
      generatedTokens: counters.generationTokens,
      freeBlocks: this.#core.freeBlocks,
      cachedBlocks: this.#core.cachedBlocks,
      seq: this.#publisher.seq
    }
  }

  setFaults(spec: Faults.FaultSpec): void {
    this.faults.set(spec)
    this.#core.slow(this.faults.standing.slow)
    if (spec.stallMs !== undefined) this.#core.stall(spec.stallMs)
    if (spec.refuseMs !== undefined) this.#refuse(spec.refuseMs)
    if (spec.crash !== undefined) this.crash(spec.crash)
  }

  /** Cuts every connection, closes every port, and loses the cache. */
  crash(how: Faults.Crash = {}): void {
    if (how.exit === true) process.exit(1)
    this.#stop()
    if (how.restartAfterMs !== undefined) {
      this.#reopen = setTimeout(() => void this.restart(how.newEventPorts), how.restartAfterMs)
    }
  }

  /** A new life: empty cache, sequence 0, the same HTTP port, and the same event ports unless told otherwise. */
  async restart(newEventPorts = false): Promise<void> {
    if (this.#alive) this.#stop()
    clearTimeout(this.#reopen)
    const before = this.#publisher
    this.#publisher = this.#makePublisher()
    this.#core = this.#makeCore()
    this.#core.slow(this.faults.standing.slow)
    if (this.options.events) await this.#publisher.open(newEventPorts ? undefined : before)
    if (this.#closed) {
      this.#publisher.close()
      return
    }
    await this.#listen()
    this.#alive = true
    this.#lives++
  }

  #makePublisher(): EventPublisher {
    const { host, topic, replay, replayLayout, bufferSteps, eventEncoding, hashForm } = this.options
    return new EventPublisher(
      {
        host,
        topic,
        replay,
        replayLayout: replayLayout ?? (eventEncoding === "map" ? "topic" : "plain"),
        bufferSteps,
        encoding: eventEncoding,
        hashForm
      },
      this.faults
    )
  }

  #makeCore(): EngineCore {
    return new EngineCore(this.options, (events) => {
      if (this.options.events) this.#publisher.publish(events)
    })
  }

  async #listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject)
      this.#server.listen(this.#port, this.options.host, () => {
        this.#server.off("error", reject)
        resolve()
      })
    })
    this.#port = (this.#server.address() as AddressInfo).port
    this.#address = advertised(`http://${this.options.host}:${this.#port}`)
  }

  #stop(): void {
    clearTimeout(this.#reopen)
    this.#alive = false
    this.#core.end()
    this.#publisher.close()
    this.#server.close()
    this.#server.closeAllConnections()
    this.#generating.clear()
  }

  #refuse(ms: number): void {
    this.#server.close()
    clearTimeout(this.#reopen)
    this.#reopen = setTimeout(() => void this.#listen(), ms)
  }

  /** A generating request, from its body on. */
  generate(endpoint: Plan.Endpoint, { request, response, body }: Routes.Call): void {
    if (response.closed) return
    const die = this.faults.hits("die") ? this.faults.standing.die.bytes : undefined
    const reply = new Reply(response, die)
    if (this.faults.hits("error")) {
      const { status } = this.faults.standing.error
      Routes.refuse(reply, Plan.refusal(status, "InternalServerError", "Internal server error"))
      return
    }
    const json = Plan.parseBody(body)
    const plan = Plan.isRefusal(json) ? json : Plan.make(endpoint, json, this.model, this.options)
    if (Plan.isRefusal(plan)) {
      Routes.refuse(reply, plan)
      return
    }
    const given = request.headers["x-request-id"]
    const id = `${endpoint === "chat" ? "chatcmpl" : "cmpl"}-${given ?? randomUUID().replaceAll("-", "")}`
    const generating = new Generating(this, this.#core, plan, id, reply)
    this.#generating.add(generating)
    // Also after a whole answer; then there is nothing left to abort.
    response.once("close", () => {
      generating.abort()
      this.#generating.delete(generating)
    })
  }

  /** Requests being answered. */
  get load(): number {
    return this.#generating.size
  }
}
