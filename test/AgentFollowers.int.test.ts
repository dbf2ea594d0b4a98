import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import * as NatsServer from "../loadtest/servers/NatsServer.ts"
import * as Processes from "./support/Processes.ts"
import * as TestRouter from "./support/TestRouter.ts"
import * as TrueKeys from "./support/TrueKeys.ts"

const soon = { timeout: 20_000, interval: 100 }
/** Where nothing listens: the engine's event sockets, as seen from the routers. */
const unreachable = { endpoint: "tcp://127.0.0.1:9", replayEndpoint: "tcp://127.0.0.1:9" }

describe("routers that cannot reach an engine's event sockets", () => {
  let nats: NatsServer.NatsServer
  let fleet: SimFleet.SimFleet
  let routers: Array<TestRouter.TestRouter> = []
  let agent: Processes.Running | null = null
  beforeAll(async () => {
    nats = await NatsServer.start()
    fleet = await SimFleet.start({ engines: 1, speed: 20, blocks: 200, maxModelLen: 1_600 })
  }, 60_000)
  afterEach(async () => {
    await Promise.all(routers.map((router) => router.close()))
    await agent?.stop()
    routers = []
  })
  afterAll(async () => {
    await fleet.close()
    await nats.close()
  })

  it("know its cache exactly by the agent beside it, and go on when that is gone", { timeout: 90_000 }, async () => {
    const url = fleet.urls[0]!
    const id = TestRouter.idOf(url)
    const ask = async (router: TestRouter.TestRouter, text: string) => {
      const answer = await fetch(`${router.url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "sim/qwen3", prompt: text, max_tokens: 4 })
      })
      await answer.text()
      return answer.status
    }
    agent = Processes.warmpath(["agent", "--nats", nats.url, "--worker", url, "--advertise", url])
    await agent.says(/announces it as/)
    const knobs = { nats: nats.url, hashSeed: 0, workers: [{ url, events: unreachable }] }
    routers = await Promise.all([TestRouter.start(knobs), TestRouter.start(knobs)])
    const views = () => Promise.all(routers.map((router) => router.blocks(id)))
    const agree = async () => {
      const truth = TrueKeys.within(fleet.engines[0]!, 0, "device")
      for (const keys of await views()) expect(keys.toSorted()).toEqual(truth)
    }

    // Longer than the cache: what was stored first is evicted again.
    for (let i = 0; i < 12; i++) {
      expect(await ask(routers[i % 2]!, `Story ${i >> 1}: ${"once upon a time ".repeat(80)}`)).toBe(200)
    }
    await expect.poll(async () => (await views())[0]!.length, soon).toBeGreaterThan(50)
    await expect.poll(agree, soon).toBeUndefined()
    const trusts = () => Promise.all(routers.map(async (router) => (await router.worker(id)).ranks[0]!.trust))
    await expect.poll(trusts, soon).toEqual(["exact", "exact"])

    await agent.stop()
    // Nobody can read its events any more: requests go on, and no picture is taken for exact.
    await expect.poll(trusts, soon).not.toContain("exact")
    for (const router of routers) expect(await ask(router, "And then?")).toBe(200)
  })
})
