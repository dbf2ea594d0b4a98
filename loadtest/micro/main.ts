/** `npm run bench`: what the request path costs, one line per case, with the gate it must reach where there is one. */
import { parseArgs } from "node:util"
import { getHeapStatistics } from "node:v8"
import { benches } from "./Benches.ts"
import { commit, header, line, machine, type Options } from "./Measure.ts"

const help = `npm run bench -- [name …] [options]

Runs the benches named (all when none is): ${Object.keys(benches).join(", ")}

  --repeats N      repeats of every figure            (5)
  --tiny           a run of seconds, to see that it works
  --help           this text

of prefix-table:
  --blocks N       distinct blocks in the index       (10000000; gates are judged from there up)
  --workers W      workers in the fleet               (64)
  --twin-blocks N  blocks for the plain Map/Set index (as many as the heap takes, up to --blocks; 0 leaves it out)`

/** Heap the plain index needs for a block, with room for the collector. */
const TWIN_BYTES_PER_BLOCK = 350

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    blocks: { type: "string" },
    workers: { type: "string" },
    repeats: { type: "string" },
    "twin-blocks": { type: "string" },
    tiny: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})

const count = (flag: string, value: string | undefined, fallback: number, least: number): number => {
  const number = value === undefined ? fallback : Number(value)
  if (Number.isInteger(number) && number >= least) return number
  console.error(`--${flag} is "${value}"; give a whole number from ${least} up`)
  process.exit(2)
}

if (values.help) {
  console.log(help)
  process.exit(0)
}
const names = positionals.length > 0 ? positionals : Object.keys(benches)
for (const name of names) {
  if (benches[name] !== undefined) continue
  console.error(`No bench is called "${name}"; there are: ${Object.keys(benches).join(", ")}`)
  process.exit(2)
}
const blocks = count("blocks", values.blocks, values.tiny ? 100_000 : 10_000_000, 20_000)
const twinFits = Math.floor(getHeapStatistics().heap_size_limit / TWIN_BYTES_PER_BLOCK)
const options: Options = {
  blocks,
  workers: count("workers", values.workers, 64, 1),
  repeats: count("repeats", values.repeats, values.tiny ? 1 : 5, 1),
  twinBlocks: Math.min(blocks, count("twin-blocks", values["twin-blocks"], twinFits >= blocks ? blocks : 1_000_000, 0)),
  cellMs: values.tiny ? 30 : 300
}

console.log(`${machine()} · commit ${commit()} · node ${process.version}`)
console.log(`npm run bench -- ${process.argv.slice(2).join(" ")}`.trimEnd())
const isJudged = options.blocks >= 10_000_000 && options.workers === 64
for (const name of names) {
  const { about, run } = benches[name]!
  console.log(`\n${name}: ${about(options)}`)
  const { agree, cases, compared } = await run(options)
  console.log(header())
  for (const measured of cases) console.log(line(measured, isJudged))
  console.log(`Answers compared: ${compared}.`)
  if (!isJudged && cases.some(({ gate }) => gate !== undefined)) {
    console.log("Gates are judged at 10,000,000 blocks and 64 workers.")
  }
  if (agree) continue
  console.error("The answers differ: the figures mean nothing.")
  process.exitCode = 1
}
