/** One request's trace through router and engine, as a collector gets it; and which traces there are. */
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { createServer, type IncomingHttpHeaders } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach, describe, expect, it } from "vitest"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import * as NatsServer from "../loadtest/servers/NatsServer.ts"
import * as OtlpServer from "./support/OtlpServer.ts"
import * as TestRouter from "./support/TestRouter.ts"

const model = "sim/qwen3"
const phases = ["receive", "hash", "match", "place", "book", "forward", "settle"]
const clientTrace = "0af7651916cd43dd8448eb211c80319c"
const clientSpan = "b7ad6b7169203331"
const parent = (flags: "00" | "01") => `00-${clientTrace}-${clientSpan}-${flags}`
const secret = "The password of the treasury is swordfish."

let open: Array<() => Promise<void>> = []
afterEach(async () => {
  for (const close of open.reverse()) await close()
  open = []
})

const opened = async <A extends { readonly close: () => Promise<void> }>(starting: Promise<A>): Promise<A> => {
  const started = await starting
  open.push(started.close)
  return started
}

const chat = async (url: string, headers: Readonly<Record<string, string>> = {}, body: object = {}) => {
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({
      model,
      stream: true,
      max_tokens: 8,
      messages: [
        { role: "system", content: secret.repeat(20) },
        { role: "user", content: "Say it." }
      ],
      ...body
    })
  })
  await answer.text()
  return answer.status
}

/** What the router counts as tokens is what the engine does, so that events tell of the same blocks. */
const tokenises = async ({ adminUrl }: TestRouter.TestRouter): Promise<boolean> => {
  const { tokenizing } = (await (await fetch(`${adminUrl}/admin/config`)).json()) as {
    readonly tokenizing: Readonly<Record<string, string>>
  }
  return tokenizing[model]?.includes("verified with the engine") ?? false
}

const soon = <A>(look: () => A) => expect.poll(look, { timeout: 15_000, interval: 20 })
const named = (spans: ReadonlyArray<OtlpServer.GotSpan>, name: string) => spans.filter((span) => span.name === name)

