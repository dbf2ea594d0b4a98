import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Demo from "../../../loadtest/demo/Demo.ts"
import * as Fleet from "../../../loadtest/demo/Fleet.ts"
import type * as LiveTable from "../../../loadtest/demo/LiveTable.ts"
import { silent } from "../../../loadtest/demo/Screen.ts"
import * as Corpus from "../../../loadtest/workloads/Corpus.ts"
import * as TinyRouter from "../../support/TinyRouter.ts"

const options: Demo.DemoOptions = { engines: 4, requests: 100, seconds: 3, seed: 2, keep: false }

/** Resolves once nothing listens there any more. */
const gone = async (urls: ReadonlyArray<string>) => {
  for (const url of urls) {
    while (
      await fetch(`${url}/health`).then(
        () => true,
        () => false
      )
    ) {}
  }
}

/** A stage that remembers what was started and shown. */
const watch = (over: Partial<Demo.Dependencies> = {}) => {
  const router = TinyRouter.make()
  const engines: Array<string> = []
  const frames: Array<LiveTable.Snapshot> = []
  const printed: Array<string> = []
  const deps: Demo.Dependencies = {
    startRouter: (wanted) => {
      engines.push(...wanted.workers)
      return router.start(wanted)
    },
    screen: {
      ...silent,
      everyMs: 100,
      frame: (snapshot) => void frames.push(snapshot),
      print: (text) => void printed.push(text)
    },
    signal: new AbortController().signal,
    // Eight times as fast as they are: the order of things stays, the waiting goes.
    startFleet: (wanted) => Fleet.start({ ...wanted, speed: 8 }),
    ...over
  }
  return { deps, engines, frames, printed, router }
}

describe("Demo", () => {
  it("runs the same traffic under both policies over fresh engines, and agents profit from affinity", async () => {
    const { deps, engines, frames, printed, router } = watch()
    const { cacheShare, roundRobin, warmpath } = await Demo.run(options, deps)

    for (const summary of [warmpath, roundRobin]) {
      assert.deepStrictEqual(summary.errors, [])
      assert.deepInclude(summary, { planned: 100, succeeded: 100, failed: 0 })
      assert.strictEqual(summary.byLabel.agent.requests, 50)
      assert.strictEqual(summary.workers.length, 4)
      // The engines' own count and the clients' agree: nothing else was sent to them.
      const { cachedTokens, promptTokens, requests } = summary.workers.reduce((a, b) => ({
        worker: "",
        requests: a.requests + b.requests,
        promptTokens: a.promptTokens + b.promptTokens,
        cachedTokens: a.cachedTokens + b.cachedTokens
      }))
      assert.deepStrictEqual(
        { cachedTokens, promptTokens, requests },
        { cachedTokens: summary.all.cachedTokens, promptTokens: summary.all.promptTokens, requests: 100 }
      )
    }
    assert.isAtLeast(warmpath.byLabel.agent.hitRate!, 1.5 * roundRobin.byLabel.agent.hitRate!)
    assert.strictEqual(roundRobin.spread.requests, 1)
    assert.isAtLeast(cacheShare, 0.3)

    assert.strictEqual(frames.at(-1)!.done, 100)
    assert.isTrue(frames.some(({ workers }) => workers.some(({ inFlight }) => inFlight > 0)))
    assert.include(printed.join("\n"), "block hit rate")
    assert.strictEqual(engines.length, 8)
    assert.strictEqual(router.open(), 0)
    await gone(engines)
  })

  it("stops everything it started when it is interrupted midway", async () => {
    const abort = new AbortController()
    const { deps, engines, frames, router } = watch({ signal: abort.signal })
    const running = Demo.run({ ...options, seconds: 30 }, deps)
    const ended = running.then(
      () => "finished",
      (error: Error) => error.name
    )
    while (!frames.some(({ workers }) => workers.some(({ inFlight }) => inFlight > 0))) {
      await new Promise((resolve) => setImmediate(resolve))
    }
    abort.abort()
    assert.strictEqual(await ended, "AbortError")
    assert.strictEqual(router.open(), 0)
    await gone(engines)
  })

  it("stays up with traffic when asked to keep, until it is interrupted", async () => {
    const abort = new AbortController()
    const { deps, engines, printed, router } = watch({ signal: abort.signal })
    let reported = false
    const running = Demo.run(
      { engines: 1, requests: 10, seconds: 1, seed: 1, keep: true },
      {
        ...deps,
        onReport: () => {
          reported = true
        }
      }
    )
    const ended = running.then(
      () => "finished",
      (error: Error) => error.name
    )
    while (!printed.some((text) => text.includes("until Ctrl-C"))) await new Promise((resolve) => setImmediate(resolve))
    assert.isTrue(reported)
    assert.strictEqual(router.open(), 1)
    const last = engines.at(-1)!
    assert.strictEqual((await fetch(`${last}/health`)).status, 200)
    abort.abort()
    assert.strictEqual(await ended, "AbortError")
    await gone(engines)
  })

  it("does not wait for a router that never starts when it is interrupted", async () => {
    const abort = new AbortController()
    let engines: ReadonlyArray<string> = []
    const { deps } = watch({
      signal: abort.signal,
      startRouter: ({ workers }) => {
        engines = workers
        setImmediate(() => abort.abort())
        return new Promise(() => {})
      }
    })
    const ended = await Demo.run({ ...options, engines: 1 }, deps).then(
      () => "finished",
      (error: Error) => error.name
    )
    assert.strictEqual(ended, "AbortError")
    await gone(engines)
  })

  it("stops the engines and says why when the router does not start", async () => {
    let engines: ReadonlyArray<string> = []
    const { deps } = watch({
      startRouter: async ({ workers }) => {
        engines = workers
        throw new Error("port taken")
      }
    })
    const error = await Demo.run({ ...options, engines: 1 }, deps).then(
      () => null,
      (cause: Error) => cause.message
    )
    assert.strictEqual(error, "port taken")
    await gone(engines)
  })
})

