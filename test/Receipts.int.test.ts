import { once } from "node:events"
import { createServer, type ServerResponse } from "node:http"
import { type AddressInfo, connect } from "node:net"
import { afterEach, describe, expect, it } from "vitest"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import type { Receipt, ReceiptLine, ReceiptTry } from "../src/domain/Receipt.ts"
import * as Decision from "../src/hot/Decision.ts"
import * as TestRouter from "./support/TestRouter.ts"

interface Fault {
  readonly error: { readonly code: string; readonly message: string; readonly fix: string }
}

interface Explained {
  readonly model: string
  readonly promptTokens: number
  readonly exact: boolean
  readonly placement: ReceiptTry
}

let stop: Array<() => Promise<void>> = []
afterEach(async () => {
  for (const close of stop.reverse()) await close()
  stop = []
})

const started = async (urls: ReadonlyArray<string>, knobs: Readonly<Record<string, unknown>> = {}) => {
  const router = await TestRouter.start({ workers: urls.join(","), ...knobs })
  stop.push(router.close)
  const admin = async <A>(path: string, body?: unknown): Promise<{ readonly status: number; readonly json: A }> => {
    const how = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) }
    const response = await fetch(`${router.adminUrl}${path}`, body === undefined ? {} : how)
    return { status: response.status, json: (await response.json()) as A }
  }
  return {
    url: router.url,
    adminUrl: router.adminUrl,
    admin,
    ask: (body: Record<string, unknown>, headers: Record<string, string> = {}) =>
      fetch(`${router.url}/v1/${"prompt" in body ? "" : "chat/"}completions`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ model: "sim/qwen3", max_tokens: 8, ...body })
      }),
    /** It is there once the answer has ended, which its client may see first. */
    receipt: async (id: string): Promise<Receipt> => {
      await expect.poll(async () => (await admin(`/admin/receipts/${id}`)).status).toBe(200)
      return (await admin<Receipt>(`/admin/receipts/${id}`)).json
    },
    lines: async (query = "") => {
      const { json } = await admin<{ readonly receipts: ReadonlyArray<ReceiptLine> }>(`/admin/receipts${query}`)
      return json.receipts
    }
  }
}

const simulated = async (engines = 3, knobs: Readonly<Record<string, unknown>> = {}) => {
  const fleet = await SimFleet.start({ engines, speed: 10 })
  stop.push(fleet.close)
  return started(fleet.urls, knobs)
}

