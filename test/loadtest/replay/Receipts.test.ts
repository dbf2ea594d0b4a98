import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import picocolors from "picocolors"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as Receipts from "../../../loadtest/replay/receipts/Receipts.ts"
import * as Variants from "../../../loadtest/replay/receipts/Variants.ts"
import * as Rescored from "../../../loadtest/replay/report/Rescored.ts"
import * as Decision from "../../../src/hot/Decision.ts"
import { weights } from "../../../src/hot/Weights.ts"
import * as ReceiptFiles from "../../support/ReceiptFiles.ts"

const folder = mkdtempSync(join(tmpdir(), "warmpath-receipts-"))
const at = (name: string) => join(folder, name)
let receipts: ReadonlyArray<ReceiptFiles.Made> = []

const write = (name: string, some: ReadonlyArray<unknown>): string => {
  writeFileSync(at(name), ReceiptFiles.linesOf(some))
  return at(name)
}

beforeAll(() => {
  receipts = ReceiptFiles.made()
})
afterAll(() => rmSync(folder, { recursive: true }))

const none = picocolors.createColors(false)

describe("warmpath replay --receipts", () => {
  it("makes every placement again, of files that were set aside and packed, too", async () => {
    const half = receipts.length >> 1
    writeFileSync(at("receipts.jsonl.1.gz"), gzipSync(ReceiptFiles.linesOf(receipts.slice(0, half))))
    const newest = write("receipts.jsonl", receipts.slice(half))
    const read = await Receipts.run([newest, at("receipts.jsonl.1.gz")], [])
    expect(receipts.length).toBeGreaterThan(100)
    expect(read).toMatchObject({ receipts: receipts.length, placements: receipts.length, differ: 0, unread: 0 })
    expect([read.from, read.to]).toEqual([receipts[0]!.at, receipts.at(-1)!.at])
  })

  it("says which receipt was changed since, and what of it", async () => {
    const changed = structuredClone(receipts.slice(0, 20)) as Array<ReceiptFiles.Made>
    ;(changed[4]!.tries[0]!.candidates[2] as { waitMs: number }).waitMs += 1
    const other = changed[9]!.tries[0]!
    changed[9] = { ...changed[9]!, tries: [{ ...other, slot: (other.slot + 1) % 4, worker: "elsewhere" }] }
    const read = await Receipts.run([write("changed.jsonl", changed)], [])
    expect(read.differ).toBe(2)
    const [first, second] = Rescored.difference(read).split("\n")
    expect(first).toMatch(
      /changed\.jsonl, line 5, request request-5: waitMs of 10\.0\.0\.2:8000 was [\d.]+, recomputed/
    )
    expect(second).toMatch(/line 10, request request-10: elsewhere was chosen, recomputed it is 10\.0\.0\.\d:8000/)
  })

  it("judges other weights as placing under them does, and leaves those there are as they were", async () => {
    const before = { ...weights }
    const variants = [
      Variants.parse("basePrice=0,busyPrice=0,arrivalsPrice=0"),
      Variants.parse(`decode=${weights.decode}`)
    ]
    const read = await Receipts.run([write("all.jsonl", receipts)], variants)
    expect(weights).toEqual(before)
    // By hand, one receipt after the other.
    Object.assign(weights, { basePrice: 0, busyPrice: 0, arrivalsPrice: 0 })
    const slots = receipts.map(({ tries }) => Decision.again(tries[0]!.decision).slot)
    Object.assign(weights, before)
    let [differ, heldTokens, waitOwnMs] = [0, 0, 0]
    for (const [i, { tries }] of receipts.entries()) {
      const { candidates, decision, slot } = tries[0]!
      if (slots[i] === slot) continue
      const [one, other] = [slot, slots[i]!].map((each) => candidates.find((candidate) => candidate.slot === each)!)
      differ++
      heldTokens += decision.cachedTokens[slots[i]!]! - decision.cachedTokens[slot]!
      waitOwnMs += other!.waitMs + other!.ownMs - (one!.waitMs + one!.ownMs)
    }
    expect(differ).toBeGreaterThan(5)
    const [priceless, same] = read.variants
    expect(priceless).toMatchObject({ differ, heldTokens })
    expect(priceless!.waitOwnMs).toBeCloseTo(waitOwnMs, 6)
    expect(same).toMatchObject({ differ: 0, heldTokens: 0, waitOwnMs: 0 })
  })

  it("without any weights given tries each term off and doubled", async () => {
    const read = await Receipts.run([write("all.jsonl", receipts)], Variants.usual())
    expect(read.variants.map(({ name }) => name)).toEqual(
      Object.keys(weights).flatMap((name) => [`without ${name}`, `${name} doubled`])
    )
    expect(read.variants.some(({ differ }) => differ > 0)).toBe(true)
    const text = Rescored.text(read, none)
    expect(text).toContain(`${receipts.length} placements of ${receipts.length} receipts`)
    expect(text).toContain("Each decision is judged alone")
  })

  it("adds up what was given away by choice and by picture, and names each worker's ten worst", async () => {
    const some = receipts.slice(0, 60).map((receipt, i) => {
      const [told] = receipt.tries
      const predictedTokens = 100
      return {
        ...receipt,
        tries: [{ ...told!, worker: `w${i % 2}`, bestTokens: predictedTokens + 2 * i, predictedTokens }],
        regret: { choiceTokens: 2 * i, pictureTokens: i % 2 === 0 ? null : i }
      }
    })
    const { regret } = await Receipts.run([write("regret.jsonl", some)], [])
    expect(regret).toMatchObject({ placements: 60, choiceTokens: 60 * 59, reported: 30, pictureTokens: 900 })
    const [first, second] = regret.workers
    expect(first).toMatchObject({ worker: "w1", placements: 30, choiceTokens: 1_800, reported: 30, pictureTokens: 900 })
    expect(second).toMatchObject({ worker: "w0", choiceTokens: 1_740, reported: 0, pictureTokens: 0 })
    expect(first!.worst).toHaveLength(10)
    expect(first!.worst[0]).toEqual({ id: "request-60", choiceTokens: 118, pictureTokens: 59 })
    expect(second!.worst.map(({ choiceTokens }) => choiceTokens)).toEqual([116, 112, 108, 104, 100, 96, 92, 88, 84, 80])
  })

  it("says which lines it cannot read and goes on with the others", async () => {
    const [one, two, three] = receipts
    const text = [
      JSON.stringify(one),
      JSON.stringify({ ...two, version: 9 }),
      '{"half": ',
      JSON.stringify({ ...three, tries: [{ ...three!.tries[0], decision: { atMs: 1 } }] }),
      JSON.stringify(three)
    ]
    writeFileSync(at("mixed.jsonl"), text.join("\n"))
    writeFileSync(at("torn.gz"), gzipSync(ReceiptFiles.linesOf(receipts)).subarray(0, 20_000))
    const read = await Receipts.run([at("mixed.jsonl"), at("torn.gz")], [])
    expect(read.differ).toBe(0)
    expect(read.receipts).toBeGreaterThan(2)
    expect(read.unread).toBe(4)
    expect(read.unreadFirst[0]).toMatch(/mixed\.jsonl, line 2: a receipt of version 9\./)
    expect(read.unreadFirst[1]).toMatch(/mixed\.jsonl, line 3: no JSON object, or half of one/)
    expect(read.unreadFirst[2]).toMatch(/mixed\.jsonl, line 4: tries\[0\]\.decision: /)
    expect(read.unreadFirst[3]).toMatch(/torn\.gz: .*ends early/)
    expect(Rescored.text(read, none)).toContain("Not read: 4 lines")
  })

  it("leaves what another policy chose out of the judging, and a placement without its decision", async () => {
    const some = receipts.slice(0, 9).map((receipt, i) => ({
      ...receipt,
      tries: [
        {
          ...receipt.tries[0]!,
          ...(i < 3 ? { policy: "round-robin", slot: (receipt.tries[0]!.slot + 1) % 4 } : {}),
          ...(i === 8 ? { decision: null } : {})
        }
      ]
    }))
    const read = await Receipts.run([write("others.jsonl", some)], Variants.usual())
    expect(read).toMatchObject({ receipts: 9, placements: 8, byCost: 5, unkept: 1, differ: 0 })
    expect(Rescored.text(read, none)).toContain("3 placements by other policies")
  })

  it("refuses files that are not there or hold no receipt, and weights that there are none of", async () => {
    await expect(Receipts.run([at("missing.jsonl")], [])).rejects.toThrow(/There is no file .*missing\.jsonl/)
    writeFileSync(at("other.jsonl"), '{"prompt": "a trace"}\n')
    await expect(Receipts.run([at("other.jsonl")], [])).rejects.toThrow(
      /no receipt in .*other\.jsonl.*--receipts-file[\s\S]*line 1: no receipt: \{"prompt"/
    )
    expect(() => Variants.parse("decod=1")).toThrow(/no weight "decod"; did you mean decode\? There are basePrice=0\.5/)
    expect(() => Variants.parse("price=2")).toThrow(/did you mean basePrice or busyPrice or arrivalsPrice\?/)
    expect(() => Variants.parse("decode")).toThrow(/decode is a number from 0 up, decode=0\.05 as it is now/)
    expect(() => Variants.parse("decode=-1")).toThrow(/decode is a number/)
    expect(Variants.parse("decode=0, space=1e-1")).toEqual({
      name: "decode=0, space=1e-1",
      weights: { decode: 0, space: 0.1 }
    })
  })
})
