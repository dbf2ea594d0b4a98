/**
 * SqliteWriter: a process that writes batches to a file without an end, and says the number of each that is done.
 * Always the same batches, so that whoever killed it knows what must be there.
 */
import { writeSync } from "node:fs"
import { Effect } from "effect"
import * as SqliteStore from "../../src/adapters/sqlite/SqliteStore.ts"
import { DEVICE, HOST } from "../../src/domain/Tier.ts"
import type { Share } from "../../src/ports/StateStore.ts"
import { forest, random } from "./Chains.ts"
import { stretchOf } from "./Shares.ts"

const stride = 8
const chains = forest(20, 40, random(1))

/** Stores and removals of some workers, on chains that branch. */
export const batch = (number: number, tenures: ReadonlyArray<number>): Array<Share> => {
  const next = random(1_000 + number)
  return Array.from({ length: 12 }, () => {
    const keys = chains[next(chains.length)]!
    const holding = { tenure: tenures[next(tenures.length)]!, layer: next(3) === 0 ? HOST : DEVICE, stride } as const
    const isStored = next(3) > 0
    return stretchOf(holding, keys, isStored, isStored ? 0 : next(keys.length / 2))
  }).flat()
}

if (import.meta.main) {
  const [file, first, ...tenures] = process.argv.slice(2)
  const options = { file: file!, ttlMs: 7_200_000, bytesMax: 2 ** 30, deadlineMs: 30_000 }
  const program = Effect.gen(function* () {
    const store = yield* SqliteStore.open(options)
    writeSync(1, "open\n")
    for (let number = Number(first); ; number++) {
      yield* store.write(batch(number, tenures.map(Number)))
      writeSync(1, `${number}\n`)
    }
  })
  await Effect.runPromise(Effect.scoped(program))
}
