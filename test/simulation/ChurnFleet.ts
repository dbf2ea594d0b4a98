/**
 * A whole fleet and the router's state about it, in virtual time and without sockets: workers join and leave, on slots
 * that are given again; requests go where the ledger places them; engines restart, lose events, change.
 *
 * The router's side is `PrefixIndex`, `Publisher`, `Guesses`, `Trust` and `Ledger`, joined as `src/Router.ts` joins them
 * and with slots given as `actors/Fleet.ts` gives them. Two indexes follow the bus: `tight`, by which requests are placed,
 * is too small for what the engines hold and evicts; `roomy` is not, and can be compared with the truth.
 */
import { Effect } from "effect"
import * as Guesses from "../../actors/Guesses.ts"
import * as Ledger from "../../actors/Ledger.ts"
import * as PrefixIndex from "../../actors/PrefixIndex.ts"
import * as Trust from "../../actors/Trust.ts"
import * as Random from "../../loadtest/Random.ts"
import type { KvDelta } from "../../src/domain/KvEvent.ts"
import { type Layer, layersMax } from "../../src/domain/Tier.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import * as Overlap from "../../src/hot/Overlap.ts"
import { EventBus } from "../../src/ports/EventBus.ts"
import { ChurnRank, type RankTraits, type World } from "./ChurnRank.ts"
import { ChurnTraffic } from "./ChurnTraffic.ts"
import { blockSize, type Node } from "./ModelEngine.ts"
import { Agenda } from "./TruthSim.ts"

export const workersMax = 16
/** Slots in use that the fleet tends to. */
const slotsWanted = 12
/** The first workers stay for good: what a long life piles up shows in them. */
const pillars = 2
/** Less than a third of what such a fleet holds. */
export const tightBytesMax = 192 * 1024
const roomyBlocksMax = 262_144
/** Prompts are not a whole number of blocks. */
const restTokens = 2

const requestMs = 1_000
const churnMs = 240_000
const faultMs = 60_000
const hintMs = 10_000

interface ChurnWorker {
  readonly ranks: ReadonlyArray<ChurnRank>
}

export class ChurnFleet {
  readonly agenda = new Agenda()
  readonly guesses: Guesses.Interface
  readonly trust: Trust.Interface
  readonly ledger = Ledger.make({ policy: "eta", workersMax })
  readonly tight: PrefixIndex.Interface
  readonly roomy: PrefixIndex.Interface
  readonly traffic: ChurnTraffic
  readonly bySlot: Array<ChurnRank | undefined> = []
  readonly resting = new Set<number>()
  readonly leaving = new Set<number>()
  readonly inFlight = new Uint32Array(workersMax)
  /** 1 where events tell all there is of a slot. */
  readonly toldAll = new Uint8Array(workersMax)
  /** No requests, faults, joins or leaves. */
  isCalm = false
  readonly counts = { requests: 0, joined: 0, left: 0, reused: 0, restarts: 0, faults: 0, unplaced: 0, defects: 0 }
  /** Slots that were about to be given again with something left on them. */
  readonly dirty: Array<string> = []
  private readonly random: Random.Random
  private readonly world: World
  private readonly hasher = BlockHash.make(0n)
  private workers: Array<ChurnWorker> = []
  private readonly cachedTokens = new Uint32Array(workersMax)
  private readonly heldTokens = new Uint32Array(workersMax)
  private readonly depths = new Uint32Array(layersMax * workersMax)
  private readonly eligible = new Uint8Array(workersMax)

