/**
 * One fleet of one engine and the router's picture of it, in virtual time, with faults drawn from a seed.
 *
 * The engine's events pass a wire that loses, doubles and reorders them, goes down and comes up; its process restarts,
 * its replay service is missing, slow, short of memory or dead. The router's side is `Publisher`, as the collector runs
 * it. When the faults are over the picture must become the truth again, without asking the engine too often.
 */

import { defaults } from "../../actors/Followed.ts"
import { Publisher } from "../../actors/Publisher.ts"
import * as Random from "../../loadtest/Random.ts"
import type { EngineEvent } from "../../src/domain/KvEvent.ts"
import { DEVICE, HOST } from "../../src/domain/Tier.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import { Layers } from "./Layers.ts"
import { blockSize, ModelEngine, model } from "./ModelEngine.ts"

const hasher = BlockHash.make(0n)
/** Faults strike before this; then the engine only works. */
const faultsMs = 120_000
/** The longest back-off, budget and give-up of the router are over by then. */
const healMs = 400_000

export interface Outcome {
  /** Null when the picture is the truth; else what is wrong. */
  readonly wrong: string | null
  readonly replays: number
  /** From the last fault to the truth, as far as it was looked at. */
  readonly healedMs: number
}

interface Due {
  readonly at: number
  readonly order: number
  readonly act: () => void
}

/** What is due, in virtual time. Later first, so that the next is at the end. */
export class Agenda {
  private readonly due: Array<Due> = []
  private count = 0
  nowMs = 0

  after(ms: number, act: () => void): void {
    const entry = { at: this.nowMs + ms, order: this.count++, act }
    let at = this.due.length
    while (
      at > 0 &&
      (this.due[at - 1]!.at < entry.at || (this.due[at - 1]!.at === entry.at && this.due[at - 1]!.order < entry.order))
    )
      at--
    this.due.splice(at, 0, entry)
  }

  get nextMs(): number {
    return this.due.at(-1)?.at ?? Infinity
  }

  next(): void {
    const { act, at } = this.due.pop()!
    this.nowMs = Math.max(this.nowMs, at)
    act()
  }
}

