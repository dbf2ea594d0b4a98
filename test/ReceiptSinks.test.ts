import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setImmediate as turn } from "node:timers/promises"
import { Effect, Exit, Scope } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import type { Receipt } from "../src/domain/Receipt.ts"
import * as ReceiptSinks from "../src/ReceiptSinks.ts"

const folder = mkdtempSync(join(tmpdir(), "warmpath-sinks-"))
afterAll(() => rmSync(folder, { recursive: true }))

const none = { receiptsFile: null, receiptsFileBytes: 1 << 20, receiptsSubject: null }
const receipt = (id: number): Receipt => ({ version: 1, id: `${id}` }) as Receipt

const open = async (config: Partial<ReceiptSinks.Deps<number>["config"]>, isAway = () => false) => {
  const scope = Scope.makeUnsafe()
  const published: Array<string> = []
  const sinks = await Effect.runPromise(
    ReceiptSinks.make<number>({
      config: { ...none, ...config },
      publish: (subject, data) => {
        if (isAway()) return false
        published.push(`${subject} ${Buffer.from(data)}`)
        return true
      },
      receipt
    }).pipe(Effect.provideService(Scope.Scope, scope))
  )
  return { sinks, published, close: () => Effect.runPromise(Scope.close(scope, Exit.void)) }
}

const told = (id: number) => `receipts.a {"version":1,"id":"${id}"}`

describe("receipts that are written somewhere", () => {
  it("are none where nobody wants them", async () => {
    expect((await open({})).sinks).toBeNull()
  })

  it("cost nothing on the turn of their request, and come in their order, some at a time", async () => {
    const { close, published, sinks } = await open({ receiptsSubject: "receipts.a" })
    for (let id = 0; id < 20; id++) sinks!.add(id)
    expect(published).toEqual([])
    const after: Array<number> = []
    while (published.length < 20) {
      await turn()
      after.push(published.length)
    }
    // Others had their turns in between.
    expect(after.length).toBeGreaterThan(1)
    expect(published).toEqual(Array.from({ length: 20 }, (_, id) => told(id)))
    expect(sinks!.numbers()).toEqual([{ sink: "nats", written: 20, dropped: 0 }])
    await close()
  })

  it("are the newest when there are more than can be written, and the others are counted", async () => {
    const { close, published, sinks } = await open({ receiptsSubject: "receipts.a" })
    for (let id = 0; id < 5_000; id++) sinks!.add(id)
    await close()
    const { dropped, written } = sinks!.numbers()[0]!
    expect(dropped).toBeGreaterThan(1_000)
    expect(written + dropped).toBe(5_000)
    expect(published).toEqual(Array.from({ length: written }, (_, i) => told(dropped + i)))
  })

  it("are dropped and counted while the broker is away, and kept in the file nevertheless", async () => {
    const file = join(folder, "away.jsonl")
    let away = true
    const { close, published, sinks } = await open({ receiptsSubject: "receipts.a", receiptsFile: file }, () => away)
    sinks!.add(1)
    while (sinks!.numbers().some(({ dropped, sink }) => sink === "nats" && dropped === 0)) await turn()
    away = false
    sinks!.add(2)
    await close()
    expect(published).toEqual([told(2)])
    expect(sinks!.numbers()).toEqual([
      { sink: "file", written: 2, dropped: 0 },
      { sink: "nats", written: 1, dropped: 1 }
    ])
    expect(readFileSync(file, "utf8")).toBe('{"version":1,"id":"1"}\n{"version":1,"id":"2"}\n')
  })

  it("cost only themselves when one cannot be made", async () => {
    const scope = Scope.makeUnsafe()
    const lines: Array<string> = []
    const make = ReceiptSinks.make<number>({
      config: { ...none, receiptsSubject: "receipts.a" },
      publish: (_, data) => lines.push(`${Buffer.from(data)}`) > 0,
      receipt: (id) => {
        if (id === 1) throw new Error("a mistake of ours")
        return receipt(id)
      }
    }).pipe(Effect.provideService(Scope.Scope, scope))
    const sinks = await Effect.runPromise(make)
    const warned = once(process, "warning")
    for (const id of [0, 1, 2]) sinks!.add(id)
    expect(String((await warned)[0])).toContain("a mistake of ours")
    await Effect.runPromise(Scope.close(scope, Exit.void))
    expect(lines).toEqual(['{"version":1,"id":"0"}', '{"version":1,"id":"2"}'])
    expect(sinks!.numbers()).toEqual([{ sink: "nats", written: 2, dropped: 1 }])
  })

  it("keep a router from starting whose file cannot be written, and say why", async () => {
    await expect(open({ receiptsFile: join(folder, "no", "receipts.jsonl") })).rejects.toThrow(
      /--receipts-file: There is no folder .*make it, or name another file/
    )
  })
})
