import { once } from "node:events"
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { afterEach, describe, expect, it } from "vitest"
import type { Receipt } from "../src/domain/Receipt.ts"
import * as TestRouter from "./support/TestRouter.ts"

/** An engine that answers, in streams, when it is told to. */
const patientEngine = async () => {
  const open: Array<{ readonly name: string; readonly response: ServerResponse }> = []
  const got: Array<string> = []
  const server = createServer(async (request, response) => {
    if (request.url === "/v1/models") {
      response.end('{"object":"list","data":[{"id":"m","root":"m","parent":null}]}')
      return
    }
    if (request.method !== "POST" || request.url === "/tokenize") return void response.writeHead(404).end()
    let body = ""
    for await (const part of request) body += part
    const { user } = JSON.parse(body) as { readonly user: string }
    got.push(user)
    open.push({ name: user, response })
    response.setHeader("content-type", "text/event-stream")
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Who has reached it, in order. */
    got,
    answer: (name: string) => {
      const { response } = open.find((each) => each.name === name)!
      response.end('data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\ndata: [DONE]\n\n')
    },
    refuse: (name: string) =>
      open
        .find((each) => each.name === name)!
        .response.writeHead(503)
        .end(),
    close: () => {
      server.closeAllConnections()
      server.close()
    }
  }
}

describe("requests that would only queue at their engine", () => {
  const stop: Array<() => unknown> = []
  afterEach(async () => {
    for (const close of stop.splice(0).reverse()) await close()
  })

  const setUp = async (knobs: Readonly<Record<string, unknown>> = {}, others: ReadonlyArray<string> = []) => {
    const engine = await patientEngine()
    stop.push(engine.close)
    const router = await TestRouter.start({ workers: [engine.url, ...others].join(","), ...knobs })
    stop.push(router.close)
    let asked = 0
    const ask = (name: string, characters: number, signal?: AbortSignal) =>
      fetch(`${router.url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", "x-request-id": name },
        body: JSON.stringify({
          model: "m",
          stream: true,
          user: name,
          messages: [{ role: "user", content: `${asked++} ${"word ".repeat(characters / 5)}` }]
        }),
        ...(signal === undefined ? {} : { signal })
      }).then((response) => response.text())
    const waiting = async () => {
      const text = await (await fetch(`${router.adminUrl}/metrics`)).text()
      return Number(/^warmpath_requests_waiting (\d+)$/m.exec(text)![1])
    }
    const until = async (holds: () => boolean | Promise<boolean>) => {
      while (!(await holds())) await sleep(5)
    }
    return { ask, engine, router, until, waiting }
  }

  it("wait in the router, the short before the long, and say so in their receipts", async () => {
    const { ask, engine, router, until, waiting } = await setUp()
    const first = ask("first", 400_000)
    await until(() => engine.got.length === 1)
    const long = ask("long", 200_000)
    await until(async () => (await waiting()) === 1)
    const short = ask("short", 1_000)
    await until(async () => (await waiting()) === 2)
    expect(engine.got).toEqual(["first"])
    engine.answer("first")
    await until(() => engine.got.length >= 2)
    engine.answer("short")
    await until(() => engine.got.length >= 3)
    expect(engine.got).toEqual(["first", "short", "long"])
    engine.answer("long")
    expect((await Promise.all([first, short, long])).every((text) => text.includes("[DONE]"))).toBe(true)
    expect(await waiting()).toBe(0)
    const receipt = async (id: string) =>
      (await (await fetch(`${router.adminUrl}/admin/receipts/${id}`)).json()) as Receipt
    const [of, ofFirst] = [await receipt("long"), await receipt("first")]
    expect(ofFirst.waitedMs).toBe(0)
    expect(of.waitedMs).toBeGreaterThan(0)
    expect(of.phases.place).toBeGreaterThanOrEqual(of.waitedMs)
    expect(of.tries).toHaveLength(1)
  })

  it("are forgotten when their client goes, and never reach an engine", async () => {
    const { ask, engine, router, until, waiting } = await setUp()
    const first = ask("first", 400_000)
    await until(() => engine.got.length === 1)
    const leaves = new AbortController()
    const gone = ask("gone", 1_000, leaves.signal).catch(() => "gone")
    await until(async () => (await waiting()) === 1)
    leaves.abort()
    expect(await gone).toBe("gone")
    await until(async () => (await waiting()) === 0)
    const { outcome, waitedMs } = (await (await fetch(`${router.adminUrl}/admin/receipts/gone`)).json()) as Receipt
    expect(outcome).toBe("cancelled")
    expect(waitedMs).toBeGreaterThan(0)
    engine.answer("first")
    await first
    const after = ask("after", 1_000)
    await until(() => engine.got.length >= 2)
    engine.answer("after")
    await after
    expect(engine.got).toEqual(["first", "after"])
  })

  it("are tried elsewhere when their engine refuses them then, and their wait is told once", async () => {
    const other = await patientEngine()
    stop.push(other.close)
    const { ask, engine, router, until, waiting } = await setUp({}, [other.url])
    const first = ask("first", 400_000)
    await until(() => engine.got.length + other.got.length === 1)
    const second = ask("second", 400_000)
    await until(() => engine.got.length === 1 && other.got.length === 1)
    const third = ask("third", 1_000)
    await until(async () => (await waiting()) === 1)
    engine.answer(engine.got[0]!)
    await until(() => engine.got.length >= 2)
    engine.refuse("third")
    await until(() => other.got.length === 2)
    other.answer("third")
    other.answer(other.got[0]!)
    await Promise.all([first, second, third])
    const receipt = (await (await fetch(`${router.adminUrl}/admin/receipts/third`)).json()) as Receipt
    expect(receipt.tries).toHaveLength(2)
    expect(receipt.waitedMs).toBeGreaterThan(0)
    const whole = Object.values(receipt.phases).reduce<number>((sum, took) => sum + (took ?? 0), 0)
    expect(whole).toBeLessThan(receipt.totalMs + receipt.waitedMs / 2)
  })

  it("are sent at once where none may wait", async () => {
    const { ask, engine, until, waiting } = await setUp({ waitingMax: 0 })
    const all = [ask("first", 400_000), ask("second", 200_000), ask("third", 1_000)]
    await until(() => engine.got.length >= 3)
    expect(await waiting()).toBe(0)
    for (const name of engine.got) engine.answer(name)
    await Promise.all(all)
  })

  it("are finished when the router is told to end", async () => {
    const { ask, engine, router, until, waiting } = await setUp()
    const first = ask("first", 400_000)
    await until(() => engine.got.length === 1)
    const second = ask("second", 1_000)
    await until(async () => (await waiting()) === 1)
    const ended = router.close()
    await sleep(50)
    engine.answer("first")
    await until(() => engine.got.length >= 2)
    engine.answer("second")
    expect((await Promise.all([first, second])).every((text) => text.includes("[DONE]"))).toBe(true)
    await ended
  })
})
