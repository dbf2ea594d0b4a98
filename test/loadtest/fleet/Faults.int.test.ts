import { once } from "node:events"
import { connect } from "node:net"
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest"
import type { SimEngine } from "../../../loadtest/fleet/SimEngine.ts"
import * as SimFleet from "../../../loadtest/fleet/SimFleet.ts"
import { qwen3 } from "../../support/SimModel.ts"

let fleet: SimFleet.SimFleet
let engine: SimEngine
let sibling: SimEngine

beforeAll(async () => {
  fleet = await SimFleet.start({ engines: 2, speed: 50, outputTokens: 10 })
  engine = fleet.engines[0]!
  sibling = fleet.engines[1]!
})

beforeEach(async () => {
  const idle = { running: 0, waiting: 0, freeBlocks: 4096 }
  await vi.waitFor(() => expect(engine.state()).toMatchObject(idle))
})

afterAll(() => fleet.close())

const set = async (spec: object, at = `${engine.url}/sim/faults`): Promise<Response> =>
  fetch(at, { method: "POST", body: JSON.stringify(spec) })

/** Whether the engine's port takes a connection. A pooled one would not tell. */
const connects = async (): Promise<boolean> => {
  const socket = connect(Number(new URL(engine.url).port), "127.0.0.1")
  const taken = await once(socket, "connect").then(
    () => true,
    () => false
  )
  socket.destroy()
  return taken
}

const chat = (extra: object = {}): Promise<Response> =>
  fetch(`${engine.url}/v1/chat/completions`, {
    method: "POST",
    body: JSON.stringify({ messages: [{ role: "user", content: "What now?" }], max_tokens: 4, ...extra })
  })

describe("Faults of a simulated engine", () => {
  it("answer the next requests with an error, and then the truth again", async () => {
    await set({ error: { next: 2, status: 503 } })
    const answers = [await chat(), await chat({ stream: true }), await chat()]
    expect(answers.map(({ status }) => status)).toEqual([503, 503, 200])
    expect(await answers[0]!.json()).toEqual({
      error: { message: "Internal server error", type: "InternalServerError", param: null, code: 503 }
    })
    expect(engine.faults.standing.error.next).toBe(0)
  })

  it("fail with a probability, the same requests for the same seed", async () => {
    const statuses = async () => {
      const own = await SimFleet.start({
        tokenizer: qwen3,
        speed: 50,
        seed: 5,
        faults: { error: { probability: 0.5 } }
      })
      const out: Array<number> = []
      for (let i = 0; i < 24; i++) {
        const body = JSON.stringify({ prompt: [i], max_tokens: 1 })
        out.push((await fetch(`${own.urls[0]}/v1/completions`, { method: "POST", body })).status)
      }
      await own.close()
      return out
    }
    const first = await statuses()
    expect(new Set(first)).toEqual(new Set([200, 500]))
    expect(await statuses()).toEqual(first)
  })

  it("cut the connection before the status line, or after so many bytes, and free the request", async () => {
    await set({ die: { next: 2 } })
    await expect(chat()).rejects.toThrow()
    await expect(chat({ stream: true })).rejects.toThrow()
    await set({ die: { next: 1, bytes: 300 } })
    const response = await chat({ stream: true, max_tokens: 2000, ignore_eos: true })
    expect(response.status).toBe(200)
    let bytes = 0
    const read = async () => {
      for await (const chunk of response.body!) bytes += chunk.length
    }
    await expect(read()).rejects.toThrow()
    expect(bytes).toBe(300)
    await vi.waitFor(() => expect(engine.state()).toMatchObject({ running: 0, freeBlocks: 4096 }))
  })

  it("hold every step back by a stall", async () => {
    // Only a lower bound: whatever else the machine does adds to it.
    const started = performance.now()
    await set({ stallMs: 400 })
    expect((await chat()).status).toBe(200)
    expect(performance.now() - started).toBeGreaterThanOrEqual(395)
  })

  it("make steps take longer", async () => {
    await set({ slow: 40 })
    const started = performance.now()
    // Four steps, each at least 0.36 ms x 40.
    await (await chat({ ignore_eos: true })).text()
    expect(performance.now() - started).toBeGreaterThanOrEqual(57)
    await set({ slow: 1 })
  })

  it("refuse connections for a while, but finish what is open", async () => {
    const response = await chat({ stream: true, max_tokens: 400, ignore_eos: true })
    await set({ refuseMs: 300 }, `${sibling.url}/sim/faults?engine=0`)
    expect(await connects()).toBe(false)
    expect((await response.text()).endsWith("data: [DONE]\n\n")).toBe(true)
    await vi.waitFor(async () => expect(await connects()).toBe(true), { timeout: 10_000 })
  })

  it("crash: what streams is cut, nothing answers, and a sibling brings it back empty", async () => {
    await (await chat({ max_tokens: 40, ignore_eos: true })).text()
    expect(engine.cache().length).toBeGreaterThan(0)
    const response = await chat({ stream: true, max_tokens: 4000, ignore_eos: true })
    await set({ crash: {} })
    await expect(response.text()).rejects.toThrow()
    await expect(chat()).rejects.toThrow()
    const state = await (await fetch(`${sibling.url}/sim/state?engine=0`)).json()
    expect(state).toMatchObject({ engine: 0, alive: false })
    await fetch(`${sibling.url}/sim/restart?engine=0`, { method: "POST" })
    await vi.waitFor(async () => expect((await chat()).status).toBe(200), { timeout: 10_000 })
    expect(engine.state()).toMatchObject({ alive: true, lives: 2, received: 1 })
  })

  it("crash and come back by itself", async () => {
    const lives = engine.state().lives
    await set({ crash: { restartAfterMs: 50 } })
    await vi.waitFor(() => expect(engine.state()).toMatchObject({ alive: true, lives: lives + 1 }), { timeout: 10_000 })
    expect((await chat()).status).toBe(200)
  })

  it("are shown, and refused with a sentence when misspelt", async () => {
    await set({ drop: { probability: 0.25 } })
    const shown = await (await fetch(`${engine.url}/sim/faults`)).json()
    expect(shown).toMatchObject({ drop: { probability: 0.25, next: 0 }, slow: 1, silent: false })
    await set({ drop: {} })
    const said = async (spec: object) => {
      const response = await set(spec)
      expect(response.status).toBe(400)
      return ((await response.json()) as { error: { message: string } }).error.message
    }
    expect(await said({ drops: { next: 1 } })).toContain('There is no fault "drops"')
    expect(await said({ drop: { next: "1" } })).toBe('"drop.next" must be a number of at least 0.')
    expect(await said({ slow: 0 })).toBe('"slow" must be a positive number.')
    expect((await fetch(`${engine.url}/sim/state?engine=7`)).status).toBe(404)
  })
})