  constructor(seed: number) {
    const { agenda } = this
    this.random = Random.make(Random.mix(0xc4, [seed]))
    this.traffic = new ChurnTraffic(this.random, this.hasher)
    const schedule = (turn: () => void) => agenda.after(1 + this.below(3), turn)
    const defect = () => void this.counts.defects++
    this.tight = PrefixIndex.make(
      { workersMax, bytesMax: tightBytesMax, changesMax: 2_048, keysMax: 16_384, blocksPerTurn: 256 },
      schedule,
      defect
    )
    this.roomy = PrefixIndex.make(
      { workersMax, blocksMax: roomyBlocksMax, holdersMax: 3 * workersMax },
      schedule,
      defect
    )
    const publish = (delta: KvDelta): boolean => {
      const room = this.tight.tell(delta)
      return this.roomy.tell(delta) && room
    }
    this.guesses = Guesses.make(EventBus.of({ publish, subscribe: () => Effect.void }))
    this.trust = Trust.make(
      () => agenda.nowMs,
      () => {}
    )
    this.trust.onChange((slot, { credit }) => this.ledger.setCredit(slot, credit))
    this.trust.onSuspect((slot) => this.bySlot[slot]?.feed({ _tag: "Resync", why: "read again from the start" }))
    this.world = { agenda, random: this.random, hasher: this.hasher, publish, told: (rank) => this.told(rank) }
    this.every(requestMs, () => this.request(this.traffic.next()))
    this.every(churnMs, () => this.churn())
    this.every(faultMs, () => this.fault())
    this.every(hintMs, () => this.hint())
  }

  /** Lets time pass. */
  pass(untilMs: number): void {
    const { agenda } = this
    for (;;) {
      let wakeMs = Infinity
      for (const rank of this.ranks()) wakeMs = Math.min(wakeMs, rank.publisher?.wakeMs ?? Infinity)
      if (Math.min(wakeMs, agenda.nextMs) > untilMs) break
      if (wakeMs < agenda.nextMs) {
        agenda.nowMs = Math.max(agenda.nowMs, wakeMs)
        for (const rank of this.ranks())
          if (rank.publisher !== null && rank.publisher.wakeMs <= agenda.nowMs) rank.feed({ _tag: "Tick" })
      } else agenda.next()
    }
    agenda.nowMs = untilMs
  }

  /** Ranks of workers that have not left. */
  ranks(): Array<ChurnRank> {
    return this.workers.flatMap(({ ranks }) => ranks)
  }

  fill(): void {
    while (this.ranks().length < slotsWanted && this.join());
  }

  /** Everybody leaves. */
  evacuate(): void {
    for (const worker of [...this.workers]) this.leave(worker)
  }

  reusable(slot: number): boolean {
    return !this.leaving.has(slot) && this.tight.reusable(slot) && this.roomy.reusable(slot)
  }

  private below(count: number): number {
    return Math.floor(this.random() * count)
  }

  private every(meanMs: number, act: () => void): void {
    this.agenda.after(this.random() * 2 * meanMs, () => {
      if (!this.isCalm) act()
      this.every(meanMs, act)
    })
  }

  private take(): number | null {
    let slot = this.bySlot.length < workersMax ? this.bySlot.length : null
    for (const rested of this.resting) {
      if (this.inFlight[rested]! > 0 || !this.reusable(rested)) continue
      this.resting.delete(rested)
      this.counts.reused++
      slot = rested
      const left = leftOn(this.tight, slot) + leftOn(this.roomy, slot)
      if (left > 0) this.dirty.push(`slot ${slot} was given again with ${left} blocks on it`)
      break
    }
    return slot
  }

  private traits(first: boolean): RankTraits {
    const chance = (share: number) => this.random() < share
    const hostBlocks = chance(0.4) ? 200 + this.below(800) : 0
    return {
      blocks: 300 + this.below(1_700),
      hostBlocks,
      hostEmpty: chance(0.5),
      randomSeed: chance(0.3),
      windowed: chance(0.2),
      events: first || chance(0.75),
      replayable: first || chance(0.8),
      ringMax: chance(0.5) ? 20 + this.below(100) : 300,
      tellsCount: chance(0.7),
      reports: chance(0.15),
      loss: chance(0.5) ? 0.003 : 0
    }
  }

