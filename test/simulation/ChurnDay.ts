/** A fleet for hours of virtual time, looked at in calm at regular intervals, and emptied twice: early on and at the end. */
import * as Census from "./ChurnCensus.ts"
import { ChurnFleet } from "./ChurnFleet.ts"

const minuteMs = 60_000
/** Before each look nothing is asked for this long: longer than a request, and than most healing. */
const calmMs = 1.5 * minuteMs

export interface Day {
  readonly looks: ReadonlyArray<Census.Census>
  readonly counts: ChurnFleet["counts"]
  readonly tenants: number
  /** Live memory with all workers gone: after the first interval, and at the end. MB. */
  readonly emptyMb: readonly [early: number, end: number]
  readonly wrongs: ReadonlyArray<string>
}

export const run = (
  seed: number,
  intervals: number,
  intervalMs: number,
  show: (look: Census.Census, at: number) => void = () => {}
): Day => {
  const fleet = new ChurnFleet(seed)
  const looks: Array<Census.Census> = []
  const wrongs: Array<string> = []
  const empty = (): number => {
    fleet.isCalm = true
    fleet.evacuate()
    fleet.traffic.clear()
    fleet.pass(fleet.agenda.nowMs + calmMs)
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
    const look = Census.take(fleet)
    for (const wrong of look.wrongs) wrongs.push(`after interval ${at}: ${wrong}`)
    looks.push(look)
    show(look, at)
    if (at === 1) early = empty()
  }
  const emptyMb = [early, empty()] as const
  return { looks, counts: fleet.counts, tenants: fleet.traffic.tenantsSeen, emptyMb, wrongs }
}
