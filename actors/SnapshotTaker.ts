/**
 * SnapshotTaker: one session of a snapshot, taken: its messages, applied to this replica's publishers and index.
 *
 * A machine: `take` hears each message once, in order, and does at most a slice of work. What is wrong with a publisher
 * (refused, void, followed anew meanwhile) is told of it alone; what is wrong with a message ends the session.
 */
import { Option, Schema } from "effect"
import { DEVICE, EXTERNAL, type Layer } from "../src/domain/Tier.ts"
import * as PrefixTable from "../src/hot/PrefixTable.ts"
import * as SnapshotFrames from "../src/hot/SnapshotFrames.ts"
import type { Restoring } from "./Collector.ts"
import * as Words from "./SnapshotWords.ts"

/**
 * `taken`: it goes on from its place in the log. `absent`: there is nothing to be had of it. `voided`: it may be had when
 * asked for again.
 */
export type Outcome =
  | { readonly _tag: "taken"; readonly position: number }
  | { readonly _tag: "absent" }
  | { readonly _tag: "voided" }

/** One of the publishers of a session. */
export interface Taking {
  readonly slot: number
  /** Begins with a head; null when it is refused. */
  readonly restore: (head: Uint8Array) => Restoring | null
}

interface Row extends Taking {
  position: number
  parts: Array<Uint8Array>
  restoring: Restoring | null
  outcome: Outcome | null
}

const decodeSay = Schema.decodeUnknownOption(Words.Say)

export class SnapshotTaker {
  isOver = false
  private readonly rows: ReadonlyArray<Row>

  constructor(takings: ReadonlyArray<Taking>) {
    this.rows = takings.map((taking) => ({ ...taking, position: 0, parts: [], restoring: null, outcome: null }))
  }

  /** What came of each. Of a session that was not over nothing came, and what it brought is forgotten. */
  get outcomes(): ReadonlyArray<Outcome> {
    return this.rows.map(({ outcome }) => outcome ?? { _tag: "voided" })
  }

  /** False when that is no message of a session. */
  take(bytes: Uint8Array): boolean {
    const frame = SnapshotFrames.decode(bytes)
    if (frame === null) return false
    const { body, kind, publisher } = frame
    const row = this.rows[publisher]
    switch (kind) {
      case SnapshotFrames.SAY: {
        const said = Option.getOrNull(decodeSay(Words.textOf(body)))
        return said !== null && this.say(said)
      }
      case SnapshotFrames.HEAD:
      case SnapshotFrames.HEAD_END: {
        if (row === undefined) return false
        row.parts.push(body)
        if (kind === SnapshotFrames.HEAD) return true
        row.restoring = row.restore(Buffer.concat(row.parts))
        row.parts = []
        if (row.restoring === null) row.outcome = { _tag: "absent" }
        return true
      }
      case SnapshotFrames.PIECE: {
        const words = SnapshotFrames.wordsOf(body)
        if (row === undefined || words === null) return false
        if (row.restoring !== null && !row.restoring.piece(words)) this.drop(row, { _tag: "absent" })
        return true
      }
      case SnapshotFrames.RUNS: {
        const words = SnapshotFrames.wordsOf(body)
        return words !== null && PrefixTable.stored(words, this.stored)
      }
    }
  }

  /** Forgets what a session brought that will not come to its end. */
  abandon(): void {
    for (const row of this.rows) if (row.outcome === null) this.drop(row, { _tag: "voided" })
  }

  private readonly stored = (name: number, parent: Int32Array | null, keys: Int32Array): boolean => {
    const row = this.rows[name >> 2]
    if (row === undefined) return false
    const { restoring, slot } = row
    const layer = (name & 3) as Layer
    if (restoring !== null && !restoring.publish({ _tag: "Stored", worker: slot, layer, parent, keys })) {
      this.drop(row, { _tag: "voided" })
    }
    return true
  }

  private say(said: Words.Say): boolean {
    const { rows } = this
    switch (said._tag) {
      case "publisher":
      case "gone": {
        const row = rows[said.publisher]
        if (row === undefined) return false
        if (said._tag === "gone") row.outcome = { _tag: "absent" }
        else row.position = said.position
        return true
      }
      case "layers": {
        if (said.layers.length !== rows.length) return false
        for (const [i, { restoring, slot }] of rows.entries()) {
          for (let layer = DEVICE + 1; layer <= EXTERNAL; layer++) {
            if ((said.layers[i]! & (1 << layer)) === 0) continue
            restoring?.publish({ _tag: "Deepened", worker: slot, layer: layer as Layer })
          }
        }
        return true
      }
      case "end": {
        this.isOver = true
        for (const publisher of said.voided) {
          const row = rows[publisher]
          if (row === undefined) return false
          if (row.outcome === null) this.drop(row, { _tag: "voided" })
        }
        for (const row of rows) {
          if (row.outcome !== null) continue
          row.outcome = row.restoring?.end() === true ? { _tag: "taken", position: row.position } : { _tag: "absent" }
        }
        return true
      }
    }
  }

  private drop(row: Row, outcome: Outcome): void {
    row.restoring?.abandon()
    row.restoring = null
    row.outcome = outcome
  }
}