describe("a trace through several routers and an engine", () => {
  it("joins client, phases, engine, and the events that another replica read", { timeout: 60_000 }, async () => {
    const collector = await opened(OtlpServer.start())
    const nats = await opened(NatsServer.start())
    const fleet = await opened(SimFleet.start({ engines: 1, speed: 20, otlpTracesEndpoint: collector.grpcUrl }))
    const knobs = {
      nats: nats.url,
      natsReplicas: 1,
      workers: fleet.urls[0],
      otlpEndpoint: collector.url,
      traceRatio: 0
    }
    const reading = await opened(TestRouter.start({ ...knobs, replicaId: "reading" }))
    const name = TestRouter.idOf(fleet.urls[0]!)
    const roleAt = async ({ adminUrl }: TestRouter.TestRouter) => {
      const { publishers } = (await (await fetch(`${adminUrl}/admin/cluster`)).json()) as {
        readonly publishers: ReadonlyArray<{ readonly name: string; readonly role: string }>
      }
      return publishers.find((each) => each.name === name)?.role
    }
    await soon(() => roleAt(reading)).toBe("owner")
    const asked = await opened(TestRouter.start({ ...knobs, replicaId: "asked" }))
    await soon(() => roleAt(asked)).toBe("follower")
    const trusted = async () => (await asked.worker(name)).ranks[0]!.trust
    await soon(trusted).toBe("exact")
    await soon(() => tokenises(asked)).toBe(true)

    expect(await chat(asked.url, { traceparent: parent("01"), tracestate: "vendor=1", "x-request-id": "r-1" })).toBe(
      200
    )
    await soon(() => collector.spans.map((span) => span.name).sort()).toEqual(
      [...phases, `chat ${model}`, "kv_events apply", "llm_request"].sort()
    )
    const { spans } = collector
    const one = (name: string) => named(spans, name)[0]!
    const [server, forward, engine, applied] = [
      one(`chat ${model}`),
      one("forward"),
      one("llm_request"),
      one("kv_events apply")
    ]
    expect(new Set(spans.map((span) => span.traceId))).toEqual(new Set([clientTrace]))
    expect(new Set(spans.map((span) => span.spanId)).size).toBe(spans.length)
    expect(server.parentSpanId).toBe(clientSpan)
    expect(server.kind).toBe("server")
    for (const phase of phases) expect(one(phase).parentSpanId, phase).toBe(server.spanId)
    expect(engine.parentSpanId).toBe(forward.spanId)
    expect(applied.parentSpanId).toBe(forward.spanId)

    expect(server.resource).toMatchObject({ "service.name": "warmpath", "service.instance.id": "asked" })
    expect(server.traceState).toBe("vendor=1")
    expect(server.status.code).toBe(0)
    expect(server.attributes).toMatchObject({
      "gen_ai.operation.name": "chat",
      "gen_ai.request.model": model,
      "gen_ai.request.stream": true,
      "gen_ai.provider.name": "vllm",
      "gen_ai.usage.output_tokens": 8,
      "gen_ai.usage.cache_read.input_tokens": 0,
      "http.response.status_code": 200,
      "warmpath.request_id": "r-1",
      "warmpath.kept": "sampled",
      "warmpath.outcome": "ok",
      "warmpath.worker": name,
      "warmpath.tries": 1,
      "warmpath.predicted_tokens": 0
    })
    expect(server.attributes["warmpath.prompt_tokens"]).toBe(engine.attributes["gen_ai.usage.prompt_tokens"])
    expect(one("place").attributes).toMatchObject({
      "warmpath.worker": name,
      "warmpath.candidates": 1,
      "warmpath.trust": "exact"
    })
    const { hostname, port } = new URL(fleet.urls[0]!)
    expect(forward).toMatchObject({
      kind: "client",
      attributes: { "server.address": hostname, "server.port": Number(port), "warmpath.try": 1 }
    })
    expect(forward.events.map(({ name }) => name)).toEqual(["first_token"])
    expect(engine).toMatchObject({ kind: "server", attributes: { "gen_ai.request.id": "chatcmpl-r-1" } })
    expect(applied).toMatchObject({
      kind: "consumer",
      attributes: {
        "messaging.system": "nats",
        "warmpath.events.reader": "reading",
        "warmpath.events.publisher": name,
        "warmpath.events.sequence": expect.any(Number)
      }
    })

    // In their order, none outside of the request, but for what a clock in whole milliseconds may be wrong.
    const inOrder = phases.map(one)
    for (const [i, span] of inOrder.entries()) {
      expect(span.end >= span.start, span.name).toBe(true)
      if (i > 0) expect(span.start, span.name).toBe(inOrder[i - 1]!.end)
    }
    expect(inOrder[0]!.start).toBe(server.start)
    expect(inOrder.at(-1)!.end).toBe(server.end)
    expect(engine.start > forward.start - 2_000_000n && engine.end < forward.end + 2_000_000n).toBe(true)
    expect(forward.events[0]!.time > forward.start && forward.events[0]!.time <= forward.end).toBe(true)

    const documented = readFileSync(new URL("../src/telemetry/README.md", import.meta.url), "utf8")
    const own = new Set(
      spans.flatMap(({ attributes }) => Object.keys(attributes)).filter((key) => /^warmpath/.test(key))
    )
    expect(own.size).toBeGreaterThan(20)
    expect([...own].filter((key) => !documented.includes(`\`${key}\``))).toEqual([])

    const text = JSON.stringify(spans, (_, value) => (typeof value === "bigint" ? String(value) : value))
    expect(text).not.toMatch(/swordfish|Say it/)
  })
})

