/**
 * Memory: what ten million blocks cost, in a store on its own: the chains of a trace's requests, whole, each at one of 64
 * workers, and as many more copies with keys of their own as it takes. Blocks of 16 tokens that part anywhere, so that pieces branch.
 */
import { Effect } from "effect"
import { strideOf } from "../../src/ports/StateStore.ts"
import * as Lineage from "../replay/Lineage.ts"
import { digits, row } from "./Report.ts"
import { isRight, type Open } from "./Stores.ts"
import { numbering, requestsOf } from "./Traces.ts"
import { type Blocks, hold, keysOf, type Query, query, shares, type Told, workersMax } from "./Workload.ts"

interface Copy {
  readonly blocks: number
  readonly told: ReadonlyArray<Told>
  /** Some of its requests. */
  readonly queries: ReadonlyArray<Query>
}

const stride = strideOf(16)
const batchMax = 256
/** Every so many requests of a copy are looked up at the end. */
const askedEvery = 25

/** Copies of a trace until they have so many blocks. */
function* copies(blocksMax: number): Generator<Copy> {
  const requests = requestsOf("mooncake_conversation_trace")
  const sessions = Lineage.sessions(requests)
  for (let offset = 0; offset < blocksMax; ) {
    const { blocks: numbered, count, numbers } = numbering("parted", offset)
    const paths: Array<Int32Array> = []
    for (let i = 0; i < requests.length && offset + count() < blocksMax; i++) paths.push(numbers(requests[i]!.blocks))
    const blocks = numbered()
    paths.forEach((path, i) => {
      for (const block of path) hold(blocks, block, sessions[i]! % workersMax)
    })
    const queries = paths.filter((_, i) => i % askedEvery === 0).map((path) => of(blocks, path, offset))
    yield { blocks: count(), told: shares({ blocks, stride, workers: workersMax }), queries }
    offset += count()
  }
}

/** Numbers of blocks are a copy's own; its keys begin at `offset`. */
const of = (blocks: Blocks, path: Int32Array, offset: number): Query => ({
  ...query(blocks, workersMax, path),
  keys: keysOf(path.map((block) => offset + block))
})

/** A store, and what it may need for ten million blocks. */
export interface Case {
  readonly open: Open
  readonly bytesMax: number
}

/** Answers how many lookups were wrong. */
export const measure = Effect.fnUntraced(function* (
  cases: ReadonlyArray<Case>,
  blocksMax: number,
  print: (line: string) => void,
  say: (text: string) => void
) {
  const nothing = {
    keys: new Int32Array(0),
    parents: new Int32Array(0),
    places: new Int32Array(0),
    masks: new Int32Array(0)
  }
  const workload = { name: "memory", stride, workers: workersMax, blocks: nothing, queries: [] }
  const opened = yield* Effect.forEach(cases, ({ open }) => open(workload))
  const before = yield* Effect.forEach(opened, ({ bytes }) => bytes)
  let blocks = 0
  let told = 0
  const queries: Array<Query> = []
  for (const copy of copies(blocksMax)) {
    for (let at = 0; at < copy.told.length; at += batchMax) {
      const batch = copy.told.slice(at, at + batchMax)
      for (const store of opened) yield* store.write(batch)
      say(`memory: ${told + at} shares written, ${digits(blocks)} of ${digits(blocksMax)} blocks before this copy`)
    }
    blocks += copy.blocks
    told += copy.told.length
    queries.push(...copy.queries)
  }
  print(`${digits(blocks)} blocks of ${workersMax} workers, told in ${digits(told)} shares`)
  print(row("", "MB", "bytes", "goal", "records", "lookups"))
  print(row("", "", "a block", "MB, below", "lost", "wrong"))
  let wrong = 0
  for (const [i, store] of opened.entries()) {
    const bytes = (yield* store.bytes) - before[i]!
    const lost = store.lost === undefined ? 0 : yield* store.lost
    const [way] = store.ways
    const answers = yield* Effect.forEach(queries, way!.lookup)
    const bad = answers.filter((answer, at) => !isRight(answer, queries[at]!)).length
    const goal = (cases[i]!.bytesMax * blocks) / 1e7 / 1e6
    const verdict = bytes / 1e6 < goal && lost === 0 ? "met" : "MISSED"
    print(
      row(
        store.name,
        digits(bytes / 1e6),
        digits(bytes / blocks),
        `${digits(goal)} ${verdict}`,
        digits(lost),
        `${bad} of ${queries.length}`
      )
    )
    wrong += bad
  }
  return wrong
}, Effect.scoped)
