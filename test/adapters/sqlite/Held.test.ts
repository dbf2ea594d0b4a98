import { mkdirSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import type { Answers, Ask } from "../../../src/adapters/sqlite/Asked.ts"
import * as Held from "../../../src/adapters/sqlite/Held.ts"
import type { KeyLanes } from "../../../src/domain/Block.ts"
import { DEVICE } from "../../../src/domain/Tier.ts"
import * as ShareWire from "../../../src/hot/ShareWire.ts"
import type { Share } from "../../../src/ports/StateStore.ts"
import { extend, random } from "../../support/Chains.ts"
import { stretchOf } from "../../support/Shares.ts"

const stride = 32
const ttlMs = 1_000_000

let dir: string
let file: string
const opened: Array<Held.Held> = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "warmpath-sqlite-"))
  file = join(dir, "store.db")
})
afterEach(() => {
  for (const held of opened.splice(0)) end(held)
  rmSync(dir, { recursive: true })
})

const open = (bytesMax = 2 ** 30): Held.Held => {
  const held = Held.open({ file, ttlMs, bytesMax })
  opened.push(held)
  return held
}
/** The answer, and how many turns it took. */
const turns = <A extends Ask>(held: Held.Held, ask: A): { answer: Answers[A["_tag"]]; turns: number } => {
  const generator = held.answer(ask)
  for (let count = 1; ; count++) {
    const turn = generator.next()
    if (turn.done === true) return { answer: turn.value as Answers[A["_tag"]], turns: count }
  }
}
const ask = <A extends Ask>(held: Held.Held, one: A) => turns(held, one).answer
const end = (held: Held.Held): void => {
  if (opened.includes(held)) opened.splice(opened.indexOf(held), 1)
  try {
    ask(held, { _tag: "Close" })
  } catch {
    // Closed by the test.
  }
}

const enter = (held: Held.Held, name = "w"): number => ask(held, { _tag: "Enter", life: null, name })
const write = (held: Held.Held, shares: ReadonlyArray<Share>, nowS = 1_000) =>
  turns(held, { _tag: "Write", life: null, shares: ShareWire.encode(shares), nowS })
const depth = (held: Held.Held, keys: KeyLanes): number =>
  ask(held, { _tag: "Lookup", keys, count: keys.length / 2, stride })[0]?.blocks[DEVICE] ?? 0
const next = random(1)
const chain = (blocks = stride): KeyLanes => extend(new Int32Array(0), 0, blocks, next)
const stored = (tenure: number, keys: KeyLanes) => stretchOf({ tenure, layer: DEVICE, stride }, keys, true)

