/**
 * One simulated engine: a dialect's HTTP API over a real tokenizer, paged block caches, a model of time, real KV events
 * over ZeroMQ, and faults on demand. Here are its lives (start, crash, restart, close); who answers is in `Routes.ts`.
 */
import { randomUUID } from "node:crypto"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import type { CachedBlock, TrueBlock } from "./CacheDump.ts"
import * as Dialect from "./Dialect.ts"
import type { EngineCore } from "./EngineCore.ts"
import type { EngineSpans, Said } from "./EngineSpans.ts"
import * as Faults from "./Faults.ts"
import { Generating } from "./Generating.ts"
import { type Call, refuse } from "./Http.ts"
import { Life } from "./Life.ts"
import type { Model } from "./Model.ts"
import * as Plan from "./Plan.ts"
import { advertised } from "./Ports.ts"
import { Reply } from "./Reply.ts"
import * as Routes from "./Routes.ts"
import type { SimOptions } from "./SimOptions.ts"
import * as SimState from "./SimState.ts"
import * as Speech from "./Speech.ts"

export type { SimState } from "./SimState.ts"

/** Where one rank publishes. */
export interface EventSource {
  readonly endpoint: string
  /** Null where none is announced. */
  readonly replayEndpoint: string | null
}

export class SimEngine {
  readonly index: number
  readonly options: SimOptions
  readonly dialect: Dialect.Dialect
  readonly model: Model
  readonly speech: Speech.Speech
  readonly faults: Faults.Faults
  readonly #server: Server
  readonly #generating = new Set<Generating>()
  #life: Life
  #address = ""
  #port: number
  #alive = false
  #lives = 0
  #reopen: NodeJS.Timeout | undefined
  #spans: EngineSpans | null = null
  #closed = false

  constructor(options: SimOptions, model: Model, index: number, siblings: ReadonlyArray<SimEngine>) {
    this.index = index
    this.options = options
    this.dialect = Dialect.of(options)
    this.model = model
    this.speech = Speech.make(model)
    this.faults = new Faults.Faults(options.seed * 1_000_003 + index)
    this.#port = options.port === 0 ? 0 : options.port + index
    this.#life = this.#makeLife()
    this.#server = createServer((request, response) => Routes.answer(this, siblings, request, response))
    this.#server.keepAliveTimeout = 75_000
  }

  /** Base URL without a trailing slash. */
  get url(): string {
    return this.#address
  }

  /** One a data-parallel rank. */
  get cores(): ReadonlyArray<EngineCore> {
    return this.#life.cores
  }

  /** One a rank; none when events are off. */
  get eventSources(): ReadonlyArray<EventSource> {
    if (!this.options.events) return []
    const announced = this.faults.standing.replay !== "absent"
    return this.#life.publishers.map(({ endpoint, replayEndpoint }) => ({
      endpoint,
      replayEndpoint: announced ? replayEndpoint : null
    }))
  }

  /** Address of the event publisher, of rank 0; empty when events are off. */
  get eventEndpoint(): string {
    return this.eventSources[0]?.endpoint ?? ""
  }

  get replayEndpoint(): string | null {
    return this.eventSources[0]?.replayEndpoint ?? null
  }

  get alive(): boolean {
    return this.#alive
  }

  /** Rank that has the least to do. */
  get leastLoaded(): number {
    return this.#life.leastLoaded
  }

  async start(): Promise<void> {
    await this.#life.open()
    await this.#listen()
    const { otlpTracesEndpoint } = this.options
    if (otlpTracesEndpoint !== null) {
      this.#spans = await (await import("./EngineSpans.ts")).open(otlpTracesEndpoint, this.url)
    }
    this.#alive = true
    this.#lives++
    this.setFaults(this.options.faults)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#stop()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
    await this.#spans?.close()
  }

  /** What the cache of a rank holds now, of all ranks one after the other. Up to date with the events when no step runs. */
  cache(rank?: number): ReadonlyArray<CachedBlock> {
    return this.#of(rank).flatMap((core) => core.dump())
  }

  /** What enters the key of each block held, and of each ancestor of one, parents first; and which tiers hold it. */
  truth(rank?: number): ReadonlyArray<TrueBlock> {
    return this.#of(rank).flatMap((core) => core.truth())
  }

  state(rank?: number): SimState.SimState {
    const { cores, publishers } = this.#life
    const states = cores.map((core, i) => SimState.of(core, publishers[i]!))
    return {
      engine: this.index,
      alive: this.#alive,
      lives: this.#lives,
      ...(rank === undefined ? SimState.sum(states) : states[rank]!)
    }
  }

  /** Forgets every rank's cache and says so. False while requests hold blocks. */
  reset(): boolean {
    return this.#life.reset()
  }

  #of(rank: number | undefined): ReadonlyArray<EngineCore> {
    return rank === undefined ? this.cores : [this.cores[rank]!]
  }

  setFaults(spec: Faults.FaultSpec): void {
    this.faults.set(spec)
    for (const core of this.cores) {
      core.slow(this.faults.standing.slow)
      if (spec.stallMs !== undefined) core.stall(spec.stallMs)
    }
    for (const publisher of this.#life.publishers) {
      if (spec.ringShort !== undefined) publisher.shorten(spec.ringShort)
      if (spec.flap !== undefined && this.options.events) void publisher.flap(spec.flap)
    }
    if (spec.flood !== undefined) void this.#life.flood(spec.flood)
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
    const { ports } = this.#life.publishers[0]!
    this.#life = this.#makeLife()
    for (const core of this.cores) core.slow(this.faults.standing.slow)
    await this.#life.open(newEventPorts ? undefined : ports)
    if (this.#closed) {
      this.#life.end()
      return
    }
    await this.#listen()
    this.#alive = true
    this.#lives++
  }

  #makeLife(): Life {
    return new Life(this.options, this.dialect, this.faults)
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
    this.#life.end()
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
  generate(endpoint: Plan.Endpoint, { request, response, body }: Call): void {
    if (response.closed) return
    const die = this.faults.hits("die") ? this.faults.standing.die.bytes : undefined
    const reply = new Reply(response, die)
    if (this.faults.hits("error")) {
      const { status } = this.faults.standing.error
      refuse(this, reply, Plan.refusal(status, "InternalServerError", "Internal server error"))
      return
    }
    const json = Plan.parseBody(body)
    const rank = request.headers["x-data-parallel-rank"] as string | undefined
    const plan = Plan.isRefusal(json) ? json : Plan.make(endpoint, json, rank, this)
    if (Plan.isRefusal(plan)) {
      refuse(this, reply, plan)
      return
    }
    const given = request.headers["x-request-id"]
    const id = `${endpoint === "chat" ? "chatcmpl" : "cmpl"}-${given ?? randomUUID().replaceAll("-", "")}`
    const core = this.cores[plan.rank ?? this.leastLoaded]!
    if (plan.rank !== null) core.counters.rankNamed += plan.prompts.length
    const spans = this.#spans
    const said = spans === null ? null : (each: Said) => spans.tell(request.headers, each)
    const generating = new Generating(this, core, plan, id, reply, said)
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
