import { once } from "node:events"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach, assert, describe, it } from "@effect/vitest"
import * as Driver from "../../../loadtest/client/Driver.ts"
import type { Plan } from "../../../loadtest/workloads/Mix.ts"
import { type Label, type Message, request } from "../../../loadtest/workloads/Workload.ts"

let server: Server | undefined
afterEach(() => {
  server?.closeAllConnections()
  server?.close()
})

interface Seen {
  readonly id: string
  readonly at: number
  readonly messages: ReadonlyArray<Message>
}

/** A worker that answers `echo N` to a request with N messages, or what `refuse` says. */
const worker = async (refuse: (id: string) => number | null = () => null) => {
  const seen: Array<Seen> = []
  server = createServer(async (incoming, response) => {
    const at = performance.now()
    let text = ""
    for await (const part of incoming.setEncoding("utf8")) text += part
    const { messages } = JSON.parse(text) as { messages: ReadonlyArray<Message> }
    const id = String(incoming.headers["x-request-id"])
    seen.push({ id, at, messages })
    const status = refuse(id)
    if (status !== null) {
      response.writeHead(status, { "content-type": "application/json" })
      return void response.end('{"error":{"message":"no"}}')
    }
    response.writeHead(200, { "content-type": "text/event-stream" })
    const record = { choices: [{ index: 0, delta: { content: `echo ${messages.length}` } }] }
    response.end(`data: ${JSON.stringify(record)}\n\ndata: [DONE]\n\n`)
  })
  await once(server.listen(0, "127.0.0.1"), "listening")
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen }
}

/** A session that repeats each answer it gets. */
const plan = (id: string, dueMs: ReadonlyArray<number>, label: Label = "chat"): Plan => {
  let messages: ReadonlyArray<Message> = [{ role: "user", content: id }]
  return {
    session: {
      id,
      label,
      turns: dueMs.length,
      next: (answer) => {
        if (answer !== null) messages = [...messages, { role: "assistant", content: answer }]
        return request("m", 8, messages)
      }
    },
    dueMs
  }
}

const drive = (url: string, plans: ReadonlyArray<Plan>, over: Partial<Driver.DriveOptions> = {}) =>
  Driver.drive(plans, { url, signal: new AbortController().signal, thinkMs: 0, ...over })

describe("Driver", () => {
  it("feeds each answer, as it came, into the next request of its session", async () => {
    const { seen, url } = await worker()
    const results = await drive(url, [plan("a", [0, 0, 0]), plan("b", [0, 0], "rag")])
    assert.isTrue(results.every(({ ok }) => ok))
    assert.strictEqual(results.length, 5)
    const last = seen.find(({ id }) => id === "a.2")!
    assert.deepStrictEqual(
      last.messages.map(({ content }) => content),
      ["a", "echo 1", "echo 2"]
    )
    assert.deepStrictEqual(
      results.filter(({ label }) => label === "rag").map(({ session, turn }) => [session, turn]),
      [
        ["b", 0],
        ["b", 1]
      ]
    )
  })
  it("sends nothing before it is due, nor before the pause after an answer", async () => {
    const { seen, url } = await worker()
    const start = performance.now()
    await drive(url, [plan("late", [120]), plan("thinks", [0, 0])], { thinkMs: 80 })
    const at = (id: string) => seen.find((request) => request.id === id)!.at
    // Timers may fire a millisecond early.
    assert.isAtLeast(at("late.0") - start, 119)
    assert.isAtLeast(at("thinks.1") - at("thinks.0"), 79)
  })
  it("ends a session at its first failure and lets the others go on", async () => {
    const { url } = await worker((id) => (id === "bad.1" ? 500 : null))
    const results = await drive(url, [plan("bad", [0, 0, 0, 0]), plan("good", [0, 0, 0])])
    assert.deepStrictEqual(
      results.filter(({ session }) => session === "bad").map(({ ok, status, turn }) => [turn, ok, status]),
      [
        [0, true, 200],
        [1, false, 500]
      ]
    )
    assert.strictEqual(results.filter(({ session }) => session === "good").length, 3)
  })
  it("sends nothing more once the signal fires, and says why what was under way failed", async () => {
    const abort = new AbortController()
    const { seen, url } = await worker()
    const results = await drive(url, [plan("now", [0]), plan("much later", [600_000])], {
      signal: abort.signal,
      onStart: () => abort.abort(new Error("time is up"))
    })
    assert.deepStrictEqual(
      results.map(({ error, session }) => [session, error]),
      [["now", "time is up"]]
    )
    assert.isFalse(seen.some(({ id }) => id.startsWith("much later")))
  })
  it("does not hide a workload that throws", async () => {
    const { url } = await worker()
    const broken = plan("broken", [0])
    const session = {
      ...broken.session,
      next: () => {
        throw new Error("a bug")
      }
    }
    const error = await drive(url, [{ ...broken, session }]).then(
      () => null,
      (cause: Error) => cause.message
    )
    assert.strictEqual(error, "a bug")
  })
})
