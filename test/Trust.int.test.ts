import { afterEach, describe, expect, it } from "vitest"
import { baseCredit } from "../actors/TrustTable.ts"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import type { SimOptions } from "../loadtest/fleet/SimOptions.ts"
import * as Chats from "./support/Chats.ts"
import * as EngineProxy from "./support/EngineProxy.ts"
import * as Processes from "./support/Processes.ts"
import * as TestRouter from "./support/TestRouter.ts"
import * as TrueKeys from "./support/TrueKeys.ts"

const contradicted = /^its engine takes from its cache \d+ % of what was predicted$/
const soon = { timeout: 10_000, interval: 10 }

/** The value of a metric of one worker; undefined when it is not there. */
const metric = async (adminUrl: string, name: string, worker: string, more = ""): Promise<number | undefined> => {
  const text = await (await fetch(`${adminUrl}/metrics`)).text()
  const line = text.split("\n").find((each) => each.startsWith(`${name}{worker="${worker}",rank="0"${more}}`))
  return line === undefined ? undefined : Number(line.split(" ").at(-1))
}

let stop: Array<() => Promise<void>> = []
afterEach(async () => {
  for (const close of stop.reverse()) await close()
  stop = []
})

const engines = async (options: Partial<SimOptions>) => {
  const fleet = await SimFleet.start({ speed: 40, ...options })
  stop.push(fleet.close)
  return fleet.engines
}

