/**
 * Watched: what the page at the admin listener shows, and the little that is kept for it while nobody looks: what the last
 * minutes came to, and how the last prompts began.
 */
import type { Fleet } from "../actors/Fleet.ts"
import type { Ledger } from "../actors/Ledger.ts"
import { nameOf } from "../actors/Pictures.ts"
import type { PrefixIndex } from "../actors/PrefixIndex.ts"
import type { Receipts } from "../actors/Receipts.ts"
import type { Trust } from "../actors/Trust.ts"
import { DEVICE, GUESS } from "./domain/Tier.ts"
import * as AdminLive from "./http/AdminLive.ts"
import * as AdminPage from "./http/AdminPage.ts"
import * as AdminPrefixes from "./http/AdminPrefixes.ts"
import type { Room } from "./http/AdminReply.ts"
import * as LiveWorkers from "./http/LiveWorkers.ts"
import { Pulse } from "./http/Pulse.ts"
import * as ReceiptOf from "./http/ReceiptOf.ts"
import { RecentPrompts } from "./http/RecentPrompts.ts"
import type { Settled } from "./http/Request.ts"

export interface Deps {
  readonly fleet: Pick<Fleet["Service"], "find" | "list" | "worker">
  readonly index: Pick<PrefixIndex["Service"], "depths" | "heldBy">
  readonly trust: Pick<Trust["Service"], "of">
  readonly ledger: Pick<Ledger["Service"], "worker">
  /** Null where none are kept: then requests are counted, but not told of one by one. */
  readonly receipts: Pick<Receipts<Settled>, "listen"> | null
  readonly inFlight: () => number
  readonly workersMax: number
  /** Of the ledger: monotonic, ms. */
  readonly now: () => number
}

export interface Watched {
  readonly settled: (record: Settled) => void
  readonly prompted: RecentPrompts["add"]
  readonly rooms: Readonly<Record<"live" | "prefixes", Room>>
  readonly page: Room
}

export const make = (deps: Deps): Watched => {
  const { fleet, index, ledger, receipts, trust } = deps
  const pulse = new Pulse((id) => fleet.find(id) !== undefined)
  const recent = new RecentPrompts()
  const live = AdminLive.make({
    workers: () =>
      LiveWorkers.rows({
        list: fleet.list,
        trust: trust.of,
        load: (slot) => ledger.worker(slot, deps.now()),
        blocks: (slot) => index.heldBy(slot, DEVICE) + index.heldBy(slot, GUESS),
        pulse
      }),
    pulse,
    inFlight: deps.inFlight,
    listen: (heard) => receipts?.listen((settled) => heard(() => ReceiptOf.lineOf(settled))) ?? (() => undefined),
    now: Date.now
  })
  const prefixes = AdminPrefixes.make({
    recent: () => recent.all(),
    depths: index.depths,
    nameOf: (slot) => {
      const worker = fleet.worker(slot)
      return worker === undefined ? undefined : nameOf(worker, slot)
    },
    workersMax: deps.workersMax,
    now: deps.now
  })
  return {
    settled: (record) => pulse.add(record, Date.now()),
    prompted: (model, blockSize, keys) => recent.add(model, blockSize, keys),
    rooms: { live, prefixes },
    page: AdminPage.make()
  }
}
