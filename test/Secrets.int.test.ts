/** What nobody may read who reads logs, the admin API, receipts or doctor: through the real commands, with engines and collectors that repeat what they are told. */
import { once } from "node:events"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import * as Processes from "./support/Processes.ts"

const secrets = {
  apiKey: "sk-of-the-router-1f3a",
  clientKey: "sk-of-a-client-9b7c",
  natsPassword: "nats-pass-77aa",
  storePassword: "store-pass-55bb",
  otlpHeader: "otlp-token-33cc"
}
const shownIn = (text: string) => Object.entries(secrets).filter(([, secret]) => text.includes(secret))

describe("secrets", () => {
  let dir: string
  let fleet: SimFleet.SimFleet
  let echo: ReturnType<typeof createServer>
  let echoUrl: string
  const told = new Set<string>()
  let router: Processes.Running
  let url: string
  let admin: string

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "warmpath-secrets-"))
    fleet = await SimFleet.start({ engines: 1, speed: 200 })
    // An engine, or a gateway before it, and a collector, that answer with what they were told.
    const answer = (request: IncomingMessage, response: ServerResponse): void => {
      const { authorization = "none", "x-token": token = "none" } = request.headers
      for (const each of [authorization, String(token)]) told.add(each)
      const message = `Incorrect API key provided: ${authorization}, ${token}`
      request.resume()
      response.writeHead(401, message, { "content-type": "application/json" })
      response.end(JSON.stringify({ error: { message, code: 401 } }))
    }
    echo = createServer(answer).listen(0, "127.0.0.1")
    await once(echo, "listening")
    echoUrl = `http://127.0.0.1:${(echo.address() as AddressInfo).port}`
    const workers = [
      { url: fleet.urls[0], apiKey: secrets.apiKey },
      { url: echoUrl, apiKey: secrets.apiKey }
    ]
    await writeFile(join(dir, "warmpath.yaml"), JSON.stringify({ workers }))
    router = Processes.warmpath(
      [
        ...["serve", "--config", join(dir, "warmpath.yaml"), "--host", "127.0.0.1", "--port", "0", "--admin-port", "0"],
        ...["--log-level", "debug", "--nats", "nats://127.0.0.1:1", "--nats-user", "me", "--trace-ratio", "1"],
        ...["--store", "redis://127.0.0.1:1", "--otlp-endpoint", echoUrl, "--otlp-metrics-ms", "100"],
        ...["--receipts-file", join(dir, "receipts.jsonl"), "--drain-ms", "1000"]
      ],
      {
        WARMPATH_LOG_FORMAT: "json",
        WARMPATH_NATS_PASSWORD: secrets.natsPassword,
        WARMPATH_STORE_PASSWORD: secrets.storePassword,
        OTEL_EXPORTER_OTLP_HEADERS: `x-token=${secrets.otlpHeader}`
      }
    )
    const found = await router.says(/at (http:\S+)\/v1 · admin at (http:\/\/[^\s/]+)/)
    url = found[1]!
    admin = found[2]!
  }, 30_000)
  afterAll(async () => {
    await router?.stop()
    await fleet?.close()
    echo?.closeAllConnections()
    echo?.close()
    await rm(dir, { recursive: true, force: true })
  })

  it("are in nothing that a router says of itself", async () => {
    const ask = async () => {
      const response = await fetch(`${url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${secrets.clientKey}` },
        body: JSON.stringify({ model: "sim/qwen3", max_tokens: 2, messages: [{ role: "user", content: "Hello" }] })
      })
      await response.text()
      return response.status
    }
    await expect.poll(ask, { timeout: 20_000 }).toBe(200)
    // They were used, so they could be told on.
    const used = [`Bearer ${secrets.apiKey}`, secrets.otlpHeader]
    await expect.poll(() => used.filter((each) => !told.has(each)), { timeout: 20_000 }).toEqual([])
    await router.says(/takes no traces/)
    const rooms = ["config", "workers", "receipts", "cluster", "store", "prefixes"].map((room) => `/admin/${room}`)
    for (const path of [...rooms, "/metrics"]) {
      const text = await (await fetch(admin + path)).text()
      expect(text.length, path).toBeGreaterThan(20)
      expect(shownIn(text), path).toEqual([])
    }
    router.process.kill("SIGTERM")
    await router.ended
    expect(router.output()).toContain(echoUrl)
    expect(shownIn(router.output())).toEqual([])
    const receipts = await readFile(join(dir, "receipts.jsonl"), "utf8")
    expect(receipts).toContain('"outcome":"ok"')
    expect(shownIn(receipts)).toEqual([])
  }, 60_000)

  it("are not in what doctor says, to people or programs", async () => {
    for (const form of [[], ["--json"]]) {
      const doctor = Processes.warmpath(["doctor", "--config", join(dir, "warmpath.yaml"), ...form])
      await doctor.ended
      expect(doctor.output()).toContain(new URL(echoUrl).host)
      expect(shownIn(doctor.output())).toEqual([])
    }
  }, 90_000)
})