  /** As the router does when a worker has joined. False when no slots are free. */
  private join(): boolean {
    const traits = this.traits(this.workers.length === 0)
    const slots: Array<number> = []
    for (let wanted = this.random() < 0.2 ? 2 : 1; wanted > 0; wanted--) {
      const slot = this.take()
      if (slot === null) {
        for (const taken of slots) this.resting.add(taken)
        return false
      }
      slots.push(slot)
      this.bySlot[slot] = new ChurnRank(slot, traits, this.world)
    }
    this.counts.joined++
    const ranks = slots.map((slot) => this.bySlot[slot]!)
    this.workers.push({ ranks })
    for (const rank of ranks) {
      this.ledger.join(rank.slot, null)
      this.ledger.setEligible(rank.slot, true)
      this.trust.join(rank.slot, `slot ${rank.slot}`)
      rank.follow()
      this.learn(rank)
    }
    return true
  }

  /** One joins where there are too few. */
  private replace(): void {
    if (!this.isCalm && this.ranks().length < slotsWanted) this.join()
  }

  private learn({ slot, traits }: ChurnRank): void {
    if (traits.tellsCount) this.ledger.setCapacity(slot, traits.blocks * blockSize)
    this.guesses.told(slot, traits.tellsCount ? traits.blocks : null)
  }

  /** As the router does when slots are vacated. */
  private leave(worker: ChurnWorker): void {
    this.counts.left++
    this.workers = this.workers.filter((other) => other !== worker)
    for (const rank of worker.ranks) {
      const { slot } = rank
      rank.isGone = true
      // Half of them take their requests with them; to the others somebody still talks.
      if (this.random() < 0.5) rank.life++
      else this.agenda.after(0.5, () => void rank.serve(this.traffic.next()))
      this.bySlot[slot] = undefined
      this.resting.add(slot)
      this.ledger.leave(slot)
      this.trust.leave(slot)
      this.guesses.leave(slot)
      this.tight.drop(slot)
      this.roomy.drop(slot)
      this.unfollow(rank, () => {})
    }
  }

  /** The collector takes leave a little later, and is told of events until then. */
  private unfollow(rank: ChurnRank, then: () => void): void {
    this.leaving.add(rank.slot)
    this.agenda.after(1 + this.below(200), () => {
      rank.unfollow()
      this.leaving.delete(rank.slot)
      this.toldAll[rank.slot] = 0
      then()
    })
  }

  private told(rank: ChurnRank): void {
    const { complete, health, why } = rank.publisher!
    const { slot } = rank
    this.trust.health(slot, health, why)
    const tellsAll = health === "whole" && complete
    if (tellsAll && this.toldAll[slot] === 0) this.guesses.forget(slot)
    this.toldAll[slot] = tellsAll ? 1 : 0
  }

  private churn(): void {
    const slots = this.ranks().length
    const leaves = this.random() < slots / (2 * slotsWanted)
    if (!leaves) {
      this.join()
      return
    }
    const movable = this.workers.slice(pillars)
    if (movable.length > 0) this.leave(movable[this.below(movable.length)]!)
    // As in a rolling update: another comes as soon as this one is gone.
    if (this.random() < 0.5) for (let ms = 0; ms < 300; ms += 60) this.agenda.after(ms, () => void this.replace())
  }

  private fault(): void {
    const ranks = this.ranks()
    if (ranks.length === 0) return
    const rank = ranks[this.below(ranks.length)]!
    const { agenda } = this
    const isPillar = this.workers.slice(0, pillars).some((worker) => worker.ranks.includes(rank))
    this.counts.faults++
    const faults: ReadonlyArray<() => void> = [
      () => this.restart(rank, rank.traits),
      // Not the first ones: whoever is followed anew forgets what piled up.
      () => this.restart(rank, isPillar ? rank.traits : { ...this.traits(false), events: rank.traits.events }),
      () => rank.disconnect(this.below(5_000)),
      () => {
        for (let i = 0; i < 6; i++) agenda.after(i * 600, () => rank.disconnect(300))
      },
      () => {
        rank.isMute = true
        agenda.after(this.below(60_000), () => (rank.isMute = false))
      },
      () => {
        for (let i = 0; i < 40; i++) rank.serve(this.traffic.fresh())
      },
      () => rank.clear(),
      () => rank.garble()
    ]
    faults[this.below(faults.length)]!()
  }