describe("Demo.capacity", () => {
  it("gives each of four engines between a quarter and a half of what agents come back to", () => {
    const mix = { corpus: Corpus.load(), model: "m", seed: 1, requests: 240, seconds: 20 }
    assert.isAtLeast(Demo.capacity(mix, 4).share, 0.25)
    assert.isAtMost(Demo.capacity(mix, 4).share, 0.5)
    assert.isAbove(Demo.capacity(mix, 2).share, Demo.capacity(mix, 4).share)
  })
})

describe("Fleet", () => {
  it("takes its engines down with the process that started them, even when that is killed", async () => {
    const fleet = new URL("../../../loadtest/demo/Fleet.ts", import.meta.url)
    const script = `
      const { start } = await import(${JSON.stringify(fileURLToPath(fleet))})
      const { urls } = await start({ engines: 2, blocks: 1024, blockSize: 16, speed: 1, seed: 1 })
      console.log(JSON.stringify(urls))`
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    const [line] = (await once(child.stdout.setEncoding("utf8"), "data")) as [string]
    const urls = JSON.parse(line) as ReadonlyArray<string>
    assert.strictEqual((await fetch(`${urls[1]}/health`)).status, 200)
    child.kill("SIGKILL")
    await once(child, "exit")
    await gone(urls)
  })

  it("answers on every engine it names, and on none after it is closed", async () => {
    const fleet = await Fleet.start({ engines: 3, blocks: 1_024, blockSize: 16, speed: 1, seed: 1 })
    assert.strictEqual(fleet.urls.length, 3)
    for (const url of fleet.urls) assert.strictEqual((await fetch(`${url}/health`)).status, 200)
    await fleet.close()
    await fleet.close()
    await gone(fleet.urls)
  })
})
