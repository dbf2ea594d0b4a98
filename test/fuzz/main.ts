/**
 * Fuzzes what reads the engines' bytes.
 *
 *   node test/fuzz/main.ts --bytes 100000000 --seed 1      as many bytes into each reader
 *   node test/fuzz/main.ts --seed 1 --iteration 4711       one iteration of it, again
 */
import { parseArgs } from "node:util"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { type Counts, iterate, noCounts, run } from "./Fuzz.ts"

const { values } = parseArgs({
  options: {
    bytes: { type: "string", default: "100000000" },
    seed: { type: "string", default: "1" },
    iteration: { type: "string" }
  }
})

setFlagsFromString("--expose-gc")
const gc = runInNewContext("gc") as () => void

const line = (counts: Counts): string =>
  `${(counts.frameBytes / 1e6).toFixed(0)} MB in ${counts.frames} frames (${counts.batches} batches, ${counts.scanned} scanned, ` +
  `${counts.blocks} blocks compared), ` +
  `${(counts.answerBytes / 1e6).toFixed(0)} MB in ${counts.streams} streams and ${counts.answers} answers; ` +
  `held: ${(counts.grownBytes / 1e6).toFixed(1)} MB more than at first, process: ${(counts.rssBytes / 1e6).toFixed(0)} MB at most`

const seed = Number(values.seed)
try {
  if (values.iteration !== undefined) {
    const counts = noCounts()
    iterate(seed, Number(values.iteration), counts)
    console.log(`iteration ${values.iteration} of seed ${seed} holds: ${line(counts)}`)
  } else {
    const begun = performance.now()
    let next = 20e6
    const progress = (counts: Counts): void => {
      if (counts.frameBytes + counts.answerBytes < next) return
      next += 20e6
      console.log(line(counts))
    }
    const counts = run({ bytes: Number(values.bytes), seed, gc, progress })
    console.log(`seed ${seed}, ${counts.iterations} iterations in ${((performance.now() - begun) / 1e3).toFixed(0)} s`)
    console.log(line(counts))
    console.log("no crash, no growth, no wrong block")
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
