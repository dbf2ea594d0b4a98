/**
 * Several replicas of this router before one fleet. Requests go to them in turn; each has a ledger of its own, tells the
 * others what it books as production does, and hears them some time later. Events and reports reach all at once.
 */
import * as Ledger from "../../actors/Ledger.ts"
import { ReplicaLoad } from "../../actors/ReplicaLoad.ts"
import * as ToldLedger from "../../actors/ToldLedger.ts"
import { OwnLoad } from "../../src/hot/OwnLoad.ts"
import { Agenda } from "./Agenda.ts"
import { ours } from "./Strategies.ts"
import type { Setup, Strategy } from "./Strategy.ts"

/** As `ReplicaLink` gathers changes. */
const turnMs = 5

export interface Routers {
  readonly count: number
  /** From a message's sending to its being heard; null: they tell each other nothing. */
  readonly exchangeMs: number | null
}

interface Replica {
  readonly told: Service
  /** What each other replica has open, as it was heard. */
  readonly loads: Map<number, ReplicaLoad>
}

export const of = ({ count, exchangeMs }: Routers): Strategy => ({
  ...ours,
  name: `${count} × ${ours.name}`,
  about: `${count} replicas of this router, ${exchangeMs === null ? "each by itself" : `who hear of each other ${exchangeMs} ms late`}`,
  ledger: (setup) => make(count, exchangeMs, setup)
})

/** Ours as so many routers, where there are to be several; anybody else is one. */
export const insteadOf = (strategy: Strategy, routers: Routers | null): Strategy =>
  routers === null || strategy.kind !== "ours" ? strategy : of(routers)

type Service = Ledger.Ledger["Service"]

/** What concerns all reaches each; requests go to one of `each`. */
interface Several extends Service {
  readonly each: ReadonlyArray<Service>
}

/** The ledgers that requests go to in turn: those of replicas, or this one. */
export const each = (ledger: Service): ReadonlyArray<Service> => (ledger as Partial<Several>).each ?? [ledger]

const make = (count: number, exchangeMs: number | null, setup: Setup): Several => {
  const { workers } = setup
  const agenda = new Agenda()
  let clockMs = 0
  /** What was to happen by now, has. */
  const at = (nowMs: number): number => {
    while (agenda.nextAt <= nowMs) agenda.next()
    clockMs = nowMs
    return nowMs
  }
  const replicas: Array<Replica> = Array.from({ length: count }, (_, id) => {
    const ledger = Ledger.make({ policy: "eta", workersMax: workers })
    const loads = new Map<number, ReplicaLoad>()
    if (exchangeMs === null) return { told: ledger, loads }
    for (let other = 0; other < count; other++) {
      if (other !== id) loads.set(other, new ReplicaLoad({ charge: ledger.charge, slotOf: (worker) => worker }))
    }
    const own = new OwnLoad(1)
    let isDue = false
    const send = (nowMs: number): void => {
      isDue = false
      const message = own.take()
      if (message === null) return
      agenda.add(nowMs + exchangeMs, (heardMs) => {
        for (const { loads } of replicas) {
          const load = loads.get(id)
          load?.hear(message, heardMs)
          if (load?.broken === true) throw new Error(`Delta ${load.sequence} of replica ${id} was not understood.`)
        }
      })
    }
    const told = ToldLedger.make(
      ledger,
      own,
      (slot) => slot,
      () => {
        if (isDue) return
        isDue = true
        agenda.add(clockMs + turnMs, send)
      }
    )
    return { told, loads }
  })
  const all = replicas.map(({ told }) => told)
  return {
    ...all[0]!,
    each: all.map(
      (told): Service => ({
        ...told,
        place: (ask, nowMs) => told.place(ask, at(nowMs)),
        outlook: (ask, nowMs) => told.outlook(ask, at(nowMs)),
        aheadMs: (slot, nowMs) => told.aheadMs(slot, at(nowMs)),
        decision: (ask, nowMs, most) => told.decision(ask, at(nowMs), most),
        decide: (ask, nowMs, most) => told.decide(ask, at(nowMs), most),
        explain: (ask, nowMs) => told.explain(ask, at(nowMs)),
        book: (slot, ask, streams, nowMs) => {
          const booking = told.book(slot, ask, streams, at(nowMs))
          return {
            ...booking,
            firstByte: (atMs) => booking.firstByte(at(atMs)),
            settle: (atMs, outcome) => booking.settle(at(atMs), outcome)
          }
        }
      })
    ),
    join: (slot, capacityTokens) => {
      for (const each of all) each.join(slot, capacityTokens)
    },
    leave: (slot) => {
      for (const each of all) each.leave(slot)
    },
    setEligible: (slot, eligible) => {
      for (const each of all) each.setEligible(slot, eligible)
    },
    setCapacity: (slot, tokens) => {
      for (const each of all) each.setCapacity(slot, tokens)
    },
    setPriority: (slot, unset) => {
      for (const each of all) each.setPriority(slot, unset)
    },
    setCredit: (slot, credit) => {
      for (const each of all) each.setCredit(slot, credit)
    },
    hint: (slot, load, nowMs) => {
      for (const each of all) each.hint(slot, load, at(nowMs))
    }
  }
}
