/** A fleet for hours of virtual time, looked at in calm at regular intervals, and emptied twice: early on and at the end. */
import { setImmediate } from "node:timers/promises"
import * as Census from "./ChurnCensus.ts"
import { ChurnFleet } from "./ChurnFleet.ts"

const minuteMs = 60_000
/** Before each look nothing is asked for this long: longer than a request, and than most healing. */
const calmMs = 1.5 * minuteMs
/**
 * What may be left over with all workers gone, beyond what was left early on: some machine code and one page of the
 * largest of everything. A day has 84 000 requests, so a leak of 20 bytes a request shows.
 */
const emptyGrowthMbMax = 1.5
/**
 * With workers there, memory also follows how many there are and what they hold, and the collector leaves some garbage:
 * in runs of one seed it differs by a fifth at the same hour. So medians are compared, and with some room.
 */
const growthMax = 1.25

export interface Day {
  readonly looks: ReadonlyArray<Census.Census>
  readonly counts: ChurnFleet["counts"]
  readonly tenants: number
  /** Live memory with all workers gone: after the first interval, and at the end. MB. */
  readonly emptyMb: readonly [early: number, end: number]
  readonly wrongs: ReadonlyArray<string>
}

export const run = async (
  seed: number,
  intervals: number,
  intervalMs: number,
  show: (look: Census.Census, at: number) => void = () => {}
): Promise<Day> => {
  const fleet = new ChurnFleet(seed)
  const looks: Array<Census.Census> = []
  const wrongs: Array<string> = []
  const empty = async (): Promise<number> => {
    fleet.isCalm = true
    fleet.evacuate()
    fleet.traffic.clear()
    fleet.pass(fleet.agenda.nowMs + calmMs)
    await setImmediate()
    for (const left of Census.leftovers(fleet)) wrongs.push(`with all workers gone: ${left}`)
    return Census.bytesLive() / 2 ** 20
  }
  let early = 0
  for (let at = 1; at <= intervals; at++) {
    fleet.isCalm = false
    fleet.fill()
    fleet.pass(at * intervalMs - calmMs)
    fleet.isCalm = true
    fleet.pass(at * intervalMs)
    await setImmediate()
    const look = Census.take(fleet)
    for (const wrong of look.wrongs) wrongs.push(`after interval ${at}: ${wrong}`)
    looks.push(look)
    show(look, at)
    if (at === 1) early = await empty()
  }
  const emptyMb = [early, await empty()] as const
  return { looks, counts: fleet.counts, tenants: fleet.traffic.tenantsSeen, emptyMb, wrongs }
}

/** Why memory is not flat over these looks; null when it is, or when there are too few to tell. */
export const growth = (heapMb: ReadonlyArray<number>, [early, end]: Day["emptyMb"]): string | null => {
  if (end - early > emptyGrowthMbMax)
    return `with all workers gone ${end.toFixed(1)} MB are live, after ${early.toFixed(1)} MB early on`
  if (heapMb.length < 12) return null
  const before = median(heapMb.slice(1, 8))
  const after = median(heapMb.slice(-Math.floor(heapMb.length / 4)))
  if (after <= before * growthMax) return null
  return `${after.toFixed(1)} MB are live in the last quarter, after ${before.toFixed(1)} MB from the second look to the eighth`
}

const median = (values: ReadonlyArray<number>): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!
