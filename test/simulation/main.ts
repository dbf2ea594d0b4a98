/**
 * Runs seeded simulations of the router's picture of a cache, and says which end in anything but the truth.
 *
 *   npm run simulate -- --runs 100000     seeds 0 … 99 999, on two threads
 *   npm run simulate -- --seed 4711                one run, again
 */
import { availableParallelism } from "node:os"
import { parseArgs } from "node:util"
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads"
import * as TruthSim from "./TruthSim.ts"

/** Seeds one thread runs before it reports. */
const lotSize = 500

interface Lot {
  readonly failures: ReadonlyArray<readonly [seed: number, wrong: string]>
  readonly healedMs: ReadonlyArray<number>
  readonly replays: number
}

const attempt = (seed: number): TruthSim.Outcome => {
  try {
    return TruthSim.run(seed)
  } catch (error) {
    return { wrong: error instanceof Error ? String(error.stack) : String(error), replays: 0, healedMs: 0 }
  }
}

const lotFrom = (from: number, count: number): Lot => {
  const failures: Array<readonly [number, string]> = []
  const healedMs: Array<number> = []
  let replays = 0
  for (let seed = from; seed < from + count; seed++) {
    const outcome = attempt(seed)
    if (outcome.wrong !== null) failures.push([seed, outcome.wrong])
    healedMs.push(outcome.healedMs)
    replays += outcome.replays
  }
  return { failures, healedMs, replays }
}

const main = async (): Promise<void> => {
  const { values } = parseArgs({
    options: {
      runs: { type: "string", default: "100000" },
      from: { type: "string", default: "0" },
      seed: { type: "string" }
    }
  })
  if (values.seed !== undefined) {
    const { healedMs, replays, wrong } = attempt(Number(values.seed))
    console.log(
      `seed ${values.seed}: ${wrong ?? `the truth, ${healedMs / 1_000} s after the last fault, ${replays} replays`}`
    )
    process.exitCode = wrong === null ? 0 : 1
    return
  }
  const runs = Number(values.runs)
  const end = Number(values.from) + runs
  const begun = performance.now()
  const healed: Array<number> = []
  let next = Number(values.from)
  let failed = 0
  let replays = 0
  const take = (lot: Lot): void => {
    healed.push(...lot.healedMs)
    replays += lot.replays
    for (const [seed, wrong] of lot.failures) {
      failed++
      console.log(`seed ${seed}: ${wrong}\n  again: npm run simulate -- --seed ${seed}`)
    }
    const seconds = (performance.now() - begun) / 1_000
    if (process.stderr.isTTY)
      process.stderr.write(`\r${healed.length} of ${runs} runs, ${failed} failed, ${seconds.toFixed(0)} s `)
  }
  await Promise.all(
    Array.from({ length: Math.min(availableParallelism(), Math.ceil(runs / lotSize)) }, () => {
      const thread = new Worker(new URL(import.meta.url), { workerData: true })
      return new Promise<void>((resolve, reject) => {
        const send = (): void => {
          if (next >= end) return void thread.terminate().then(() => resolve())
          const count = Math.min(lotSize, end - next)
          thread.postMessage([next, count])
          next += count
        }
        thread.on("message", (lot: Lot) => {
          take(lot)
          send()
        })
        thread.on("error", reject)
        send()
      })
    })
  )
  healed.sort((a, b) => a - b)
  const at = (share: number): string =>
    `${healed[Math.min(healed.length - 1, Math.floor(healed.length * share))]! / 1_000} s`
  const seconds = ((performance.now() - begun) / 1_000).toFixed(0)
  console.log(
    `${process.stderr.isTTY ? "\n" : ""}${runs} runs in ${seconds} s, ${failed} not the truth; healed within ${at(0.5)} (p50), ${at(0.9)} (p90) of virtual time, ` +
      `${(replays / runs).toFixed(1)} replays a run`
  )
  process.exitCode = failed === 0 ? 0 : 1
}

if (isMainThread) await main()
else if (workerData === true)
  parentPort!.on("message", ([from, count]: [number, number]) => parentPort!.postMessage(lotFrom(from, count)))
