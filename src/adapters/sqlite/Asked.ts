/** Asked: what the router's thread asks of the one that has the file, and what that answers. */
import type { KeyLanes } from "../../domain/Block.ts"
import type { Reach } from "../../hot/PieceWalk.ts"
import type { Place } from "./Nodes.ts"

export interface Start {
  readonly file: string
  readonly ttlMs: number
  readonly bytesMax: number
}

/** `life`: the one that the router knows; another one refuses. Null where any will do. */
export type Ask =
  | { readonly _tag: "Generation" }
  | { readonly _tag: "Enter"; readonly life: string | null; readonly name: string }
  | { readonly _tag: "Settle"; readonly life: string | null; readonly name: string; readonly tenure: number }
  | { readonly _tag: "Leave"; readonly life: string | null; readonly name: string; readonly tenure: number }
  /** As `ShareWire` has them. */
  | { readonly _tag: "Write"; readonly life: string | null; readonly shares: Int32Array; readonly nowS: number }
  | { readonly _tag: "Lookup"; readonly keys: KeyLanes; readonly count: number; readonly stride: number }
  | { readonly _tag: "Read"; readonly after: Place | null }
  | { readonly _tag: "Tenures" }
  | { readonly _tag: "Names" }
  | { readonly _tag: "Facts" }
  /** Drops what is older than its time, and what there is no room for. */
  | { readonly _tag: "Sweep"; readonly nowS: number }
  | { readonly _tag: "Close" }

export interface Facts {
  readonly usedBytes: number
  readonly pieces: number
  readonly names: number
}

/** What each is answered with. */
export interface Answers {
  readonly Generation: string
  readonly Enter: number
  readonly Settle: boolean
  readonly Leave: null
  readonly Write: null
  readonly Lookup: ReadonlyArray<Reach>
  readonly Read: { readonly nodes: ReadonlyArray<Uint8Array>; readonly last: Place | null }
  readonly Tenures: ReadonlyArray<readonly [number, string]>
  readonly Names: ReadonlyArray<{ readonly name: string; readonly tenures: number }>
  readonly Facts: Facts
  /** Pieces dropped. */
  readonly Sweep: number
  readonly Close: null
}

export type Answer = Answers[Ask["_tag"]]

export interface Asked {
  readonly id: number
  readonly ask: Ask
}

export type Said =
  | { readonly _tag: "Opened"; readonly version: string }
  | { readonly _tag: "Unusable"; readonly code: string; readonly why: string; readonly fix: string }
  /** `life`: the one that this is of. */
  | { readonly _tag: "Answered"; readonly id: number; readonly life: string; readonly value: Answer }
  | { readonly _tag: "Refused"; readonly id: number; readonly detail: string }
