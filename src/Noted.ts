/**
 * Noted: what this router keeps of requests that are over, and what it knows of workers as they are chosen; see
 * `http/Trail.ts`.
 */
import type { Collector } from "../actors/Collector.ts"
import type { Worker } from "../actors/FleetEntry.ts"
import { nameOf, type Pictures } from "../actors/Pictures.ts"
import * as Receipts from "../actors/Receipts.ts"
import type { Trust } from "../actors/Trust.ts"
import type { Config } from "./Config.ts"
import type { Trust as Shown } from "./domain/Worker.ts"
import * as ReceiptOf from "./http/ReceiptOf.ts"
import type { Settled } from "./http/Request.ts"
import type { Witness } from "./http/Trail.ts"

export interface Deps {
  readonly config: Pick<Config, "receiptsMax">
  /** What chose the workers. */
  readonly policy: string
  readonly workersMax: number
  readonly collector: Pick<Collector["Service"], "heardAgoMs">
  readonly trust: Pick<Trust["Service"], "onChange">
  readonly blockSizes: Pictures["blockSizes"]
  readonly workerOf: (slot: number) => Worker | undefined
}

export interface Noted {
  /** Null where `receiptsMax` is 0: none are made, and requests note no candidates. */
  readonly receipts: Receipts.Receipts<Settled> | null
  readonly witness: Witness
}

/** Candidates of a request that are kept: more are not worth telling. */
const most = 32

export const make = (deps: Deps): Noted => {
  const { collector, policy, trust, workersMax } = deps
  const max = deps.config.receiptsMax
  const trusts = new Array<Shown>(workersMax).fill("approximate")
  trust.onChange((slot, view) => {
    trusts[slot] = view.trust
  })
  /** Names, and whose they are: most are made once. */
  const names = new Array<string>(workersMax).fill("")
  const owners = new Array<Worker | undefined>(workersMax)
  const nameAt = (slot: number): string => {
    const worker = deps.workerOf(slot)
    if (worker !== undefined && worker !== owners[slot]) {
      owners[slot] = worker
      names[slot] = nameOf(worker, slot)
    }
    return names[slot]!
  }
  return {
    receipts:
      max === 0
        ? null
        : Receipts.make<Settled>({
            max,
            id: ({ trail }) => trail.id,
            receipt: (settled) => ReceiptOf.receiptOf(settled, policy),
            line: ReceiptOf.lineOf,
            failed: (defect) =>
              process.emitWarning(defect instanceof Error ? defect : String(defect), "WarmpathReceiptListener")
          }),
    witness: {
      most,
      known: (slot, blocks) => ({
        name: nameAt(slot),
        trust: trusts[slot]!,
        heardAgoMs: collector.heardAgoMs(slot),
        blocks,
        blockSize: deps.blockSizes[slot]!
      })
    }
  }
}
