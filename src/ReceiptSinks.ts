/**
 * ReceiptSinks: where every receipt goes that somebody wants to keep: a file, a subject on NATS.
 *
 * A request that is over is only noted; its receipt is made and written on turns of their own, some at a time, so that
 * requests come between. Who is behind drops the oldest, and counts them. What waits is written before the router leaves.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { Effect, Schema, type Scope } from "effect"
import * as RotatingFile from "./adapters/files/RotatingFile.ts"
import type { Config } from "./Config.ts"
import { MiB } from "./ConfigKnob.ts"
import type { Receipt } from "./domain/Receipt.ts"
import type * as ReceiptMetrics from "./telemetry/ReceiptMetrics.ts"

/** Nothing can be written to the file of receipts. */
export class ReceiptsFileUnusable extends Schema.TaggedError<ReceiptsFileUnusable>()("ReceiptsFileUnusable", {
  detail: Schema.String
}) {
  override get message() {
    return `--receipts-file: ${this.detail}`
  }
}

export interface Deps<Record> {
  readonly config: Pick<Config, "receiptsFile" | "receiptsFileBytes" | "receiptsSubject">
  /** To whoever listens on NATS; false when it cannot be sent. */
  readonly publish: ((subject: string, data: Uint8Array) => boolean) | null
  readonly receipt: (record: Record) => Receipt
}

export interface ReceiptSinks<Record> {
  readonly add: (record: Record) => void
  readonly numbers: () => ReceiptMetrics.Numbers
}

interface Sink {
  readonly put: (lines: ReadonlyArray<string>) => void
  readonly counts: () => { readonly written: number; readonly dropped: number }
  readonly close: () => Promise<void>
}

/** Records that wait to be made receipts of. */
const recordsMax = 2_048
/** From a request's end to its receipt's writing: a write for each would cost more than making it. */
const gatherMs = 100
/** Made in one turn: some 30 to 100 µs each. */
const turnMax = 8
/** Written at once. */
const linesMax = 64
const fileOptions = { kept: 8, waitingBytesMax: 16 * MiB, retryMs: 5_000 }
/** For a disk that hangs, at the end. */
const closeMs = 5_000

const subjectSink = (subject: string, publish: NonNullable<Deps<never>["publish"]>): Sink => {
  let written = 0
  let dropped = 0
  return {
    put: (lines) => {
      for (const line of lines) {
        if (publish(subject, Buffer.from(line))) written++
        else dropped++
      }
    },
    counts: () => ({ written, dropped }),
    close: async () => {}
  }
}

/** Null where no receipts are kept. */
export const make = Effect.fnUntraced(function* <Record>(
  deps: Deps<Record>
): Effect.fn.Return<ReceiptSinks<Record> | null, ReceiptsFileUnusable, Scope.Scope> {
  const { receiptsFile: file, receiptsFileBytes, receiptsSubject } = deps.config
  const sinks: Partial<{ readonly [Name in ReceiptMetrics.Sink]: Sink }> = {
    ...(file === null ? {} : { file: yield* fileSink(file, receiptsFileBytes) }),
    ...(receiptsSubject === null || deps.publish === null ? {} : { nats: subjectSink(receiptsSubject, deps.publish) })
  }
  const all = Object.values(sinks)
  if (all.length === 0) return null

  let waiting: Array<Record> = []
  /** Dropped before any sink had them. */
  let lost = 0
  let gathering: NodeJS.Timeout | null = null
  let turn: NodeJS.Immediate | null = null
  let made: Array<string> = []
  const lineOf = (record: Record): ReadonlyArray<string> => {
    try {
      return [JSON.stringify(deps.receipt(record))]
    } catch (defect) {
      // Our own fault, which costs this receipt, never the process.
      process.emitWarning(defect instanceof Error ? defect : String(defect), "WarmpathReceipt")
      lost++
      return []
    }
  }
  const write = (): void => {
    const lines = made
    made = []
    for (const sink of all) sink.put(lines)
  }
  const take = (): void => {
    for (const record of waiting.splice(0, turnMax)) made.push(...lineOf(record))
    turn = waiting.length === 0 ? null : setImmediate(take)
    if (turn === null || made.length >= linesMax) write()
  }
  yield* Effect.addFinalizer(() =>
    Effect.promise(async () => {
      if (gathering !== null) clearTimeout(gathering)
      if (turn !== null) clearImmediate(turn)
      made.push(...waiting.flatMap(lineOf))
      waiting = []
      write()
      const closed = Promise.all(all.map((sink) => sink.close()))
      await Promise.race([closed, sleep(closeMs, undefined, { ref: false })])
    })
  )
  return {
    add: (record) => {
      if (waiting.push(record) > recordsMax) {
        waiting.shift()
        lost++
      }
      if (gathering !== null || turn !== null) return
      gathering = setTimeout(() => {
        gathering = null
        take()
      }, gatherMs)
    },
    numbers: () =>
      Object.entries(sinks).map(([sink, each]) => {
        const { dropped, written } = each.counts()
        return { sink: sink as ReceiptMetrics.Sink, written, dropped: dropped + lost }
      })
  }
})

const fileSink = Effect.fnUntraced(function* (file: string, bytesMax: number) {
  const detail = RotatingFile.problem(file)
  if (detail !== null) return yield* new ReceiptsFileUnusable({ detail })
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const changed = (why: string): void =>
    void fork(
      why === ""
        ? Effect.logInfo(`Receipts are written to ${file} again`)
        : Effect.logWarning(`Receipts cannot be written to ${file} and are dropped, requests go on: ${why}`)
    )
  return RotatingFile.make({ ...fileOptions, file, bytesMax, changed })
})
