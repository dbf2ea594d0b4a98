/**
 * Regret: prompt tokens that were computed though they need not have been. By the choice: the most that any eligible worker
 * held, less what the one chosen did. By the picture: what that one was thought to hold, less what it delivered; negative
 * where it delivered more.
 */
import type { Try } from "./ReceiptLine.ts"

export interface Sums {
  readonly placements: number
  readonly choiceTokens: number
  /** Placements whose engine said what it delivered, and the sum over them. */
  readonly reported: number
  readonly pictureTokens: number
}

export interface Bad {
  readonly id: string
  readonly choiceTokens: number
  readonly pictureTokens: number | null
}

export interface Worker extends Sums {
  readonly worker: string
  /** Its worst, at most ten, the worst first. */
  readonly worst: ReadonlyArray<Bad>
}

export interface Regret extends Sums {
  /** The one that cost most first. */
  readonly workers: ReadonlyArray<Worker>
}

const worstMax = 10

/** What was lost; more than was predicted is no loss. */
const lostOf = ({ choiceTokens, pictureTokens }: Bad): number => choiceTokens + Math.max(0, pictureTokens ?? 0)

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
interface Entry extends Mutable<Sums> {
  readonly worker: string
  worst: Array<Bad>
  lost: number
}

const none = { placements: 0, choiceTokens: 0, reported: 0, pictureTokens: 0 }

export const make = () => {
  const workers = new Map<string, Entry>()
  return {
    take: (id: string, { bestTokens, pictureTokens, predictedTokens, worker }: Try): void => {
      const entry = workers.get(worker) ?? { worker, ...none, worst: [], lost: 0 }
      workers.set(worker, entry)
      const bad: Bad = { id, choiceTokens: bestTokens - predictedTokens, pictureTokens }
      entry.placements++
      entry.choiceTokens += bad.choiceTokens
      if (bad.pictureTokens !== null) {
        entry.reported++
        entry.pictureTokens += bad.pictureTokens
      }
      const lost = lostOf(bad)
      entry.lost += lost
      if (lost <= 0) return
      if (entry.worst.length === worstMax && lost <= lostOf(entry.worst.at(-1)!)) return
      const place = entry.worst.findIndex((other) => lostOf(other) < lost)
      entry.worst.splice(place === -1 ? entry.worst.length : place, 0, bad)
      entry.worst.length = Math.min(entry.worst.length, worstMax)
    },
    result: (): Regret => {
      const all = [...workers.values()].sort((a, b) => b.lost - a.lost)
      const sum = (of: (entry: Entry) => number) => all.reduce((total, entry) => total + of(entry), 0)
      return {
        placements: sum(({ placements }) => placements),
        choiceTokens: sum(({ choiceTokens }) => choiceTokens),
        reported: sum(({ reported }) => reported),
        pictureTokens: sum(({ pictureTokens }) => pictureTokens),
        workers: all.map(({ lost: _, ...worker }) => worker)
      }
    }
  }
}