  /** As the router does when the facts of a worker have changed. */
  private restart(rank: ChurnRank, traits: RankTraits): void {
    this.counts.restarts++
    const changed = traits !== rank.traits
    rank.restart(traits, 50 + this.below(5_000))
    this.agenda.after(this.below(5_000), () => {
      if (rank.isGone) return
      this.learn(rank)
      this.trust.restarted(rank.slot)
      this.guesses.forget(rank.slot)
      if (!changed) return
      this.unfollow(rank, () => {
        this.trust.health(rank.slot, "absent", "no events")
        if (!rank.isGone) rank.follow()
      })
    })
  }

  private hint(): void {
    for (const { slot } of this.ranks()) {
      this.ledger.hint(slot, { running: null, waiting: this.below(3), kvUsage: this.random() }, this.agenda.nowMs)
    }
  }

  /** The life of one request, as `src/http/Request.ts` has it. */
  private request(path: ReadonlyArray<Node>): void {
    const { agenda, cachedTokens, counts, depths, eligible, heldTokens, inFlight, ledger } = this
    counts.requests++
    const keys = new Int32Array(path.length * 2)
    for (const [i, { key }] of path.entries()) keys.set(key, i * 2)
    const promptTokens = path.length * blockSize + restTokens
    cachedTokens.fill(0)
    heldTokens.fill(0)
    const layered = this.tight.depths(keys, path.length, depths)
    for (let slot = 0; slot < workersMax; slot++) {
      eligible[slot] = this.bySlot[slot] === undefined ? 0 : 1
      if (eligible[slot] === 1) {
        Overlap.add(depths, workersMax, slot, layered, path.length, blockSize, heldTokens, cachedTokens)
      }
    }
    const ask = { cachedTokens, heldTokens, promptTokens, keys, blockSize, priority: null, eligible }
    const slot = ledger.place(ask, agenda.nowMs)
    if (slot < 0) {
      counts.unplaced++
      return
    }
    const rank = this.bySlot[slot]!
    const { life } = rank
    const booking = ledger.book(slot, ask, this.random() < 0.9, agenda.nowMs)
    const { heldTokens: predicted } = booking
    const begunMs = agenda.nowMs
    inFlight[slot]!++
    const settle = (outcome: "aborted" | "complete" | "failed", cached: number | null, outputTokens: number | null) => {
      inFlight[slot]!--
      booking.settle(agenda.nowMs, { outputTokens, cachedTokens: cached, outcome })
    }
    agenda.after(20 + this.random() * 500, () => {
      // Its process died, or the client went away before anything was computed. One that left may still answer.
      if (rank.life !== life) return settle("failed", null, null)
      if (this.random() < 0.02) return settle("aborted", null, null)
      const cachedBlocks = rank.serve(path)
      booking.firstByte(agenda.nowMs)
      const isGuessed = this.toldAll[slot] === 0 && this.bySlot[slot] === rank
      const report = isGuessed ? this.guesses.computed(slot, [keys]) : null
      agenda.after(50 + this.random() * 15_000, () => {
        if (rank.life !== life) return settle("failed", null, null)
        if (this.random() < 0.03) return settle("aborted", null, null)
        const outputTokens = 8 + this.below(300)
        const cached = cachedBlocks * blockSize
        settle("complete", cached, outputTokens)
        report?.({ reportedBlocks: cachedBlocks, outputBlocks: Math.ceil(outputTokens / blockSize) })
        this.trust.delivered(slot, predicted, cached, promptTokens)
        if (path.length - cachedBlocks >= 2) rank.feed({ _tag: "Expected", tookMs: agenda.nowMs - begunMs })
      })
    })
  }
}

/** Blocks an index shows of a slot, counted both ways. */
export const leftOn = (index: PrefixIndex.Interface, slot: number): number => {
  let left = 0
  for (let layer = 0; layer < layersMax; layer++) {
    left += index.heldBy(slot, layer as Layer) + index.dump(slot, layer as Layer).length
  }
  return left
}