describe("trust in a worker", () => {
  it("is shown, measured and logged when it changes, and follows what is known of its events", async () => {
    const [told] = await engines({ speed: 20 })
    const [untold] = await engines({ speed: 20, events: false })
    const router = Processes.warmpath([
      "serve",
      ...["--host", "127.0.0.1", "--port", "0", "--admin-port", "0", "--hash-seed", "0", "--policy", "round-robin"],
      ...["--replay-timeout-ms", "900", "--worker", told!.url, "--worker", untold!.url]
    ])
    stop.push(router.stop)
    const [, url, adminUrl] = await router.says(/at (http:\S+)\/v1 · admin at (http:\/\/[^\s/]+)/)
    const [a, b] = [TestRouter.idOf(told!.url), TestRouter.idOf(untold!.url)]
    const worker = async (id: string) =>
      ((await (await fetch(`${adminUrl}/admin/workers/${id}`)).json()) as TestRouter.AdminWorker).ranks[0]!
    const trusts = (id: string) =>
      Promise.all(
        ["exact", "degraded", "approximate"].map((trust) =>
          metric(adminUrl!, "warmpath_worker_trust", id, `,trust="${trust}"`)
        )
      )
    const talks = Array.from({ length: 6 }, (_, i) => Chats.conversation(() => url!, `Chapter ${i}`))
    const talk = async (rounds: number) => {
      for (let round = 0; round < rounds; round++) for (const { turn } of talks) await turn()
    }
    await router.says(/tokenised here/)
    for (const id of [a, b]) await router.says(new RegExp(`"${id}" is ready`))
    await expect.poll(async () => (await worker(a)).trust, soon).toBe("exact")
    await talk(4)
    expect(await worker(a)).toMatchObject({
      trust: "exact",
      why: "",
      credit: 1,
      error: { deliveredShare: 1 },
      events: { health: "whole", complete: true, hashing: expect.stringContaining("sha256_cbor") },
      guesses: null
    })
    expect((await worker(a)).events!.recovery).toMatchObject({ phase: "none", attempt: 0 })
    expect(await trusts(a)).toEqual([1, 0, 0])
    expect(await metric(adminUrl!, "warmpath_worker_credit", a)).toBe(1)
    expect(await metric(adminUrl!, "warmpath_worker_delivered_ratio", a)).toBe(1)
    expect(await metric(adminUrl!, "warmpath_worker_prediction_error_tokens", a)).toBeLessThanOrEqual(0)
    expect(await metric(adminUrl!, "warmpath_worker_prediction_error_ratio", a)).toBeGreaterThan(-0.05)
    expect(await worker(b)).toMatchObject({ trust: "approximate", why: "no events", events: null })
    expect((await worker(b)).credit).toBeLessThanOrEqual(baseCredit.approximate)
    expect(await trusts(b)).toEqual([0, 0, 1])
    // A batch is lost, and two replays fail before the third brings it.
    told!.setFaults({ failReplays: 2, drop: { next: 1 } })
    await talk(1)
    await expect.poll(async () => (await worker(a)).events!.recovery.attempt, soon).toBe(1)
    const open = await worker(a)
    expect(open).toMatchObject({
      trust: "degraded",
      why: expect.stringMatching(/^sequence gap at \d+; replay failed: /)
    })
    expect(open.credit).toBeLessThanOrEqual(0.95)
    expect(await trusts(a)).toEqual([0, 1, 0])
    await expect.poll(async () => (await worker(a)).trust, soon).toBe("exact")
    expect(await worker(a)).toMatchObject({ why: "", events: { complete: true, purges: 0, replayFailures: 2 } })
    expect(await trusts(a)).toEqual([1, 0, 0])
    const keys = async () =>
      ((await (await fetch(`${adminUrl}/admin/blocks/${a}`)).json()) as { keys: Array<string> }).keys.sort()
    await expect.poll(keys, soon).toEqual(TrueKeys.within(told!, 0, "device"))
    // What was said of it: once for each change, and nothing for any request.
    const lines = () =>
      router
        .output()
        .split("\n")
        .filter((line) => line !== "")
    const said = lines().filter((line) => line.includes(`The cache of worker "${a}"`))
    expect(said.map((line) => line.replace(/^.*The cache of worker "[^"]*" is /, ""))).toEqual([
      "known exactly",
      expect.stringMatching(/^degraded: sequence gap at \d+(; replay failed: .+)?$/),
      "known exactly"
    ])
    expect(lines().filter((line) => line.includes(`The cache of worker "${b}"`))).toEqual([])
    const before = lines().length
    await talk(3)
    expect(lines().slice(before)).toEqual([])
  })

  /** A router before one engine whose account of its cache can be made a lie. */
  const lying = async (options: Partial<SimOptions>) => {
    const [engine] = await engines(options)
    const proxy = await EngineProxy.start(engine!.url)
    stop.push(proxy.close)
    const router = await TestRouter.start({ workers: proxy.url, hashSeed: 0 })
    stop.push(router.close)
    const id = TestRouter.idOf(proxy.url)
    const rank = async () => (await router.worker(id)).ranks[0]!
    await expect.poll(async () => (await rank()).trust, soon).toBe("exact")
    const lie = (on: boolean) => {
      proxy.rewrite = on
        ? (_path, text) => text.replaceAll(/"cached_tokens": ?\d+/g, '"cached_tokens":0')
        : (_, text) => text
    }
    return { engine: engine!, id, lie, proxy, rank, router }
  }

  /** Whole answers; and streams whose clients never asked for usage, and must not see any. */
  const ways = {
    "whole answers": async (url: string, content: string): Promise<void> =>
      void (await Chats.ask(url, { messages: [{ role: "user", content }] })),
    "streams that did not ask for usage": async (url: string, content: string): Promise<void> => {
      const response = await fetch(`${url}/v1/chat/completions`, {
        method: "POST",
        body: JSON.stringify({
          model: Chats.model,
          max_tokens: 3,
          stream: true,
          messages: [{ role: "user", content }]
        })
      })
      const text = await response.text()
      expect(text).toMatch(/data: \[DONE\]\n\n$/)
      expect(text).not.toContain('"usage":{')
    }
  }
  it.each(Object.entries(ways))(
    "falls when less is delivered than was predicted, and comes back: %s",
    async (_, send) => {
      const { id, lie, rank, router } = await lying({})
      const text = "It is said of the river that it never comes back. ".repeat(30)
      const until = async (done: () => Promise<boolean>, most: number): Promise<number> => {
        for (let count = 0; count < most; count++) {
          if (await done()) return count
          await send(router.url, text)
        }
        expect(await done(), `after ${most} requests: ${JSON.stringify(await rank())}`).toBe(true)
        return most
      }
      await until(async () => (await rank()).error.samples >= 12, 20)
      expect(await rank()).toMatchObject({ trust: "exact", credit: 1, error: { deliveredShare: 1 } })
      lie(true)
      await until(async () => (await rank()).credit < 1, 12)
      expect((await rank()).trust).toBe("exact")
      // Contradicted, read again, and, since that was not what was wrong, contradicted anew.
      await until(async () => (await rank()).events!.purges === 1, 60)
      expect(await until(async () => contradicted.test((await rank()).why), 60)).toBeGreaterThanOrEqual(8)
      const doubted = await rank()
      expect(doubted.trust).toBe("degraded")
      expect(doubted.credit).toBeLessThan(0.4)
      expect(doubted.error.meanTokens).toBeGreaterThan(100)
      expect(await metric(router.adminUrl, "warmpath_worker_prediction_error_tokens", id)).toBeGreaterThan(100)
      expect(await metric(router.adminUrl, "warmpath_worker_delivered_ratio", id)).toBeLessThan(0.5)
      for (let i = 0; i < 30; i++) await send(router.url, text)
      expect((await rank()).events).toMatchObject({ purges: 1, replays: doubted.events!.replays })
      lie(false)
      await until(async () => (await rank()).trust === "exact", 120)
      await until(async () => (await rank()).credit > 0.95, 120)
      expect((await rank()).events!.purges).toBe(1)
    }
  )

  it("falls when a cache was emptied unheard, and rises as what it computes is remembered instead", async () => {
    const [engine] = await engines({ faults: { replay: "absent" } })
    const router = await TestRouter.start({ workers: engine!.url })
    stop.push(router.close)
    const rank = async () => (await router.worker(TestRouter.idOf(engine!.url))).ranks[0]!
    const talks = Array.from({ length: 12 }, (_, i) => Chats.conversation(() => router.url, `Tale ${i}`))
    for (let round = 0; round < 2; round++) for (const { turn } of talks) await turn()
    expect(await rank()).toMatchObject({ trust: "exact", credit: 1, why: "" })
    engine!.setFaults({ silent: true })
    await expect.poll(() => engine!.reset()).toBe(true)
    for (const { turn } of talks) expect((await turn()).cachedTokens).toBe(0)
    const fallen = await rank()
    expect(fallen).toMatchObject({ trust: "degraded", why: expect.stringMatching(contradicted), events: { purges: 1 } })
    expect(fallen.credit).toBeLessThan(0.7)
    expect(fallen.blocks["device"]).toBe(0)
    for (let round = 0; round < 5; round++) for (const { turn } of talks) await turn()
    const risen = await rank()
    expect(risen).toMatchObject({ trust: "exact", events: { purges: 1, complete: false } })
    expect(risen.credit).toBeGreaterThan(0.8)
    expect(risen.blocks["guess"]).toBeGreaterThan(12 * 20)
  })

  it("falls with a publisher that is silent though its worker works; then what was sent there counts; and rises when it is heard", async () => {
    // Slow enough that a prefix is worth more than what a busy machine adds to a request.
    const fleet = await engines({ engines: 2, speed: 4, faults: { replay: "absent" } })
    // Ten and sixty seconds of silence, and each of its requests, in the time of a test.
    const patient = { probeTimeoutMs: 60_000, discoverTimeoutMs: 60_000, connectTimeoutMs: 60_000 }
    const router = await TestRouter.start(
      { workers: fleet.map(({ url }) => url).join(","), ...patient },
      TestRouter.fastClock(10)
    )
    stop.push(router.close)
    const rank = async (id: string) => (await router.worker(id)).ranks[0]!
    const talks = Array.from({ length: 6 }, (_, i) => Chats.conversation(() => router.url, `Song ${i}`))
    const homes = (await Promise.all(talks.map(({ turn }) => turn()))).map(({ worker }) => worker)
    const [quiet, other] = fleet.map(({ url }) => TestRouter.idOf(url)) as [string, string]
    expect(new Set(homes)).toEqual(new Set([quiet, other]))
    for (const id of [quiet, other]) expect((await rank(id)).trust).toBe("exact")
    fleet[0]!.setFaults({ silent: true })
    let cached = talks.map(() => 0)
    /** Every conversation goes on where it was, and finds there more than the time before. */
    const goOn = async () => {
      const turns = []
      for (const { turn } of talks) turns.push(await turn())
      expect(turns.map(({ worker }) => worker)).toEqual(homes)
      const next = turns.map(({ cachedTokens }) => cachedTokens!)
      expect(next.every((tokens, i) => tokens > cached[i]!)).toBe(true)
      cached = next
    }
    await goOn()
    await expect.poll(async () => (await rank(quiet)).trust, soon).toBe("degraded")
    expect(await rank(quiet)).toMatchObject({ why: "silent though its worker works", events: { health: "broken" } })
    await goOn()
    await expect.poll(async () => (await rank(quiet)).trust, soon).toBe("approximate")
    expect(await rank(quiet)).toMatchObject({
      why: "silent though its worker works, for 60 s",
      blocks: { device: 0 },
      events: { health: "absent" }
    })
    expect((await rank(quiet)).blocks["guess"]).toBeGreaterThan(20)
    await goOn()
    expect((await rank(other)).trust).toBe("exact")
    fleet[0]!.setFaults({ silent: false })
    await goOn()
    await expect.poll(async () => (await rank(quiet)).trust, soon).toBe("exact")
    await goOn()
    // What begins now is known from its events; what began before hangs on blocks that nobody announces again.
    for (let i = 0; (await rank(quiet)).blocks["device"] === 0 && i < 10; i++) {
      await Promise.all(
        ["Refrain", "Chorus"].map((name) => Chats.conversation(() => router.url, `${name} ${i}`).turn())
      )
    }
    expect((await rank(quiet)).blocks["device"]).toBeGreaterThan(20)
  })
})
