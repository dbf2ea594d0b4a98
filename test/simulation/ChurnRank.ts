/**
 * One rank of one worker in virtual time: an engine, the wire its events pass, and the `Publisher` that follows it, driven
 * as the collector drives it. What passed the wire is kept by nobody but the engine's replay ring.
 */
import { defaults, type Options } from "../../actors/Followed.ts"
import { type Hands, type Input, type Order, Publisher } from "../../actors/Publisher.ts"
import type { Random } from "../../loadtest/Random.ts"
import type { EngineEvent, KvDelta } from "../../src/domain/KvEvent.ts"
import type { Hasher } from "../../src/hot/BlockHash.ts"
import { blockSize, ModelEngine, model, type Node, type Traits } from "./ModelEngine.ts"
import type { Agenda } from "./TruthSim.ts"

export interface RankTraits extends Traits {
  readonly events: boolean
  readonly replayable: boolean
  /** Batches it can repeat. */
  readonly ringMax: number
  /** It says how many blocks it has. */
  readonly tellsCount: boolean
  /** It was told to report what it reuses. */
  readonly reports: boolean
  /** Share of its messages that are lost, and of those that come twice. */
  readonly loss: number
}

export interface World {
  readonly agenda: Agenda
  readonly random: Random
  readonly hasher: Hasher
  readonly publish: (delta: KvDelta) => boolean
  /** What is known of it has changed. */
  readonly told: (rank: ChurnRank) => void
}

/** What a payload stands for: no copy of it outlives the payload. Null: bytes that cannot be read. */
const batches = new WeakMap<Uint8Array, ReadonlyArray<EngineEvent> | null>()
/** No two payloads have the same bytes: lives of an engine are told apart by them. */
let payloads = 0

export class ChurnRank {
  readonly slot: number
  readonly options: Options
  traits: RankTraits
  publisher: Publisher | null = null
  /** Its worker was told to leave. */
  isGone = false
  /** Counts its processes; a request of another life has failed. */
  life = 0
  /** While true, what it publishes is lost. */
  isMute = false
  private engine: ModelEngine
  private readonly world: World
  private up = true
  private seq = 0
  private ring: Array<readonly [number, Uint8Array]> = []
  /** Id of the replay that is wanted; -1 for none. */
  private asked = -1
  private mark = ""

  constructor(slot: number, traits: RankTraits, world: World) {
    this.slot = slot
    this.traits = traits
    this.world = world
    this.options = { ...defaults, hasher: world.hasher }
    this.engine = new ModelEngine(traits, world.random, world.hasher)
  }

  /** Blocks of the path it took from its cache. */
  serve(path: ReadonlyArray<Node>): number {
    const { events, stored } = this.engine.servePath(path, this.traits.reports)
    this.send(events)
    return path.length - stored
  }

  truth(layer: 0 | 1): Set<number> {
    return this.engine.truth(layer)
  }

  /** It has heard the last of what its engine said. */
  get isCurrent(): boolean {
    return this.up && this.publisher !== null && this.publisher.sequence.next === this.seq
  }

  follow(): void {
    if (!this.traits.events) return
    const { traits, world } = this
    const { agenda } = world
    const hands: Hands = {
      publish: world.publish,
      replay: (order) => this.replay(order),
      abandon: () => (this.asked = -1),
      say: () => {}
    }
    this.publisher = new Publisher(
      {
        name: `slot ${this.slot}`,
        slot: this.slot,
        model,
        source: { endpoint: "tcp://e:1", replayEndpoint: traits.replayable ? "tcp://e:2" : null, topic: "", rank: 0 },
        blockSize,
        blockCount: traits.tellsCount ? traits.blocks : null,
        decode: (payload) => {
          const events = batches.get(payload)
          if (events === null || events === undefined) throw new Error("not a batch")
          return { ts: 0, events, rank: 0, unknown: [] }
        }
      },
      this.options,
      hands,
      agenda.nowMs
    )
    this.mark = ""
    this.tell()
    if (traits.reports) this.feed({ _tag: "Refreshes" })
    if (this.up) this.feed({ _tag: "Connected" })
  }

  /** The collector's last word on the slot. */
  unfollow(): void {
    const { publisher } = this
    this.publisher = null
    this.asked = -1
    publisher?.leave()
  }

  feed(input: Input): void {
    const { publisher, world } = this
    if (publisher === null) return
    publisher.feed(input, world.agenda.nowMs)
    this.tell()
  }

  /** Its process is another, with nothing in its cache. */
  restart(traits: RankTraits, downMs: number): void {
    this.disconnect(downMs)
    this.life++
    this.engine.restart()
    if (traits !== this.traits) this.engine = new ModelEngine(traits, this.world.random, this.world.hasher)
    this.traits = traits
    this.seq = 0
    this.ring = []
  }

  disconnect(forMs: number): void {
    if (!this.up) return
    this.up = false
    this.feed({ _tag: "Disconnected" })
    this.world.agenda.after(forMs, () => {
      this.up = true
      this.feed({ _tag: "Connected" })
    })
  }

  clear(): void {
    this.send(this.engine.clear())
  }

  /** The next message cannot be read. */
  garble(): void {
    this.put(null)
  }

  private send(events: ReadonlyArray<EngineEvent>): void {
    if (events.length > 0 && this.traits.events) this.put(events)
  }

  private put(events: ReadonlyArray<EngineEvent> | null): void {
    const { random } = this.world
    const payload = new Uint8Array(8)
    new DataView(payload.buffer).setFloat64(0, payloads++)
    batches.set(payload, events)
    const message = [this.seq++, payload] as const
    this.ring.push(message)
    if (this.ring.length > this.traits.ringMax) this.ring.shift()
    if (this.isMute || !this.up || random() < this.traits.loss) return
    this.feed({ _tag: "Live", seq: message[0], payload })
    if (random() < this.traits.loss) this.feed({ _tag: "Live", seq: message[0], payload })
  }

  private replay({ from, id }: Order): void {
    const { agenda, random } = this.world
    this.asked = id
    const later = (ms: number, act: () => void): void =>
      agenda.after(ms, () => {
        if (this.asked === id) act()
      })
    later(1 + random() * 80, () => {
      this.feed({ _tag: "ReplayBegun", id })
      if (!this.up || random() < 0.02)
        return later(5_000, () => this.feed({ _tag: "ReplayFailed", id, reason: "no answer" }))
      const answer = this.ring.filter(([seq]) => seq >= from)
      const piece = (at: number): void => {
        for (let i = at; i < Math.min(answer.length, at + 20) && this.asked === id; i++)
          this.feed({ _tag: "Replayed", id, seq: answer[i]![0], payload: answer[i]![1] })
        later(1 + random() * 10, () => {
          if (at + 20 < answer.length) piece(at + 20)
          else this.feed({ _tag: "ReplayDone", id })
        })
      }
      piece(0)
    })
  }

  private tell(): void {
    const { health, reader, why } = this.publisher!
    const mark = `${health} ${reader.translator.blockSize} ${why}`
    if (this.mark === mark) return
    this.mark = mark
    this.world.told(this)
  }
}