describe("A file", () => {
  it("knows everything again when it is opened again", () => {
    const first = open()
    const generation = ask(first, { _tag: "Generation" })
    const tenure = enter(first)
    const gone = enter(first, "gone")
    ask(first, { _tag: "Leave", life: null, name: "gone", tenure: gone })
    const keys = chain(100)
    write(first, stored(tenure, keys))
    end(first)
    const second = open()
    expect(ask(second, { _tag: "Generation" })).toBe(generation)
    expect(ask(second, { _tag: "Names" })).toEqual([{ name: "w", tenures: 1 }])
    expect(depth(second, keys)).toBe(100)
    expect(enter(second)).toBe(gone + 1)
  })

  it("of another life has other numbers", () => {
    const seen = new Set<unknown>()
    for (let i = 0; i < 4; i++) {
      const held = open()
      seen.add(ask(held, { _tag: "Generation" })).add(enter(held))
      end(held)
      rmSync(file)
    }
    expect(seen.size).toBe(8)
  })

  it("is refused with what to do when it is no database, another program's, of another layout, or no file", () => {
    const refused = (): unknown => {
      try {
        return open()
      } catch (error) {
        return error
      }
    }
    writeFileSync(file, "Dear diary, this is certainly no database, however long it goes on.".repeat(100))
    expect(refused()).toMatchObject({ code: "ERR_STORE_FORMAT", fix: expect.stringContaining("Delete the file") })
    rmSync(file)

    const others = new DatabaseSync(file)
    others.exec("CREATE TABLE people (name TEXT)")
    others.close()
    expect(refused()).toMatchObject({ code: "ERR_STORE_FORMAT", fix: "Give another file." })
    rmSync(file)

    end(open())
    const newer = new DatabaseSync(file)
    newer.exec("PRAGMA user_version = 7")
    newer.close()
    expect(refused()).toMatchObject({ code: "ERR_STORE_FORMAT", message: "its layout is number 7, this router's 1" })
    rmSync(file)

    mkdirSync(file)
    expect(refused()).toMatchObject({ code: "ERR_STORE_FILE" })
  })

  it("is one router's alone, also within one process, until that closes it", () => {
    const held = open()
    expect(() => open()).toThrow("another process has the file open")
    end(held)
    expect(() => open()).not.toThrow()
  })

  it("is made together with its folder", () => {
    file = join(dir, "state", "of", "router", "8080.db")
    open()
    expect(statSync(file).isFile()).toBe(true)
  })

  it("forgets pieces that nobody wrote for long, branches with what they branch off", () => {
    const held = open()
    const tenure = enter(held)
    const [kept, gone] = [chain(), chain()]
    const side = extend(kept, 10, 22, next)
    const lost = extend(gone, 10, 22, next)
    for (const keys of [kept, gone, side, lost]) write(held, stored(tenure, keys), 10_000)
    // The path that is written again passes what it branches off, so that the piece stays as a whole.
    write(held, stored(tenure, side), 10_500)
    expect(ask(held, { _tag: "Sweep", nowS: 10_900 })).toBe(0)
    expect(ask(held, { _tag: "Sweep", nowS: 11_200 })).toBe(1)
    expect([kept, side, gone, lost].map((keys) => depth(held, keys))).toEqual([32, 32, 0, 0])
    expect(ask(held, { _tag: "Sweep", nowS: 12_000 })).toBe(1)
    expect(ask(held, { _tag: "Facts" }).pieces).toBe(0)
    expect(ask(held, { _tag: "Read", after: null }).nodes).toEqual([])
  })

  it("stays within its size: what was written longest ago goes, what is newest stays", () => {
    const bytesMax = 2 ** 20
    const held = open(bytesMax)
    const tenure = enter(held)
    const chains = Array.from({ length: 6_000 }, () => chain())
    for (let at = 0; at < chains.length; at += 50) {
      write(
        held,
        chains.slice(at, at + 50).flatMap((keys) => stored(tenure, keys)),
        1_000 + at
      )
    }
    const depths = chains.map((keys) => depth(held, keys))
    const first = depths.indexOf(stride)
    // Half of what there could be room for at least, and nothing older than the oldest that is there, but for its second.
    expect(depths.slice(Math.ceil(first / 50) * 50).every((one) => one === stride)).toBe(true)
    expect(chains.length - first).toBeGreaterThan(bytesMax / 350 / 2)
    expect(ask(held, { _tag: "Facts" }).usedBytes).toBeLessThan(1.1 * bytesMax)
    end(held)
    expect(statSync(file).size).toBeLessThan(1.15 * bytesMax)
  })

  it("writes a large batch in many turns", () => {
    const held = open()
    const tenure = enter(held)
    const large = Array.from({ length: 3_000 }, () => chain()).flatMap((keys) => stored(tenure, keys))
    expect(write(held, large).turns).toBeGreaterThan(5)
  })

  it("takes no batch with something in it that is no share", () => {
    const held = open()
    const tenure = enter(held)
    const keys = chain(8)
    const good = stored(tenure, keys)[0]!
    expect(() => write(held, [{ ...good, told: 1 << 20 }])).toThrow("no share")
    expect(() => write(held, [{ ...good, stride: 64 }])).toThrow("no share")
    expect(depth(held, keys)).toBe(0)
  })

  it("begins anew, as another life, when it turns out to be damaged", () => {
    const first = open()
    const tenure = enter(first)
    const generation = ask(first, { _tag: "Generation" })
    const chains = Array.from({ length: 2_000 }, () => chain())
    write(
      first,
      chains.flatMap((keys) => stored(tenure, keys))
    )
    end(first)
    const size = statSync(file).size
    const fd = openSync(file, "r+")
    // The tables' first pages stay, those with the records do not.
    writeSync(fd, Buffer.alloc(size - 40 * 4_096, 0xa5), 0, size - 40 * 4_096, 40 * 4_096)
    const held = open()
    let error: unknown = null
    for (const keys of chains) {
      try {
        expect([0, stride]).toContain(depth(held, keys))
      } catch (thrown) {
        error = thrown
        break
      }
    }
    expect(held.recover(error)).toContain("begun anew")
    expect(ask(held, { _tag: "Generation" })).not.toBe(generation)
    expect(chains.some((keys) => depth(held, keys) > 0)).toBe(false)
    expect(() => ask(held, { _tag: "Enter", life: generation, name: "w" })).toThrow("begun anew")
    const again = enter(held)
    write(held, stored(again, chains[0]!))
    expect(depth(held, chains[0]!)).toBe(stride)
  })
})
