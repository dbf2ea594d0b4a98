/** Receipts of a real router process: in its file, on NATS, told again by `explain`, made again by `replay`. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect } from "@nats-io/transport-node"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import * as NatsServer from "../loadtest/servers/NatsServer.ts"
import type { Receipt } from "../src/domain/Receipt.ts"
import * as Processes from "./support/Processes.ts"

const folder = mkdtempSync(join(tmpdir(), "warmpath-written-"))
const at = (name: string) => join(folder, name)
const closing: Array<() => Promise<unknown>> = []
const requests = 120

/** A command to its end. */
const warmpath = async (args: ReadonlyArray<string>) => {
  const child = Processes.warmpath(args)
  const code = await child.ended
  return { code, text: child.standard(), errors: child.errors() }
}

let nats: NatsServer.NatsServer
let router: Processes.Running
let url = ""
let adminUrl = ""
const heard: Array<Receipt> = []
let written: ReadonlyArray<Receipt> = []

const ask = async (id: string, words: number, stream = false): Promise<void> => {
  const content = `A tale of ${words % 5}. ${"And so it goes on. ".repeat(100 + (words % 5) * 50)} ${words}`
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-request-id": id },
    body: JSON.stringify({ model: "sim/qwen3", max_tokens: 8, stream, messages: [{ role: "user", content }] })
  })
  await response.text()
  expect(response.status).toBe(200)
}

const counted = async (): Promise<Readonly<Record<string, number>>> => {
  const text = await (await fetch(`${adminUrl}/metrics`)).text()
  const found = text.matchAll(/^warmpath_receipts_(written|dropped)_total\{sink="(file|nats)"\} (\d+)$/gm)
  return Object.fromEntries([...found].map(([, what, sink, count]) => [`${sink} ${what}`, Number(count)]))
}

beforeAll(async () => {
  const fleet = await SimFleet.start({ engines: 3, speed: 20 })
  closing.push(fleet.close)
  nats = await NatsServer.start()
  closing.push(nats.close)
  const listener = await connect({ servers: nats.url })
  closing.push(() => listener.close())
  listener.subscribe("receipts.here", { callback: (_, message) => void heard.push(message.json<Receipt>()) })
  await listener.flush()
  router = Processes.warmpath([
    ...["serve", "--port", "0", "--admin-port", "0", "--store", "none"],
    ...fleet.urls.flatMap((each) => ["--worker", each]),
    ...["--nats", nats.url, "--receipts-subject", "receipts.here"],
    ...["--receipts-file", at("receipts.jsonl"), "--receipts-file-bytes", "65536"]
  ])
  closing.push(router.stop)
  const [, front, admin] = await router.says(/at (http:\S+)\/v1 · admin at (http:\S+)\/admin/)
  url = front!
  adminUrl = admin!
  await vi.waitFor(async () => expect((await fetch(`${url}/ready`)).status).toBe(200), { timeout: 20_000 })
}, 60_000)

afterAll(async () => {
  for (const close of closing.reverse()) await close()
  rmSync(folder, { recursive: true })
})

