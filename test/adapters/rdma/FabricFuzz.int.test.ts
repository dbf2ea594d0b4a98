import { describe, expect, it } from "vitest"
import * as FabricRig from "../../support/FabricRig.ts"

const rig = FabricRig.make()

/** Calls everything with anything, in a seeded order; whatever it does, the process goes on. */
const anything = (seed: number, provider: string) => `
let state = ${seed}
const random = (below) => { state = (Math.imul(state, 1664525) + 1013904223) | 0; return (state >>> 8) % below }
const pick = (list) => list[random(list.length)]
options.provider = ${JSON.stringify(provider)}
const raw = () => native.open(options.provider, options.host, options.library, 4096, 8, () => {}, () => {}, () => {}, () => {}, () => {})
const gone = new Uint8Array(64); structuredClone(gone.buffer, { transfer: [gone.buffer] })
const shared = new Uint8Array(new SharedArrayBuffer(64))
const region = fabric.map(null, 65536)
const moved = fabric.map(null, 4096); const movedTo = moved.transfer()
let ends = [raw(), raw()], peers = []
const mutated = () => {
  const bytes = new Uint8Array(pick(ends).address)
  // Families and ports, never another host; and of names only what is none, because libfabric's shm believes any other.
  for (let i = random(3); i > 0; i--) bytes[random(options.provider === "tcp" ? 4 : 3)] ^= 1 << random(8)
  return random(4) === 0 ? bytes.subarray(0, random(bytes.length + 1)) : bytes
}
const values = [
  () => undefined, () => null, () => true, () => NaN, () => -1, () => 0, () => 1, () => 1.5, () => 2 ** 31, () => 2 ** 53, () => 1e300,
  () => Infinity, () => 0n, () => -1n, () => 2n ** 64n - 1n, () => 2n ** 64n, () => 1n << 4000n, () => "", () => "x", () => "a".repeat(5000),
  () => "zero\\0byte", () => "\\ud800", () => Symbol("s"), () => () => {}, () => { throw new Error("never called") }, () => ({}), () => [],
  () => new Proxy({}, { get() { throw new Error("a trap") } }), () => new Uint8Array(0), () => new Uint8Array(random(9000)), () => Buffer.from("hello"),
  () => gone, () => shared, () => new Float64Array(8), () => new DataView(new ArrayBuffer(8)), () => new ArrayBuffer(16), () => region, () => moved,
  () => movedTo, () => new SharedArrayBuffer(16), () => new ArrayBuffer(8, { maxByteLength: 64 }), mutated, () => random(2 ** 16), () => pick(peers) ?? 1,
  () => BigInt(random(2 ** 24)), () => Object.create(null), () => new Date()
]
const any = () => { const make = pick(values); return make.toString().includes("never called") ? make : make() }
const sensible = {
  insert: () => [mutated()], remove: () => [pick(peers) ?? 1], send: () => [pick(peers) ?? 1, new Uint8Array(random(4097))],
  read: () => [pick(peers) ?? 1, random(1000), BigInt(random(65536)), BigInt(random(2 ** 24)), 1 + random(70000)],
  expose: () => [region], setSpin: () => [random(200)], setTicking: () => [random(2)], close: () => []
}
let thrown = 0, done = 0
const attempt = (call) => { try { done++; return call() } catch { thrown++ } }
for (let step = 0; step < 20000; step++) {
  const end = pick(ends)
  const name = pick(Object.keys(sensible))
  // In one process shm's endpoints use each other's memory: one alone may not be closed.
  if (name === "close" && (options.provider === "shm" || random(40) > 0)) continue
  const values = random(3) > 0 ? sensible[name]() : Array.from({ length: random(7) }, any)
  const result = attempt(() => end[name](...values))
  if (name === "insert" && typeof result === "number") peers.push(result)
  if (random(50) === 0) attempt(() => native.providers(any()))
  if (random(50) === 0) attempt(() => native.map(any(), pick([any(), -5, 0.5])))
  if (random(50) === 0) attempt(() => native.open(...Array.from({ length: random(11) }, any)))
  if (random(400) === 0) { for (const old of ends) old.close(); ends = [raw(), raw()]; peers = [] }
  if (random(50) === 0) await new Promise((resolve) => setImmediate(resolve))
  if (peers.length > 40) peers.shift()
}
for (const end of ends) end.close()
console.log(done > 10000 && thrown > 1000 ? "still here" : done + " " + thrown)
setTimeout(() => process.exit(), 200)
`

describe.each(["tcp", "shm"])("Whatever the addon is given, over %s", (provider) => {
  it.each([1, 2, 3])("the process goes on (seed %i)", { timeout: 180_000 }, async (seed) => {
    expect(await rig.program(anything(seed, provider))).toBe("still here")
  })
})

describe("What callers are told of wrong arguments", () => {
  it("names the argument", () => {
    const own = rig.open()
    const to = own.insert(own.address)
    const region = { key: 1n, base: 0n }
    expect(() => own.send(to, "text" as never)).toThrow("A message must be a Uint8Array")
    expect(() => own.insert(new Uint8Array(3))).toThrow("These 3 bytes are no address of the libfabric provider tcp")
    expect(() => own.read(to, region, -1, 10, 100)).toThrow("The offset must be a whole number from 0 to")
    expect(() => own.read(to, region, 0, 0, 100)).toThrow("The length must be a whole number from 1 to 16777216, not 0")
    expect(() => own.read(to, region, 0, 10, Number.NaN)).toThrow("The deadline")
    expect(() => own.expose(new ArrayBuffer(64))).toThrow("must be an ArrayBuffer that map() made")
    expect(() => rig.open({ receives: 0 })).toThrow("receives must be a whole number from 1 to 65536, not 0")
    expect(() => rig.open({ sendsMax: 0.5 })).toThrow("sendsMax")
    expect(() => rig.open({ messageBytesMax: 1e9 })).toThrow("messageBytesMax")
  })
})