/** An engine that merely speaks the OpenAI API, and answers so. */
const engine = async (answer: (response: ServerResponse) => void): Promise<string> => {
  const server = createServer((request, response) => {
    request.resume()
    request.on("end", () => {
      if (request.url === "/v1/models") {
        response.setHeader("content-type", "application/json")
        response.end('{"object":"list","data":[{"id":"sim/qwen3","root":"m","parent":null}]}')
      } else if (request.method !== "POST" || request.url === "/tokenize") response.writeHead(404).end()
      else answer(response)
    })
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  stop.push(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const talk = (words: number) => [
  { role: "user", content: `A tale of ${words}. ${"And so it goes on. ".repeat(words)}` }
]
const host = (url: string) => new URL(url).host

describe("a receipt", () => {
  it("says why a request went where it went, and what its engine took from its cache", async () => {
    const { ask, receipt } = await simulated()
    await (await ask({ messages: talk(200) }, { "x-request-id": "first" })).text()
    await receipt("first")
    const answer = await ask({ messages: talk(200) }, { "x-request-id": "again" })
    const { usage } = (await answer.json()) as {
      usage: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } }
    }
    const again = await receipt("again")
    expect(again).toMatchObject({
      version: 1,
      outcome: "ok",
      status: 200,
      exact: true,
      stream: false,
      endpoint: "chat"
    })
    expect(again.promptTokens).toBe(usage.prompt_tokens)
    const [only] = again.tries
    expect(only!.worker).toBe(answer.headers.get("x-warmpath-worker"))
    // What was predicted stands beside what was delivered.
    expect(only!.predictedTokens).toBeGreaterThan(0.9 * usage.prompt_tokens)
    expect(only!.deliveredTokens).toBe(usage.prompt_tokens_details.cached_tokens)
    expect(again.regret).toEqual({ choiceTokens: 0, pictureTokens: only!.predictedTokens - only!.deliveredTokens! })
    const [chosen, ...others] = only!.candidates
    expect(chosen).toMatchObject({ worker: only!.worker, lost: null, trust: "exact", credit: 1 })
    expect(chosen!.heldTokens.device).toBe(only!.predictedTokens)
    expect(chosen!.heardAgoMs).toBeGreaterThanOrEqual(0)
    expect(others.map(({ costMs }) => costMs > chosen!.costMs)).toEqual([true, true])
    for (const { lost } of others) expect(lost).toMatch(/^holds 1 \d{3} tokens less: \d.* ms more to compute/)
    // Its phases are all of its time.
    const phases = Object.values(again.phases) as ReadonlyArray<number>
    expect(phases.every((ms) => ms >= 0)).toBe(true)
    expect(phases.reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(again.totalMs, 1)
    expect(Math.abs(Date.parse(again.at) - Date.now())).toBeLessThan(60_000)
  })

  it("makes the same placement again from nothing but its JSON", async () => {
    const { ask, lines, receipt } = await simulated()
    const tales = Array.from({ length: 24 }, (_, i) => 20 + 7 * (i % 5))
    await Promise.all(tales.map(async (words) => (await ask({ messages: talk(words) })).text()))
    await expect.poll(async () => (await lines()).length).toBe(tales.length)
    const chosen = new Set<number>()
    for (const { id } of await lines()) {
      const [first] = (await receipt(id)).tries
      expect(Decision.again(first!.decision as Decision.Decision).slot).toBe(first!.slot)
      chosen.add(first!.slot)
    }
    expect(chosen.size).toBe(3)
  })

  it("has every worker that was tried, and why each failed", async () => {
    const overloaded = await engine((response) => response.writeHead(503).end("busy"))
    const gone = await engine((response) => void response.socket!.destroy())
    const good = await engine((response) => {
      response.writeHead(200, { "content-type": "application/json" })
      response.end('{"choices":[],"usage":{"prompt_tokens":40,"completion_tokens":2,"total_tokens":42}}')
    })
    const { ask, receipt } = await started([overloaded, gone, good], { policy: "round-robin" })
    const seen = new Map<string, string>()
    let longest = 0
    for (let i = 0; i < 3; i++) {
      await (await ask({ messages: talk(10) }, { "x-request-id": `r${i}` })).text()
      const { outcome, tries } = await receipt(`r${i}`)
      expect([outcome, tries.at(-1)!.end, tries.at(-1)!.worker]).toEqual(["ok", "answered 200", host(good)])
      longest = Math.max(longest, tries.length)
      for (const [at, { candidates, end, endMs, policy, worker }] of tries.entries()) {
        if (at < tries.length - 1) seen.set(worker, end)
        // Who has been tried is no candidate any more.
        expect(candidates.length).toBe(3 - at)
        expect(candidates.find(({ lost }) => lost === null)!.worker).toBe(worker)
        for (const { lost } of candidates) expect([null, "round-robin: it was not its turn"]).toContain(lost)
        expect([policy, endMs! > 0]).toEqual(["round-robin", true])
      }
    }
    expect(longest).toBeGreaterThan(1)
    expect(seen.get(host(overloaded)) ?? "answered 503, and another was tried").toBe(
      "answered 503, and another was tried"
    )
    expect(seen.get(host(gone)) ?? "failed before its first byte: ").toMatch(/^failed before its first byte: /)
    expect(seen.size).toBe(2)
  })

  it("is there for a client that left, a worker that died, and a request that nobody could take", async () => {
    const open: Array<ServerResponse> = []
    const slow = await engine((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" })
      response.write('data: {"choices":[{"delta":{"content":"a"}}]}\n\n')
      open.push(response)
    })
    const { admin, adminUrl, ask, lines, receipt, url } = await started([slow])
    const body = JSON.stringify({ model: "sim/qwen3", stream: true, messages: talk(3) })
    const socket = connect(Number(new URL(url).port), "127.0.0.1")
    const head = `host: x\r\nx-request-id: left\r\ncontent-length: ${body.length}`
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\n${head}\r\n\r\n${body}`)
    await once(socket, "data")
    socket.destroy()
    const left = await receipt("left")
    expect([left.outcome, left.tries[0]!.end]).toEqual(["cancelled", "its client left in the middle of the answer"])

    const dies = await ask({ stream: true, messages: talk(3) }, { "x-request-id": "died" })
    open.at(-1)!.destroy()
    await dies.text()
    const died = await receipt("died")
    expect([died.outcome, died.tries[0]!.deliveredTokens]).toEqual(["died", null])
    expect(died.tries[0]!.end).toMatch(/^failed in the middle of the answer: /)
    expect(died.ttftMs).toBeGreaterThan(0)

    const last = await ask({ stream: true, messages: talk(3) }, { "x-request-id": "last" })
    await fetch(`${adminUrl}/admin/workers/${host(slow)}?drain=true`, { method: "DELETE" })
    expect((await ask({ messages: talk(3) }, { "x-request-id": "late" })).status).toBe(503)
    const late = await receipt("late")
    expect([late.outcome, late.tries, late.missing, late.regret]).toEqual(["missing", [], "1 draining", null])
    const { json, status } = await admin<Fault>("/admin/explain", { model: "sim/qwen3", messages: talk(3) })
    expect([status, json.error.code]).toEqual([503, "no_worker"])
    expect(json.error.message).toContain("1 draining")
    open.at(-1)!.end()
    await last.text()
    await receipt("last")

    const ids = async (query: string) => (await lines(query)).map(({ id }) => id)
    expect(await ids("")).toEqual(["last", "late", "died", "left"])
    expect(await ids("?limit=2")).toEqual(["last", "late"])
    expect(await ids("?limit=2&before=late")).toEqual(["died", "left"])
    expect(await ids("?outcome=died")).toEqual(["died"])
    expect(await ids(`?worker=${host(slow)}`)).toEqual(["last", "died", "left"])
  })

  it("is kept for the newest requests only, and not at all where none are wanted", async () => {
    const { admin, ask, lines, receipt } = await simulated(1, { receiptsMax: 2 })
    for (const id of ["a", "b", "c"]) {
      await (await ask({ messages: talk(5) }, { "x-request-id": id })).text()
      await receipt(id)
    }
    expect((await lines()).map(({ id }) => id)).toEqual(["c", "b"])
    const lost = await admin<Fault>("/admin/receipts/a")
    expect([lost.status, lost.json.error.code]).toEqual([404, "unknown_receipt"])
    expect(lost.json.error.fix).toContain("The newest 2 are kept")
    for (const [query, code] of [
      ["limit=0", "bad_page"],
      ["limit=1001", "bad_page"],
      ["outcome=good", "bad_outcome"]
    ] as const) {
      const { json, status } = await admin<Fault>(`/admin/receipts?${query}`)
      expect([status, json.error.code]).toEqual([400, code])
    }
    const none = await simulated(1, { receiptsMax: 0 })
    const answer = await none.ask({ messages: talk(5) }, { "x-request-id": "a", "x-warmpath-explain": "1" })
    await answer.text()
    expect([answer.status, answer.headers.get("x-warmpath-receipt")]).toEqual([200, null])
    expect((await none.admin<Fault>("/admin/receipts/a")).json.error.code).toBe("no_receipts")
    // What would happen can be asked all the same.
    expect((await none.admin("/admin/explain", { model: "sim/qwen3", messages: talk(5) })).status).toBe(200)
  })

  it("comes in one line with the answer for a client that asks for it", async () => {
    const { ask, receipt } = await simulated()
    expect((await ask({ messages: talk(50) })).headers.get("x-warmpath-receipt")).toBe(null)
    const answer = await ask({ messages: talk(50) }, { "x-request-id": 'a"\\b', "x-warmpath-explain": "1" })
    const { promptTokens, tries } = await receipt(encodeURIComponent('a"\\b'))
    const chosen = tries[0]!.candidates[0]!
    const said = answer.headers.get("x-warmpath-receipt")!.split(", ")
    const decimals = (ms: number) => Number(ms.toFixed(3))
    expect(said.slice(0, 5)).toEqual([
      'id="a\\"\\\\b"',
      `worker="${tries[0]!.worker}"`,
      `prompt=${promptTokens}`,
      `cached=${tries[0]!.predictedTokens}`,
      `best=${tries[0]!.bestTokens}`
    ])
    const numbers = said.slice(5).map((pair) => [pair.split("=")[0], Number(pair.split("=")[1])])
    expect(numbers).toEqual([
      ["cost", decimals(chosen.costMs)],
      ["wait", decimals(chosen.waitMs)],
      ["own", decimals(chosen.ownMs)],
      ["candidates", 3]
    ])
    await answer.text()
  })
})

describe("what would happen to a request now", () => {
  it("is what happens to it then, in the same words, and leaves nothing behind", async () => {
    const { admin, ask, lines, receipt } = await simulated()
    const explain = async (body: Record<string, unknown>) =>
      (await admin<Explained>("/admin/explain", { model: "sim/qwen3", ...body })).json
    for (const [i, words] of [30, 60, 30, 90, 120, 60, 10, 30].entries()) {
      const before = (await lines()).length
      const now = await explain({ messages: talk(words) })
      // Asked twice, it says the same: the rotation stays where it is.
      expect((await explain({ messages: talk(words) })).placement.worker).toBe(now.placement.worker)
      expect((await lines()).length).toBe(before)
      const answer = await ask({ messages: talk(words) }, { "x-request-id": `r${i}` })
      await answer.text()
      expect(answer.headers.get("x-warmpath-worker")).toBe(now.placement.worker)
      const { exact, model, promptTokens, tries } = await receipt(`r${i}`)
      expect([now.model, now.promptTokens, now.exact]).toEqual([model, promptTokens, exact])
      const words2 = ({ candidates }: ReceiptTry) => candidates.map(({ lost, worker }) => [worker, lost?.split(":")[0]])
      expect(words2(now.placement)).toEqual(words2(tries[0]!))
      expect(now.placement.predictedTokens).toBe(tries[0]!.predictedTokens)
    }
    const text = await explain({ prompt: [1, 2, 3, 4] })
    expect([text.promptTokens, text.placement.candidates.length]).toEqual([4, 3])
  })

  it("is refused with what to send instead", async () => {
    const { admin, adminUrl } = await simulated(1)
    const model = "sim/qwen3"
    for (const [body, status, code, fix] of [
      [{ model }, 400, "bad_question", "messages"],
      [{ model, messages: talk(1), prompt: "x" }, 400, "bad_question", "in place of"],
      [[], 400, "bad_json", "Send the body of a request"],
      [{ model, messages: [] }, 400, "bad_field", "at least one message"],
      [{ model: "other", prompt: "x" }, 404, "unknown_model", model]
    ] as const) {
      const refused = await admin<Fault>("/admin/explain", body)
      expect([refused.status, refused.json.error.code]).toEqual([status, code])
      expect(refused.json.error.fix).toContain(fix)
    }
    const get = await fetch(`${adminUrl}/admin/explain`)
    expect([get.status, get.headers.get("allow")]).toEqual([405, "POST"])
    const form = await fetch(`${adminUrl}/admin/explain`, { method: "POST", body: "x" })
    expect(form.status).toBe(415)
  })
})
