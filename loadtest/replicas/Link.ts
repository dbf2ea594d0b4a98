/** Bookings of one replica, charged at another. */
import { percentile } from "../client/Stats.ts"
import * as Pair from "./Pair.ts"
import type { Usage } from "./Words.ts"

const workers = 64

export interface Told {
  readonly requests: number
  readonly seconds: number
  /** Of who books, and of who is told, CPU for its own bookings included. */
  readonly teller: Usage
  readonly hearer: Usage
  /** From a booking to its charge. */
  readonly p50: number
  readonly p99: number
}

export interface Case {
  /** Of each prompt. */
  readonly blocks: number
  readonly requests: number
  readonly rate: number | null
}

const minus = (after: Usage, before: Usage): Usage => ({
  cpuUs: after.cpuUs - before.cpuUs,
  threadUs: after.threadUs - before.threadUs,
  inBytes: after.inBytes - before.inBytes,
  outBytes: after.outBytes - before.outBytes
})

/** All cases with the same two replicas, each after a tenth of it to warm up. */
export const run = async (cases: ReadonlyArray<Case>, flags: ReadonlyArray<string>): Promise<ReadonlyArray<Told>> => {
  const group = await Pair.start("pair", { engines: [], blocksMax: 4_096, workers, probes: false }, flags)
  const [teller, hearer] = group.replicas as [(typeof group.replicas)[0], (typeof group.replicas)[0]]
  /** Before the case that runs. */
  let chargedBefore = 0
  const charges = (): number => hearer.progress().charged - chargedBefore
  hearer.onProgress(() => teller.heard(charges()))
  const told: Array<Told> = []
  const once = async (wanted: Case): Promise<Told> => {
    chargedBefore = hearer.progress().charged
    const before = [await teller.ask("usage"), await hearer.ask("usage")]
    const startedMs = performance.now()
    const booked = await teller.ask("book", wanted)
    await Pair.reached({ ...group, replicas: [hearer] }, charges, wanted.requests)
    const seconds = (performance.now() - startedMs) / 1_000
    const after = [await teller.ask("usage"), await hearer.ask("usage")]
    const charged = await hearer.ask("charged")
    if (charged.length !== booked.length)
      throw new Error(`${booked.length} requests were booked, ${charged.length} charged.`)
    const took = Array.from(charged, (chargedMs, i) => chargedMs - booked[i]!)
    return {
      requests: wanted.requests,
      seconds,
      teller: minus(after[0]!, before[0]!),
      hearer: minus(after[1]!, before[1]!),
      p50: percentile(took, 0.5)!,
      p99: percentile(took, 0.99)!
    }
  }
  try {
    for (const wanted of cases) {
      await once({ ...wanted, requests: Math.ceil(wanted.requests / 10) })
      told.push(await once(wanted))
    }
    return told
  } finally {
    await group.close()
  }
}
