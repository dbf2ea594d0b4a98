/**
 * Bpe: token ids of a text without added tokens, by byte-level BPE.
 *
 * A piece (what the pre-tokenizer leaves: a word, a run of punctuation) is encoded once and remembered; the memory is
 * two generations of at most `piecesMax` pieces of at most `pieceCharsMax` chars, the older dropped when the younger is
 * full. A megabyte of source text costs about 0.1 s at first sight and 0.05 s after; a word of n bytes costs n log n.
 */
import * as BpeMerge from "../../hot/BpeMerge.ts"
import { normalize } from "./AddedTokens.ts"
import type { BpeModel, Stage } from "./BpeModel.ts"
import * as Regex from "./Regex.ts"

export interface Bpe {
  /** Token ids of the text. */
  readonly encode: (text: string) => Uint32Array
}

/** 60 thousand pieces take about 8 MB and hold the working set of ordinary prose and code. */
const piecesMax = 60_000
/** Longer pieces seldom repeat. */
const pieceCharsMax = 64
/** V8 keeps a slice of 13 chars or more as a reference into the text it was cut from. */
const sliceMin = 13

type Pieces = Map<string, number | Uint32Array>

/** True when V8 keeps the text at two bytes per char. */
export const isWide = (text: string): boolean => /[^\0-\xff]/.test(text)

/** A copy that does not keep the text it was cut from alive. */
export const detach = (text: string): string =>
  text.length < sliceMin
    ? text
    : isWide(text)
      ? Buffer.from(text, "utf16le").toString("utf16le")
      : Buffer.from(text, "latin1").toString("latin1")

type Splitter = (text: string, out: Array<string>) => void

const splitter = (stage: Stage): Splitter => {
  const pattern = Regex.compile(stage.pattern)!
  const { keepGaps, keepMatches } = stage
  const oneByOne: Splitter = (text, out) => {
    pattern.lastIndex = 0
    let from = 0
    for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
      if (keepGaps && match.index > from) out.push(text.slice(from, match.index))
      if (match[0] === "") pattern.lastIndex++
      else if (keepMatches) out.push(match[0])
      from = match.index + match[0].length
    }
    if (keepGaps && from < text.length) out.push(from === 0 ? text : text.slice(from))
  }
  return oneByOne
}

export const make = (model: Pick<BpeModel, "tables" | "forms" | "stages">): Bpe => {
  const { forms, tables } = model
  const splitters = model.stages.slice(0, -1).map(splitter)
  const last = model.stages.at(-1)
  const finest = last === undefined ? null : splitter(last)
  const pattern = last?.keepMatches === true && last.keepGaps ? Regex.compile(last.pattern) : null
  const scratch = BpeMerge.makeScratch()
  const out = BpeMerge.makeIds(4096)
  let young: Pieces = new Map()
  let old: Pieces = new Map()

  const remember = (piece: string, ids: number | Uint32Array): void => {
    if (young.size >= piecesMax) {
      old = young
      young = new Map()
    }
    young.set(piece, ids)
  }

  const encodePiece = (piece: string): void => {
    let ids = young.get(piece)
    if (ids === undefined) {
      ids = old.get(piece)
      if (ids !== undefined) remember(detach(piece), ids)
    }
    if (ids !== undefined) {
      if (typeof ids === "number") BpeMerge.push(out, ids)
      else BpeMerge.append(out, ids)
      return
    }
    const from = out.length
    BpeMerge.fit(scratch, piece.length)
    BpeMerge.encode(tables, scratch, BpeMerge.utf8(scratch, piece), out)
    if (piece.length > pieceCharsMax) return
    remember(detach(piece), out.length - from === 1 ? out.ids[from]! : out.ids.slice(from, out.length))
  }

  /** Most patterns leave no gap; then all matches at once are the pieces, and cheaper than one by one. */
  const encodeFinest = (text: string): void => {
    let pieces: Array<string> | null = pattern === null ? null : text.match(pattern)
    if (pieces !== null) {
      let covered = 0
      for (let i = 0; i < pieces.length; i++) covered += pieces[i]!.length
      if (covered !== text.length) pieces = null
    }
    if (pieces === null) {
      pieces = []
      if (finest === null) pieces.push(text)
      else finest(text, pieces)
    }
    for (let i = 0; i < pieces.length; i++) encodePiece(pieces[i]!)
  }

  return {
    encode: (text) => {
      out.length = 0
      let pieces = [normalize(forms, text)]
      for (const split of splitters) {
        const finer: Array<string> = []
        for (const piece of pieces) split(piece, finer)
        pieces = finer
      }
      for (const piece of pieces) encodeFinest(piece)
      const ids = out.ids.slice(0, out.length)
      BpeMerge.shrink(scratch)
      if (out.ids.length > 1 << 20) out.ids = new Uint32Array(4096)
      return ids
    }
  }
}
