/** One life of a simulated engine: for each data-parallel rank a scheduler with its cache, and a publisher. */
import type { Dialect } from "./Dialect.ts"
import { EngineCore } from "./EngineCore.ts"
import { type EventPorts, EventPublisher } from "./EventPublisher.ts"
import type { Faults, Flood } from "./Faults.ts"
import type { SimOptions } from "./SimOptions.ts"

/** How often a run of free ports, one a rank, is looked for. */
const triesMax = 20
const anyPorts: EventPorts = { events: null, replay: null }
/**
 * Below the ports that systems give to connections: on a machine that has just closed ten thousand of them, two in a row
 * that are free are not found above.
 */
const runPort = (): number => 10_000 + Math.floor(Math.random() * 22_000)
/** Batches of a flood between two looks at whatever else happens. */
const floodBurst = 64

export class Life {
  readonly cores: ReadonlyArray<EngineCore>
  publishers: ReadonlyArray<EventPublisher>
  readonly #options: SimOptions
  readonly #dialect: Dialect
  readonly #faults: Faults
  #ended = false

  constructor(options: SimOptions, dialect: Dialect, faults: Faults) {
    this.#options = options
    this.#dialect = dialect
    this.#faults = faults
    this.publishers = this.#makePublishers()
    this.cores = this.publishers.map((_, rank) => {
      // A namer for each: ranks are processes, and without a seed each draws its own root.
      const ways = { namer: dialect.namer(options), unique: dialect.unique }
      return new EngineCore(options, ways, (events) => {
        if (options.events && options.prefixCaching) this.publishers[rank]!.publish(events)
      })
    })
  }

  /**
   * Opens every rank's sockets: on the ports of the life before when they can be had, so that a restart is found where
   * it was. Rank r has the ports of rank 0 plus r.
   */
  async open(before?: EventPorts): Promise<void> {
    if (!this.#options.events) return
    if (before !== undefined && (await this.#openAt(before, true))) return
    for (let tries = 0; tries < triesMax; tries++) {
      const ports = this.#options.ranks === 1 ? anyPorts : { events: runPort(), replay: runPort() }
      if (await this.#openAt(ports, false)) return
    }
    throw new Error(`There are no ${this.#options.ranks} event ports in a row to be had. Try again.`)
  }

  /** Requests of one that names no rank go where the fewest are, those that wait counted four times, as vLLM does. */
  get leastLoaded(): number {
    const loads = this.cores.map(({ running, waiting }) => running + 4 * waiting)
    return loads.indexOf(Math.min(...loads))
  }

  /** Forgets every cache, if no request holds a block. */
  reset(): boolean {
    if (this.cores.some(({ freeBlocks }) => freeBlocks < this.#options.blocks)) return false
    return this.cores.every((core) => core.reset())
  }

  async flood({ batches, blocks = 16 }: Flood): Promise<void> {
    const size = this.#options.blockSize
    const held = this.cores.map((): ReturnType<EngineCore["churn"]> => [])
    for (let batch = 0; batch <= batches && !this.#ended; batch++) {
      // The last one only removes.
      const count = batch === batches ? 0 : blocks * size
      for (const [rank, core] of this.cores.entries()) {
        const tokens = Array.from({ length: count }, () => Math.floor(this.#faults.random() * 100_000))
        held[rank] = core.churn(tokens, held[rank]!)
      }
      if (batch % floodBurst === 0) await new Promise((resolve) => setImmediate(resolve))
    }
  }

  end(): void {
    this.#ended = true
    for (const core of this.cores) core.end()
    for (const publisher of this.publishers) publisher.close()
  }

  #makePublishers(): ReadonlyArray<EventPublisher> {
    const { bufferSteps, clockSkewMs, eventsConnect, host, ranks, replay, replayLayout, topic } = this.#options
    const wrong = { connects: eventsConnect, skewMs: clockSkewMs }
    const layout = replayLayout ?? this.#dialect.replayLayout(this.#options)
    return Array.from({ length: ranks }, (_, rank) => {
      const encode = this.#dialect.encode(this.#options, rank)
      return new EventPublisher(
        { host, topic, replay, replayLayout: layout, bufferSteps, ...wrong, encode },
        this.#faults
      )
    })
  }

  async #openAt(base: EventPorts, patient: boolean): Promise<boolean> {
    let first = base
    for (const [rank, publisher] of this.publishers.entries()) {
      const ports = rank === 0 ? base : { events: plus(first.events, rank), replay: plus(first.replay, rank) }
      if (!(await publisher.open(ports, patient))) {
        for (const opened of this.publishers) opened.close()
        if (!this.#ended) this.publishers = this.#makePublishers()
        return this.#ended
      }
      if (rank === 0) first = publisher.ports
    }
    return true
  }
}

const plus = (port: number | null, rank: number): number | null => (port === null ? null : port + rank)