describe("receipts that a router writes", () => {
  it("reach whoever listens on NATS, and are counted", async () => {
    for (let i = 0; i < requests; i += 6) {
      await Promise.all(Array.from({ length: 6 }, (_, j) => ask(`r${i + j}`, i + j, j % 2 === 0)))
    }
    await vi.waitFor(() => expect(heard).toHaveLength(requests), { timeout: 10_000 })
    expect(new Set(heard.map(({ id }) => id)).size).toBe(requests)
    const [first] = heard
    expect(await (await fetch(`${adminUrl}/admin/receipts/${first!.id}`)).json()).toEqual(first)
    await vi.waitFor(async () =>
      expect(await counted()).toEqual({
        ...{ "file written": requests, "file dropped": 0, "nats written": requests, "nats dropped": 0 }
      })
    )
  })

  it("are told by explain as the API has them, as JSON and for people", async () => {
    const api = (await (await fetch(`${adminUrl}/admin/receipts/r7`)).json()) as Receipt
    const json = await warmpath(["explain", "r7", "--admin", adminUrl, "--json"])
    expect(json.code, json.errors).toBe(0)
    expect(JSON.parse(json.text)).toEqual(api)
    const { text } = await warmpath(["explain", "r7", "--admin", adminUrl])
    const { candidates, worker } = api.tries[0]!
    expect(text).toContain(`Request r7, ${api.at}`)
    expect(text).toContain(`To ${worker}: answered 200`)
    expect(candidates.length).toBe(3)
    for (const candidate of candidates) {
      const row = text.split("\n").find((line) => line.includes(` ${candidate.worker} `))!
      expect(row).toContain(candidate.lost ?? "chosen")
    }
    const last = await warmpath(["explain", "--last", "2", "--admin", adminUrl, "--json"])
    const { receipts } = JSON.parse(last.text) as { receipts: ReadonlyArray<{ id: string }> }
    expect(receipts).toHaveLength(2)
    const lines = await warmpath(["explain", "--last", "2", "--admin", adminUrl])
    for (const { id } of receipts) expect(lines.text).toContain(` ${id} `)
  })

  it("can be asked for before a request is sent: by prompt, by messages, by a whole body", async () => {
    const messages = [{ role: "user", content: "And where would this one go?" }]
    writeFileSync(at("messages.json"), JSON.stringify(messages))
    writeFileSync(at("body.json"), JSON.stringify({ model: "sim/qwen3", messages, stream: true }))
    const model = ["--model", "sim/qwen3"]
    const [prompt, chat, body] = await Promise.all(
      [
        [...model, "--prompt", "Hello there"],
        [...model, "--messages", at("messages.json")],
        ["--body", at("body.json")]
      ].map(async (args) => {
        const { code, errors, text } = await warmpath(["explain", ...args, "--admin", adminUrl, "--json"])
        expect(code, errors).toBe(0)
        return JSON.parse(text) as { promptTokens: number; placement: { worker: string; candidates: unknown } }
      })
    )
    expect(chat!.placement.worker).toBe(body!.placement.worker)
    expect(chat!.promptTokens).toBe(body!.promptTokens)
    expect(prompt!.promptTokens).toBeLessThan(chat!.promptTokens)
    const { text } = await warmpath(["explain", ...model, "--prompt", "Hello there", "--admin", adminUrl])
    expect(text).toMatch(/^Now sim\/qwen3 would go to [\d.]+:\d+: \d+ tokens/)
  })

  it("are asked for in vain by an id that there is none of, or where no router is", async () => {
    const unknown = await warmpath(["explain", "nobody", "--admin", adminUrl])
    expect(unknown.code).toBe(1)
    expect(unknown.errors.replaceAll(/\s+/g, " ")).toMatch(
      /no receipt "nobody"\. .*2000 are kept, here since 20.*raise receiptsMax/
    )
    const other = await warmpath(["explain", "r1", "--admin", url])
    expect(other.errors.replaceAll(/\s+/g, " ")).toMatch(/answered 404, and not as a router does: give the address/)
  })

  it("are dropped on NATS alone while there is none, and requests go on", async () => {
    await nats.close()
    for (let i = 0; i < 6; i++) await ask(`away-${i}`, i)
    await vi.waitFor(async () => {
      const now = await counted()
      expect(now["file written"]).toBe(requests + 6)
      expect(now["nats written"]! + now["nats dropped"]!).toBe(requests + 6)
      expect(now["nats dropped"]).toBeGreaterThan(0)
    })
  })

  it("are all in the file when the router has left, and every placement comes out the same again", async () => {
    // The last ones are answered just before it goes.
    await Promise.all(Array.from({ length: 6 }, (_, i) => ask(`last-${i}`, i)))
    router.process.kill("SIGTERM")
    expect(await router.ended).toBe(0)
    const parts = readdirSync(folder).filter((name) => name.startsWith("receipts.jsonl"))
    expect(parts.sort().slice(0, 2)).toEqual(["receipts.jsonl", "receipts.jsonl.1"])
    const lines = parts.flatMap((name) => readFileSync(at(name), "utf8").trimEnd().split("\n"))
    written = lines.filter((line) => line !== "").map((line) => JSON.parse(line) as Receipt)
    expect(written).toHaveLength(requests + 12)
    const known = new Map(written.map((receipt) => [receipt.id, receipt]))
    for (const receipt of heard) expect(known.get(receipt.id)).toEqual(receipt)
    for (let i = 0; i < 6; i++) expect(known.has(`last-${i}`)).toBe(true)

    const files = parts.map(at)
    const { code, errors, text } = await warmpath(["replay", "--receipts", ...files, "--json", at("judged.json")])
    expect(code, errors).toBe(0)
    expect(text).toMatch(new RegExp(`^${requests + 12} placements of ${requests + 12} receipts, .*: 0 differ`))
    const judged = JSON.parse(readFileSync(at("judged.json"), "utf8")) as {
      regret: { placements: number; reported: number }
      variants: ReadonlyArray<{ name: string }>
    }
    expect(judged.regret).toMatchObject({ placements: requests + 12, reported: requests + 12 })
    expect(judged.variants).toHaveLength(12)
    const own = await warmpath(["replay", "--receipts", "--weights", "decode=0,basePrice=2", ...files])
    expect(own.text).toContain(" decode=0,basePrice=2 ")
  })

  it("that were changed since are named, and the command ends with 1", async () => {
    const changed = structuredClone(written[0]) as unknown as {
      tries: Array<{ decision: { cachedTokens: Array<number> } }>
    }
    changed.tries[0]!.decision.cachedTokens = changed.tries[0]!.decision.cachedTokens.map((tokens) => tokens + 32)
    writeFileSync(at("changed.jsonl"), `${JSON.stringify(changed)}\nnot a receipt\n`)
    const { code, errors, text } = await warmpath(["replay", "--receipts", at("changed.jsonl")])
    expect(code).toBe(1)
    expect(text).toMatch(/changed\.jsonl, line 2: no JSON object/)
    expect(errors).toMatch(/changed\.jsonl, line 1, request \S+: ownMs of .* was [\d.]+, recomputed/)
    const nothing = await warmpath(["replay", "--receipts"])
    expect(nothing.errors).toContain("Which receipts? warmpath replay --receipts FILE …")
    const typo = await warmpath(["replay", "--receipts", "--weights", "decod=1", at("changed.jsonl")])
    expect(typo.errors.replaceAll(/\s+/g, " ")).toContain("did you mean decode?")
  })

  it("keep a router from starting where their file cannot be", async () => {
    const { code, errors } = await warmpath([
      ...["serve", "--worker", "http://127.0.0.1:9", "--port", "0", "--admin-port", "0"],
      ...["--receipts-file", at("no/receipts.jsonl")]
    ])
    expect(code).toBe(1)
    expect(errors).toMatch(/--receipts-file: There is no folder .*\/no for .*make it, or name another file/)
  })
})
