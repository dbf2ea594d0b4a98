/** Doctor: what an operator should know of the metadata store, with what it takes from here. */
import { randomBytes } from "node:crypto"
import { performance } from "node:perf_hooks"
import { Effect, Schedule } from "effect"
import type { Finding, Interface, Share, StoreError } from "./ports/StateStore.ts"

const stride = 32
const blocks = [8, 64, 512] as const
const lookups = 200
const writes = 100
/** A server in another region has answered by then. */
const connectMs = 3_000

const randomKeys = (count: number): Int32Array => {
  const bytes = randomBytes(count * 8)
  return new Int32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
}

/** One chain, as it is held by somebody. */
const sharesOf = (keys: Int32Array, tenure: number): ReadonlyArray<Share> =>
  Array.from({ length: keys.length / 2 / stride }, (_, piece) => {
    const from = 2 * stride * piece
    return {
      ...{ tenure, layer: 0, stride, piece, told: -1, held: -1 },
      parent: piece === 0 ? null : keys.slice(from - 2, from),
      keys: keys.slice(from, from + 2 * stride)
    } as const
  })

const microseconds = (ms: number): string => (ms < 1 ? `${Math.round(ms * 1_000)} µs` : `${ms.toPrecision(3)} ms`)

/** Each run after the one before, in ms, in order of size. */
const times = Effect.fnUntraced(function* (count: number, run: Effect.Effect<unknown, StoreError>) {
  const found: Array<number> = []
  for (let i = 0; i < count; i++) {
    const begun = performance.now()
    yield* run
    found.push(performance.now() - begun)
  }
  return found.sort((a, b) => a - b)
})

const shown = (found: ReadonlyArray<number>): string =>
  `p50 ${microseconds(found[Math.floor(found.length / 2)]!)}, p99 ${microseconds(found[Math.floor(found.length * 0.99)]!)}`

/** Writes a chain under a name of its own, looks it up, and takes the name out again. */
const measure = (store: Interface): Effect.Effect<ReadonlyArray<Finding>, StoreError> =>
  Effect.gen(function* () {
    yield* store.generation
    const name = `warmpath doctor ${randomBytes(8).toString("hex")}`
    const keys = randomKeys(Math.max(...blocks))
    const tenure = yield* store.enter(name)
    const findings: Array<Finding> = []
    const measured = Effect.gen(function* () {
      const shares = sharesOf(keys, tenure)
      const written = yield* times(writes, store.write(shares))
      findings.push({ what: `write of ${keys.length / 2} blocks`, value: shown(written), fix: null })
      for (const count of blocks) {
        const found = yield* times(lookups, store.lookup(keys, count, stride))
        findings.push({ what: `lookup of ${count} blocks`, value: shown(found), fix: null })
      }
      const reach = yield* store.lookup(keys, keys.length / 2, stride)
      const held = reach.find((one) => one.name === name)?.blocks[0] ?? 0
      const isWhole = held === keys.length / 2
      findings.push({
        what: "what was written is found",
        value: isWhole ? "yes" : `${held} of ${keys.length / 2} blocks`,
        fix: isWhole
          ? null
          : "It loses what is written: look for evictions, or for another life of the store meanwhile."
      })
    })
    yield* measured.pipe(Effect.ensuring(Effect.ignore(store.leave(name, tenure))))
    return findings
  })

/** All there is to say of it. Nothing fails: what cannot be done is a finding, too. */
export const examine = Effect.fnUntraced(function* (store: Interface): Effect.fn.Return<ReadonlyArray<Finding>> {
  yield* Effect.sync(() => store.status().connected).pipe(
    Effect.repeat({ until: (is) => is, schedule: Schedule.spaced("50 millis") }),
    Effect.timeoutOption(connectMs)
  )
  const { connected, server, why } = store.status()
  if (!connected) {
    return [
      { what: store.url, value: `away: ${why}`, fix: "Start it, or correct the address; routers serve without it." }
    ]
  }
  const of = (what: string, found: Effect.Effect<ReadonlyArray<Finding>, StoreError>) =>
    Effect.catch(found, (error) =>
      Effect.succeed([{ what, value: error.message, fix: "It is there, but not usable like this." }])
    )
  return [
    { what: store.url, value: server ?? "connected", fix: null },
    ...(yield* of("what it says of itself", store.findings)),
    ...(yield* of("measuring", measure(store)))
  ]
})