describe("which traces there are", () => {
  const both = async (knobs: Readonly<Record<string, unknown>>, options: Parameters<typeof SimFleet.start>[0] = {}) => {
    const collector = await opened(OtlpServer.start())
    const fleet = await opened(SimFleet.start({ engines: 1, speed: 40, ...options }))
    const router = await opened(
      TestRouter.start({ workers: fleet.urls[0], otlpEndpoint: collector.url, otlpMetricsMs: 100, ...knobs })
    )
    const servers = () => collector.spans.filter(({ kind }) => kind === "server")
    return { collector, fleet, router, servers }
  }
  const metric = async ({ adminUrl }: TestRouter.TestRouter, name: string): Promise<number> => {
    const text = await (await fetch(`${adminUrl}/metrics`)).text()
    return Number(new RegExp(`^${name} (.+)$`, "m").exec(text)?.[1])
  }

  it("none of a fast request that is not sampled; but of those that fail", { timeout: 30_000 }, async () => {
    const { collector, fleet, router, servers } = await both({ traceRatio: 1, retriesMax: 0 })
    expect(await chat(router.url, { traceparent: parent("00") })).toBe(200)
    fleet.engines[0]!.setFaults({ error: { next: 1 } })
    expect(await chat(router.url, { traceparent: parent("00") })).toBe(500)
    fleet.engines[0]!.setFaults({ die: { next: 1, bytes: 300 } })
    await chat(router.url, { traceparent: parent("00") }).catch(() => {})
    expect(await chat(router.url, { traceparent: parent("00") }, { model: "none/such" })).toBe(404)
    // A sampled one after them: what was before it would have come by then.
    expect(await chat(router.url, { traceparent: parent("01"), "x-request-id": "last" })).toBe(200)
    await soon(() => servers().some(({ attributes }) => attributes["warmpath.request_id"] === "last")).toBe(true)
    expect(
      servers().map(({ attributes, status }) => [
        attributes["warmpath.kept"],
        attributes["warmpath.outcome"],
        attributes["error.type"],
        status.code
      ])
    ).toEqual([
      ["failed", "worker_error", "500", 2],
      ["failed", "died", "truncated", 2],
      ["sampled", "ok", undefined, 0]
    ])
    expect(named(collector.spans, "forward").map(({ status }) => status.code)).toEqual([2, 2, 0])
    await soon(() => metric(router, "warmpath_spans_exported_total")).toBe(collector.spans.length)
    expect(await metric(router, "warmpath_spans_dropped_total")).toBe(0)
  })

  it("those of slow requests, and of those that found no worker", { timeout: 30_000 }, async () => {
    const { fleet, router, servers } = await both({ traceRatio: 0, traceSlowMs: 0 })
    expect(await chat(router.url)).toBe(200)
    await soon(() => servers().length).toBe(1)
    expect(servers()[0]).toMatchObject({ parentSpanId: "", attributes: { "warmpath.kept": "slow" } })
    await fleet.close()
    await soon(() => chat(router.url)).toBe(503)
    const missing = () => servers().find(({ attributes }) => attributes["warmpath.outcome"] === "missing")
    await soon(() => missing() !== undefined).toBe(true)
    expect(missing()).toMatchObject({
      status: { code: 2 },
      attributes: { "error.type": "missing", "http.response.status_code": 503, "warmpath.kept": "failed" }
    })
  })

  it("a share of them where clients do not say, and the engine is told of the decision", {
    timeout: 30_000
  }, async () => {
    const got: Array<IncomingHttpHeaders> = []
    const engine = createServer((request, response) => {
      if (request.method === "POST") got.push(request.headers)
      response.setHeader("content-type", "application/json")
      response.end(
        request.url === "/v1/models"
          ? JSON.stringify({ object: "list", data: [{ id: model, root: model, parent: null }] })
          : JSON.stringify({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 1 } })
      )
    }).listen(0, "127.0.0.1")
    await once(engine, "listening")
    open.push(async () => {
      engine.closeAllConnections()
      await new Promise((resolve) => engine.close(resolve))
    })
    const collector = await opened(OtlpServer.start())
    const router = await opened(
      TestRouter.start({
        workers: `http://127.0.0.1:${(engine.address() as AddressInfo).port}`,
        otlpEndpoint: collector.url,
        traceRatio: 0.5
      })
    )
    const ask = (headers: Readonly<Record<string, string>> = {}) => chat(router.url, headers, { stream: false })
    for (let i = 0; i < 60; i++) await ask()
    const told = got.filter(({ traceparent }) => /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/.test(String(traceparent)))
    expect(told.length).toBeGreaterThanOrEqual(60)
    const sampled = told
      .filter(({ traceparent }) => String(traceparent).endsWith("01"))
      .map(({ traceparent }) => String(traceparent).slice(3, 35))
    // Fewer than 10 or more than 50 of 60 come about once in 10^7.
    expect(sampled.length).toBeGreaterThan(10)
    expect(sampled.length).toBeLessThan(50)
    await soon(() =>
      named(collector.spans, "forward")
        .map(({ traceId }) => traceId)
        .sort()
    ).toEqual(sampled.sort())

    got.length = 0
    await ask({ traceparent: parent("01"), tracestate: "a=1,b=2" })
    await ask({ traceparent: "00-nonsense", tracestate: "a=1" })
    expect(got[0]!["traceparent"]).toMatch(new RegExp(`^00-${clientTrace}-(?!${clientSpan})[0-9a-f]{16}-01$`))
    expect(got[0]!["tracestate"]).toBe("a=1,b=2")
    expect(got[1]!["traceparent"]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/)
    expect(got[1]!["tracestate"]).toBe(undefined)
  })

  it.each(["http/protobuf", "http/json", "grpc"] as const)(
    "reach a collector by %s, and metrics as Prometheus has them do, too",
    { timeout: 30_000 },
    async (otlpProtocol) => {
      process.env["OTEL_EXPORTER_OTLP_HEADERS"] = "x-tenant=blue"
      process.env["OTEL_RESOURCE_ATTRIBUTES"] = "deployment.environment.name=test"
      open.push(async () => {
        delete process.env["OTEL_EXPORTER_OTLP_HEADERS"]
        delete process.env["OTEL_RESOURCE_ATTRIBUTES"]
      })
      const collector = await opened(OtlpServer.start())
      const fleet = await opened(SimFleet.start({ engines: 1, speed: 40 }))
      const router = await opened(
        TestRouter.start({
          workers: fleet.urls[0],
          otlpEndpoint: otlpProtocol === "grpc" ? collector.grpcUrl : collector.url,
          otlpProtocol,
          otlpMetricsMs: 100,
          serviceName: "edge",
          traceRatio: 1
        })
      )
      expect(await chat(router.url)).toBe(200)
      await soon(() => named(collector.spans, `chat ${model}`).length).toBe(1)
      expect(collector.spans[0]!.resource).toMatchObject({
        "service.name": "edge",
        "deployment.environment.name": "test"
      })
      expect(collector.requests.every(({ headers }) => headers["x-tenant"] === "blue")).toBe(true)
      const text = await (await fetch(`${router.adminUrl}/metrics`)).text()
      const shown = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map((found) => found[1]!))
      expect(shown.size).toBeGreaterThan(40)
      await soon(() => [...shown].filter((name) => !collector.metrics.some((metric) => metric.name === name))).toEqual(
        []
      )
      const of = (name: string) => collector.metrics.find((metric) => metric.name === name)!
      const sum = of("warmpath_spans_exported_total")
      expect(sum).toMatchObject({ kind: "sum", cumulative: true, monotonic: true })
      const histogram = collector.metrics.find(
        ({ kind, points }) => kind === "histogram" && points.some(({ value }) => value > 0)
      )!
      expect(histogram.cumulative).toBe(true)
      for (const { bounds, counts } of histogram.points) expect(counts.length).toBe(bounds.length + 1)
      expect(sum.points[0]!.start > 1_700_000_000_000_000_000n).toBe(true)
    }
  )

  it("with events that this router reads itself, where it is alone; and none where all was cached", {
    timeout: 30_000
  }, async () => {
    const { collector, router, servers } = await both({ traceRatio: 1 })
    await soon(() => tokenises(router)).toBe(true)
    expect(await chat(router.url)).toBe(200)
    await soon(() => named(collector.spans, "kv_events apply").length).toBe(1)
    await soon(() => servers().length).toBe(1)
    expect(named(collector.spans, "kv_events apply")[0]!.attributes).toMatchObject({
      "messaging.system": "zeromq",
      "warmpath.events.reader": servers()[0]!.resource["service.instance.id"]
    })
    expect(await chat(router.url)).toBe(200)
    await router.close()
    open.splice(open.indexOf(router.close), 1)
    expect(servers().length).toBe(2)
    expect(named(collector.spans, "kv_events apply").length).toBe(1)
  })

  it("are dropped and counted while the collector takes none, and come again afterwards", {
    timeout: 30_000
  }, async () => {
    const { collector, router, servers } = await both({ traceRatio: 1 })
    collector.status = 400
    expect(await chat(router.url)).toBe(200)
    await soon(() => metric(router, "warmpath_spans_dropped_total")).toBe(phases.length + 2)
    collector.status = 200
    expect(await chat(router.url)).toBe(200)
    await soon(() => servers().length).toBe(1)
  })

  it("are sent before a router has ended", { timeout: 30_000 }, async () => {
    const { collector, router } = await both({ traceRatio: 1 })
    expect(await chat(router.url)).toBe(200)
    await router.close()
    expect(named(collector.spans, "settle").length).toBe(1)
    expect(collector.metrics.length).toBeGreaterThan(0)
    open.splice(open.indexOf(router.close), 1)
  })
})
