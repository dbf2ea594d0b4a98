import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import * as PrometheusText from "../src/adapters/prometheus/PrometheusText.ts"
import * as Table from "../src/telemetry/Table.ts"
import * as Chats from "./support/Chats.ts"
import * as TestRouter from "./support/TestRouter.ts"

let fleet: SimFleet.SimFleet
let router: TestRouter.TestRouter

beforeAll(async () => {
  fleet = await SimFleet.start({ engines: 2, speed: 40 })
  router = await TestRouter.start({ workers: fleet.urls.join(",") })
})
afterAll(async () => {
  await router.close()
  await fleet.close()
})

const scrape = async () => {
  const text = await (await fetch(`${router.adminUrl}/metrics`)).text()
  return { text, ...PrometheusText.parse(text) }
}

/** Answers with the status. */
const ask = async (model: string): Promise<number> => {
  const body = JSON.stringify({ model, max_tokens: 3, stream: true, messages: [{ role: "user", content: "Hello" }] })
  const response = await fetch(`${router.url}/v1/chat/completions`, { method: "POST", body })
  await response.text()
  return response.status
}

describe("labels of metrics", () => {
  it("are what the fleet is made of, whatever clients call their models", async () => {
    for (const model of [Chats.model, Chats.model, "unknown"]) await ask(model)
    const before = await scrape()
    const hostile = Array.from({ length: 150 }, (_, i) => [
      `m-${i}`,
      `${Chats.model}"} 1\nwarmpath_requests_total{outcome="ok"} ${i}`,
      `${"x".repeat(500)}${i}`
    ])
    for (const model of hostile.flat()) expect(await ask(model)).toBe(404)
    await ask(Chats.model)
    const { oddLines, samples, text } = await scrape()
    expect(oddLines).toBe(0)
    expect(samples.length).toBe(before.samples.length)
    expect(text).not.toMatch(/m-\d|xxx/)
    const models = new Set(samples.flatMap(({ labels }) => [labels["model"], labels["gen_ai_request_model"]]))
    expect(models).toEqual(new Set([undefined, Chats.model]))
    const refused = samples.find(
      ({ labels, name }) => name === "warmpath_requests_total" && labels["outcome"] === "client_error"
    )
    expect(refused?.value).toBe(451)
  })

  it("and names, are those of the table, each series with the labels that it says", async () => {
    const { samples, text } = await scrape()
    const described = new Map(Table.all.flatMap((each) => Table.seriesOf(each).map((name) => [name, each] as const)))
    for (const { labels, name } of samples) {
      const known = described.get(name)
      expect(known, `${name} is not in src/telemetry/Table.ts`).toBeDefined()
      const given = Object.keys(labels).filter((label) => label !== "le")
      expect(known!.labels).toEqual(expect.arrayContaining(given))
    }
    for (const [, name, help] of text.matchAll(/^# HELP (\S+) (.*)$/gm)) {
      expect(Table.all.find((each) => each.name === name)?.help).toBe(help)
    }
  })
})
