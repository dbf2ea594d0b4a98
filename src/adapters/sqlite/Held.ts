/**
 * Held: everything that is done to the file, in turns of a few milliseconds. Synchronous; knows nothing of threads.
 *
 * A file that turns out to be damaged is begun anew: it held nothing that the engines do not know.
 */
import * as ShareWire from "../../hot/ShareWire.ts"
import type { Answer, Ask, Start } from "./Asked.ts"
import * as File from "./File.ts"
import * as Names from "./Names.ts"
import * as Nodes from "./Nodes.ts"

export interface Held {
  readonly version: string
  readonly life: () => string
  /** Yields between turns; returns the answer. Throws what is to be refused. */
  readonly answer: (ask: Ask) => Generator<void, Answer>
  /** What to do about an error that was thrown: begins anew after damage. Says what happened. */
  readonly recover: (error: unknown) => string
}

/** Others are looked up between turns. */
const turnMs = 2
/** Pieces that one turn of a sweep drops at most. */
const sweepPieces = 64

export const open = ({ bytesMax, file, ttlMs }: Start): Held => {
  const ttlS = Math.ceil(ttlMs / 1_000)
  const begin = () => {
    const db = File.open(file)
    return { db, names: Names.make(db), nodes: Nodes.make(db, ttlS / 16) }
  }
  let at = begin()

  const transaction = (work: () => void): void => {
    at.db.exec("BEGIN IMMEDIATE")
    try {
      work()
      at.db.exec("COMMIT")
    } catch (error) {
      if (at.db.isTransaction) at.db.exec("ROLLBACK")
      throw error
    }
  }
  const ofLife = (life: string | null): void => {
    if (life !== null && life !== at.names.generation) throw new Error("the store has begun anew")
  }
  const isAlive = (tenure: number): boolean => at.names.nameOf(tenure) !== undefined

  function* write(life: string | null, wire: Int32Array, nowS: number): Generator<void, null> {
    for (let word = 0; word < wire.length; ) {
      ofLife(life)
      const until = performance.now() + turnMs
      transaction(() => {
        let shares = 0
        while (word < wire.length && (shares % 8 !== 0 || performance.now() < until)) {
          const read = ShareWire.decode(wire, word)
          if (read === null) throw new Error(`what begins at word ${word} is no share`)
          if (isAlive(read.share.tenure)) at.nodes.merge(read.share, nowS, isAlive)
          word = read.next
          shares++
        }
        // Twice what may have come, as pages with some room left are not free yet.
        if (at.nodes.usedBytes() > bytesMax) at.nodes.evict(2 * shares, Number.MAX_SAFE_INTEGER)
      })
      yield
    }
    return null
  }

  function* sweep(nowS: number): Generator<void, number> {
    let gone = 0
    for (let more = true; more; yield) {
      transaction(() => {
        const isFull = at.nodes.usedBytes() > bytesMax
        const went = at.nodes.evict(sweepPieces, isFull ? Number.MAX_SAFE_INTEGER : nowS - ttlS)
        gone += went
        more = went === sweepPieces
      })
    }
    return gone
  }

  function* answer(ask: Ask): Generator<void, Answer> {
    const { names, nodes } = at
    switch (ask._tag) {
      case "Generation":
        return names.generation
      case "Enter":
        ofLife(ask.life)
        return names.enter(ask.name)
      case "Settle":
        ofLife(ask.life)
        return names.settle(ask.name, ask.tenure)
      case "Leave":
        ofLife(ask.life)
        names.leave(ask.name, ask.tenure)
        return null
      case "Write":
        ofLife(ask.life)
        return yield* write(names.generation, ask.shares, ask.nowS)
      case "Lookup":
        return nodes.lookup(ask.keys, ask.count, ask.stride, names.nameOf)
      case "Read":
        return nodes.read(ask.after)
      case "Tenures":
        return names.tenures()
      case "Names":
        return names.all()
      case "Facts":
        return { usedBytes: nodes.usedBytes(), pieces: nodes.pieces(), names: names.all().length }
      case "Sweep":
        return yield* sweep(ask.nowS)
      case "Close":
        at.db.close()
        return null
    }
  }

  return {
    version: (at.db.prepare("SELECT sqlite_version() AS version").get() as { version: string }).version,
    life: () => at.names.generation,
    answer,
    recover: (error) => {
      const said = error instanceof Error ? error.message : String(error)
      if (!File.isDamage(error)) return said
      at.db.close()
      File.remove(file)
      at = begin()
      return `the file was damaged, and was begun anew (${said})`
    }
  }
}