export const run = (seed: number): Outcome => {
  const random = Random.make(Random.mix(0x7e57, [seed]))
  const chance = (share: number) => random() < share
  const below = (count: number) => Math.floor(random() * count)
  const agenda = new Agenda()

  // The engine and its service.
  const tiered = chance(0.3)
  const engine = new ModelEngine(
    {
      blocks: 24 + below(40),
      hostBlocks: tiered ? 12 + below(24) : 0,
      hostEmpty: chance(0.5),
      randomSeed: chance(0.3),
      windowed: chance(0.2)
    },
    random,
    hasher
  )
  const ringMax = chance(0.3) ? 1 + below(6) : 10_000
  const replayable = chance(0.8)
  const oneShot = replayable && chance(0.1)
  // Announced, and never there: refused at once, or not answered.
  const buried = replayable && chance(0.08)
  const hangMs = chance(0.5) ? 0 : 3_000
  const reporting = chance(0.15)
  const loss = chance(0.5) ? random() * 0.3 : 0
  const doubling = chance(0.3) ? random() * 0.2 : 0
  const overtaking = chance(0.3) ? random() * 0.2 : 0
  const replayFails = chance(0.3) ? random() : 0
  const garbling = chance(0.1) ? 0.05 : 0
  const refusing = chance(0.1) ? 0.02 : 0
  let faulty = true
  let up = false
  let silent = false
  let replaysServed = 0
  let seq = 0
  let ring: Array<readonly [number, Uint8Array]> = []
  let overtaken: readonly [number, Uint8Array] | null = null
  /** Payloads stand for their batches. */
  const batches = new Map<number, ReadonlyArray<EngineEvent> | null>()

  // The router.
  const picture = new Layers()
  const abandoned = new Set<number>()
  let publisher: Publisher | null = null
  const feed = (input: Parameters<Publisher["feed"]>[0]) => publisher?.feed(input, agenda.nowMs)
  /** What a replica could take over: a publisher at some moment, and what it had told the index until then. */
  let taken: {
    readonly head: Uint8Array
    readonly pieces: ReadonlyArray<Int32Array>
    readonly told: Layers
    /** What a log would have of what came after it. */
    readonly after: Array<readonly [number, Uint8Array]>
  } | null = null
  const take = (): void => {
    const copy = publisher?.save(7) ?? null
    if (copy !== null) taken = { head: copy.head, pieces: [...copy.pieces], told: picture.clone(), after: [] }
  }
  /** However old it is: what is missing since is the publisher's to find out. */
  const takeOver = ({ copy }: Publisher): void => {
    // Without a replay address a copy is only good with all that came after it.
    if (taken === null || !replayable) return
    const { after, head, pieces, told } = taken
    const isBegun = copy.begin(head)
    picture.replace(told)
    if (!(isBegun && pieces.every((piece) => copy.piece(piece)) && copy.end())) throw new Error("a copy was refused")
    if (chance(0.4)) return
    // The log may have lost some, and begin late.
    const lossy = chance(0.3)
    for (const [seq, payload] of after.slice(chance(0.8) ? 0 : below(after.length))) {
      if (!(lossy && chance(0.1))) feed({ _tag: "Live", seq, payload })
    }
  }
  /** Of routers that are gone: what is still on its way to them reaches nobody. */
  let router = 0
  const replay = (order: { readonly id: number; readonly from: number }): void => {
    const { from, id } = order
    const asker = router
    const later = (ms: number, act: () => void) =>
      agenda.after(ms, () => (asker !== router || abandoned.has(id) ? undefined : act()))
    later(1 + below(50), () => {
      feed({ _tag: "ReplayBegun", id })
      if (buried) return later(hangMs, () => feed({ _tag: "ReplayFailed", id, reason: "nobody answers" }))
      later(1 + below(30), () => {
        const dead = !replayable || (oneShot && replaysServed > 0) || (faulty && chance(replayFails))
        replaysServed++
        const answer = ring.filter(([number]) => number >= from)
        const until = dead ? below(answer.length + 1) : answer.length
        const piece = (at: number): void => {
          for (let i = at; i < Math.min(until, at + 20); i++)
            feed({ _tag: "Replayed", id, seq: answer[i]![0], payload: answer[i]![1] })
          if (abandoned.has(id)) return
          if (at + 20 < until) return later(1 + below(10), () => piece(at + 20))
          if (!dead) return feed({ _tag: "ReplayDone", id })
          later(5_000, () => feed({ _tag: "ReplayFailed", id, reason: "no answer" }))
        }
        piece(0)
      })
    })
  }
  const join = () => {
    abandoned.clear()
    publisher = new Publisher(
      {
        name: "engine",
        slot: 0,
        model,
        source: { endpoint: "tcp://e:1", replayEndpoint: replayable ? "tcp://e:2" : null, topic: "", rank: 0 },
        blockSize: chance(0.5) ? blockSize : null,
        blockCount: null,
        decode: (payload) => {
          const events = batches.get(new DataView(payload.buffer).getUint32(0))
          if (events === null || events === undefined) throw new Error("not a batch")
          return { ts: 0, events, rank: 0, unknown: [] }
        }
      },
      { ...defaults, hasher },
      {
        publish: (delta) => {
          if (faulty && delta._tag !== "Cleared" && chance(refusing)) return false
          picture.apply(delta)
          return true
        },
        replay,
        abandon: (id) => void abandoned.add(id),
        say: () => {}
      },
      agenda.nowMs
    )
    if (reporting) feed({ _tag: "Refreshes" })
    if (chance(0.6)) takeOver(publisher)
    if (up) feed({ _tag: "Connected" })
  }
  const down = () => {
    if (!up) return
    up = false
    feed({ _tag: "Disconnected" })
  }
  const reach = () => {
    if (up) return
    up = true
    feed({ _tag: "Connected" })
  }

  // The wire.
  const deliver = (message: readonly [number, Uint8Array]) => {
    if (up) feed({ _tag: "Live", seq: message[0], payload: message[1] })
  }
  const publish = (events: ReadonlyArray<EngineEvent>): void => {
    if (events.length === 0) return
    const payload = new Uint8Array(8)
    new DataView(payload.buffer).setUint32(0, batches.size)
    batches.set(batches.size, faulty && chance(garbling) ? null : events)
    const message = [seq++, payload] as const
    ring.push(message)
    if (ring.length > ringMax) ring.shift()
    taken?.after.push(message)
    if (silent || (faulty && chance(loss))) return
    if (faulty && overtaken === null && chance(overtaking)) {
      overtaken = message
      return
    }
    deliver(message)
    if (faulty && chance(doubling)) deliver(message)
    if (overtaken !== null) deliver(overtaken)
    overtaken = null
  }
  const work = (fresh = chance(0.2)): void => {
    const { events, stored } = engine.serve({ fresh, reports: reporting && chance(0.5) })
    publish(events)
    if (stored > 0) feed({ _tag: "Expected", tookMs: 0 })
  }

  // What happens.
  const restart = () => {
    down()
    engine.restart()
    seq = 0
    ring = []
    overtaken = null
    replaysServed = 0
    agenda.after(50 + below(3_000), reach)
  }
  const faults: ReadonlyArray<() => void> = [
    restart,
    () => {
      down()
      agenda.after(below(5_000), reach)
    },
    () => {
      // Flapping.
      for (let i = 0; i < 12; i++) agenda.after(i * 300, i % 2 === 0 ? down : reach)
    },
    () => {
      silent = true
      agenda.after(1_000 + below(20_000), () => (silent = false))
    },
    () => {
      for (let i = 0; i < 40; i++) work(true)
    },
    () => publish(engine.clear()),
    () => {
      // Crashes on its way up: several short lives.
      for (let i = 0; i < 4; i++) {
        agenda.after(i * 400, restart)
        agenda.after(i * 400 + 50 + below(300), () => work(true))
      }
    },
    () => {
      // The router is the one that restarts.
      if (publisher === null) return
      if (chance(0.3)) take()
      publisher.leave()
      publisher = null
      router++
      if (chance(0.5)) agenda.after(below(2_000), join)
      else join()
    },
    // Another replica copies from this one, to which it may later be given back.
    take,
    take
  ]
  const happen = () => {
    work()
    if (agenda.nowMs < faultsMs) agenda.after(below(4_000), happen)
  }
  agenda.after(0, reach)
  agenda.after(chance(0.3) ? below(30_000) : 0, join)
  agenda.after(0, happen)
  for (let count = below(7); count > 0; count--) agenda.after(below(faultsMs), faults[below(faults.length)]!)
  const pass = (untilMs: number): void => {
    for (;;) {
      const wakeMs = (publisher as Publisher | null)?.wakeMs ?? Infinity
      const nextMs = Math.min(wakeMs, agenda.nextMs)
      if (nextMs > untilMs) break
      if (wakeMs < agenda.nextMs) {
        agenda.nowMs = Math.max(agenda.nowMs, wakeMs)
        feed({ _tag: "Tick" })
      } else agenda.next()
    }
    agenda.nowMs = untilMs
  }
  const different = (): string | null => {
    for (const layer of [DEVICE, HOST] as const) {
      const truth = engine.truth(layer)
      const view = picture.within(layer)
      const invented = [...view].filter((name) => !truth.has(name)).length
      const missing = [...truth].filter((name) => !view.has(name)).length
      if (invented + missing > 0) return `layer ${layer}: ${invented} too many, ${missing} missing of ${truth.size}`
    }
    return null
  }
  const state = () => publisher!.state(agenda.nowMs)

  pass(faultsMs)
  faulty = false
  silent = false
  reach()
  if (overtaken !== null) deliver(overtaken)
  overtaken = null
  const calmMs = agenda.nowMs
  let healedMs = healMs
  for (let at = calmMs + 5_000; at <= calmMs + healMs; at += 5_000) {
    work()
    pass(at)
    if (healedMs === healMs && different() === null) healedMs = at - calmMs
  }
  const wrongs: Array<string> = []
  if (state().health !== "whole") wrongs.push(`still ${state().health}: ${state().why}`)
  const replaysMost = defaults.replaysMax + (agenda.nowMs / defaults.regainMs + 1)
  if (state().replays > replaysMost) wrongs.push(`${state().replays} replays in ${agenda.nowMs / 1_000} s`)
  if (!state().complete) {
    // What was forgotten and is still in the cache nobody tells again; once the cache has turned over all is told.
    const truth = [engine.truth(DEVICE), engine.truth(HOST)] as const
    for (const layer of [DEVICE, HOST] as const) {
      const invented = [...picture.within(layer)].filter((name) => !truth[layer].has(name)).length
      if (invented > 0) wrongs.push(`layer ${layer}: ${invented} too many, incomplete though it is`)
    }
    for (let i = 0; i < 200; i++) work(true)
    pass(agenda.nowMs + 30_000)
  }
  const end = different()
  if (end !== null) wrongs.push(end)
  return { wrong: wrongs.length === 0 ? null : wrongs.join("; "), replays: state().replays, healedMs }
}
