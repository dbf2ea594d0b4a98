import { request } from "node:http"
import { Context, Effect, Exit, Layer, Logger, Scope } from "effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { Fleet } from "../../actors/Fleet.ts"
import { FleetShare } from "../../actors/FleetShare.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import * as Admin from "../../src/http/Admin.ts"
import type { Deps } from "../../src/http/AdminRoutes.ts"
import * as BusMemory from "../../src/ports/BusMemory.ts"
import * as StateStoreMemory from "../../src/ports/StateStoreMemory.ts"
import * as FakeEngine from "../support/FakeEngine.ts"

interface Answer {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly text: string
}

/** What the fleet logs is not this test's matter. */
const quiet = Logger.layer([])

let port = 0
let fake: ReturnType<typeof FakeEngine.make>
let deps: Deps
let fleet: Fleet["Service"]
let scope: Scope.Closeable
let keys: Int32Array
let blocks: (slot?: number, layer?: number) => Int32Array
let unready: string | null
let cluster: unknown
let remembered: StateStoreMemory.Client

const call = (method: string, path: string, body?: string, headers: Record<string, string> = {}) =>
  new Promise<Answer>((resolve, reject) => {
    const own = body === undefined ? headers : { "content-type": "application/json", ...headers }
    const sent = request({ port, host: "127.0.0.1", method, path, headers: own }, (response) => {
      const parts: Array<Buffer> = []
      response.on("data", (part: Buffer) => parts.push(part))
      response.on("end", () =>
        resolve({ status: response.statusCode!, headers: response.headers, text: Buffer.concat(parts).toString() })
      )
      response.on("error", reject)
    })
    sent.on("error", reject)
    sent.end(body)
  })
const json = async (method: string, path: string, body?: unknown) => {
  const answer = await call(method, path, body === undefined ? undefined : JSON.stringify(body))
  return { status: answer.status, json: JSON.parse(answer.text) }
}

beforeEach(async () => {
  fake = FakeEngine.make()
  keys = Int32Array.of(1, 2, -1, -2)
  blocks = () => keys
  unready = null
  cluster = null
  remembered = StateStoreMemory.make().client()
  scope = Effect.runSync(Scope.make())
  fleet = Context.get(
    await Effect.runPromise(Layer.buildWithScope(Fleet.layer(fake.options).pipe(Layer.provide(quiet)), scope)),
    Fleet
  )
  deps = {
    find: fleet.find,
    list: fleet.list,
    remove: fleet.remove,
    add: (spec) => fleet.add(spec),
    rank: (slot) => ({ trust: "exact", slot }),
    blocks: (slot, layer) => blocks(slot, layer),
    prefix: {
      fleet,
      hasher: BlockHash.make(0n),
      tokenizerOf: () => null,
      // Its own first three blocks, two of them on the device.
      depths: (keys, count, out) => {
        out.fill(0)
        for (let layer = 0; layer < 4; layer++) out[layer * 8] = Math.min(count, layer === 0 ? 2 : 3)
        return keys.length > 0
      },
      blockSizes: new Uint32Array(8).fill(16),
      workersMax: 8,
      bodyBytesMax: 4_096,
      store: remembered.store
    },
    config: () => ({ port: 8080 }),
    cluster: () => cluster,
    unready: () => unready,
    metrics: () => "up 1\n"
  }
  const listening = Admin.listen({ host: "127.0.0.1", port: 0 }, deps)
  port = (await Effect.runPromise(Scope.provide(listening, scope).pipe(Effect.provide(quiet)))).port
})
afterEach(async () => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
})

describe("Admin", () => {
  it("adds a worker and shows what it told, its load, its breaker and its cache", async () => {
    const added = await json("POST", "/admin/workers", { url: "http://a:8000/" })
    expect(added.status).toBe(201)
    expect(added.json).toMatchObject({ id: "a:8000", url: "http://a:8000", state: "joining", models: [], load: null })
    await expect.poll(async () => (await json("GET", "/admin/workers/a:8000")).json.state).toBe("ready")
    const { json: shown } = await json("GET", "/admin/workers")
    expect(shown.workers).toEqual([
      expect.objectContaining({
        id: "a:8000",
        origin: "admin",
        engine: "vllm",
        models: [{ id: "qwen", parent: null, root: null, maxModelLen: 4096 }],
        blockSize: 16,
        startedAt: "1970-01-01T00:00:00.001Z",
        ranks: [{ trust: "exact", slot: 0 }],
        inFlight: 0,
        breaker: { failuresInARow: 0, timesOpened: 0, retryAt: null }
      })
    ])
  })

  it("never shows a worker's key, nor in what it refuses", async () => {
    await call("POST", "/admin/workers", '{"url":"http://a:8000","apiKey":"sk-1"}')
    for (const path of ["/admin/workers", "/admin/workers/a:8000"]) {
      expect((await call("GET", path)).text).not.toContain("sk-1")
    }
    const refused = await call("POST", "/admin/workers", '{"url":"http://b:8000","apiKey":"sk-1 "}')
    expect(refused.status).toBe(400)
    expect(refused.text).toContain("apiKey is <redacted>: must be printable ASCII")
    expect(refused.text).not.toContain("sk-1")
  })

  it("says where to find the worker it added", async () => {
    const answer = await call("POST", "/admin/workers", '{"url":"http://[::1]:8000","id":"[::1]:8000"}')
    expect(answer.headers["location"]).toBe("/admin/workers/%5B%3A%3A1%5D%3A8000")
    expect((await call("GET", String(answer.headers["location"]))).status).toBe(200)
  })

  it("refuses what is listed already with 409, and says what to do", async () => {
    await json("POST", "/admin/workers", { url: "http://a:8000" })
    const again = await json("POST", "/admin/workers", { url: "http://a:8000", id: "other" })
    expect(again.status).toBe(409)
    expect(again.json.error).toMatchObject({
      code: "duplicate",
      message: expect.stringContaining("a:8000"),
      fix: expect.any(String)
    })
  })

  it("says of a bad worker what is wrong, with the value", async () => {
    const bad = await json("POST", "/admin/workers", { url: "a:8000", idd: "x" })
    expect(bad.status).toBe(400)
    expect(bad.json.error.message).toMatch(/idd is not known; url is "a:8000": must be an http or https address/)
    const broken = await call("POST", "/admin/workers", "{")
    expect([broken.status, JSON.parse(broken.text).error.code]).toEqual([400, "bad_worker"])
  })

  it("takes no body that is not JSON, and none too long, and answers both", async () => {
    expect((await call("POST", "/admin/workers", "url=http://a", { "content-type": "text/plain" })).status).toBe(415)
    const long = await call("POST", "/admin/workers", JSON.stringify({ url: `http://${"a".repeat(100_000)}` }))
    expect([long.status, JSON.parse(long.text).error.code]).toEqual([413, "body_too_large"])
    expect((await json("GET", "/admin/workers")).json.workers).toEqual([])
  })

  it("drains by default and forgets at once when told so", async () => {
    for (const name of ["a", "b", "c"]) await json("POST", "/admin/workers", { url: `http://${name}:1`, id: name })
    await expect.poll(() => fleet.list().map(({ state }) => state)).toEqual(["ready", "ready", "ready"])
    fake.at("http://a:1").inFlight = 1
    fake.at("http://b:1").inFlight = 1
    expect(await json("DELETE", "/admin/workers/a")).toMatchObject({ status: 202, json: { state: "draining" } })
    expect(await json("POST", "/admin/workers/b/drain")).toMatchObject({ status: 202, json: { state: "draining" } })
    expect(await json("DELETE", "/admin/workers/c?drain=false")).toEqual({
      status: 200,
      json: { id: "c", state: "gone" }
    })
    expect((await json("DELETE", "/admin/workers/c")).status).toBe(404)
    expect((await json("DELETE", "/admin/workers/a?drain=maybe")).status).toBe(400)
    fake.at("http://a:1").inFlight = 0
    await expect.poll(() => fleet.list().map(({ spec }) => spec.id)).toEqual(["b"])
  })

  it("dumps the keys the index holds as hex, whole or by page", async () => {
    await json("POST", "/admin/workers", { url: "http://a:1", id: "a" })
    expect((await json("GET", "/admin/blocks/a")).json).toEqual({
      id: "a",
      count: 2,
      offset: 0,
      keys: ["0000000200000001", "fffffffeffffffff"]
    })
    keys = Int32Array.from({ length: 2 * 5_000 }, (_, index) => index >> 1)
    const whole = (await json("GET", "/admin/blocks/a")).json
    expect([whole.keys.length, new Set(whole.keys).size, whole.keys[4_999]]).toEqual([5_000, 5_000, "0000138700001387"])
    const page = (await json("GET", "/admin/blocks/a?offset=4000&limit=1500")).json
    expect(page).toMatchObject({ count: 5_000, offset: 4_000, keys: whole.keys.slice(4_000) })
    expect((await json("GET", "/admin/blocks/a?offset=9999")).json.keys).toEqual([])
    expect((await json("GET", "/admin/blocks/a?limit=-1")).status).toBe(400)
    expect((await json("GET", "/admin/blocks/none")).status).toBe(404)
  })

  it("dumps the keys of one rank, and of one tier", async () => {
    fake.at("http://a:1").facts = FakeEngine.facts({ ranks: [2, 3] })
    await json("POST", "/admin/workers", { url: "http://a:1", id: "a" })
    await expect.poll(async () => (await json("GET", "/admin/workers/a")).json.state).toBe("ready")
    const count = async (query: string) => (await json("GET", `/admin/blocks/a${query}`)).json.count
    blocks = (slot = 0, layer = 0) => Int32Array.from({ length: 2 * (10 * slot + layer + 1) })
    expect([await count(""), await count("?rank=3"), await count("?rank=3&tier=disk")]).toEqual([1, 11, 13])
    expect(await count("?tier=guess")).toBe(5)
    expect((await json("GET", "/admin/blocks/a?rank=0")).json.error.code).toBe("unknown_rank")
    expect((await json("GET", "/admin/blocks/a?tier=attic")).json.error.code).toBe("bad_tier")
  })

  it("answers health, metrics and the configuration", async () => {
    expect((await json("GET", "/health")).json).toEqual({ status: "ok" })
    expect((await json("GET", "/admin/config")).json).toEqual({ port: 8080 })
    const metrics = await call("GET", "/metrics")
    expect([metrics.text, metrics.headers["content-type"]]).toEqual([
      "up 1\n",
      "text/plain; version=0.0.4; charset=utf-8"
    ])
    const head = await call("HEAD", "/metrics")
    expect([head.status, head.text, head.headers["content-length"]]).toEqual([200, "", "5"])
  })

  it("says that it is ready, or why not", async () => {
    expect(await json("GET", "/ready")).toEqual({ status: 200, json: { status: "ready" } })
    unready = "still taking over what other routers know"
    expect(await json("GET", "/ready")).toEqual({ status: 503, json: { status: unready } })
  })

  it("says of a router alone that it shares nothing", async () => {
    const alone = await json("GET", "/admin/cluster")
    expect([alone.status, alone.json.error.code]).toEqual([404, "no_cluster"])
    expect(alone.json.error.fix).toContain("--nats")
    expect((await json("POST", "/admin/workers", { url: "http://a:1" })).json).not.toHaveProperty("shared")
    cluster = { self: { id: "one" } }
    expect(await json("GET", "/admin/cluster")).toEqual({ status: 200, json: cluster })
  })

  it("says of an unknown path or method what there is instead", async () => {
    for (const path of [
      "/",
      "/admin",
      "/admin/x",
      "/admin/workers/a/b/c",
      "/v1/models",
      "//",
      "/admin/blocks",
      "/admin/config/x",
      "/admin/cluster/x"
    ]) {
      expect((await call("GET", path)).status, path).toBe(404)
    }
    const wrong = await call("PUT", "/admin/workers", "{}")
    expect([wrong.status, wrong.headers["allow"]]).toEqual([405, "GET, POST"])
    expect((await call("GET", "/admin/workers/%E0%A4%A")).status).toBe(400)
    expect((await call("GET", "/admin/workers/a/drain")).status).toBe(405)
  })

  it("refuses pages of other origins and names that were pointed at it", async () => {
    const evil = await call("POST", "/admin/workers/a/drain", "", { origin: "https://evil.example" })
    expect([evil.status, JSON.parse(evil.text).error.code]).toEqual([403, "wrong_origin"])
    expect((await call("GET", "/admin/workers", undefined, { host: `evil.example:${port}` })).status).toBe(403)
    expect((await call("GET", "/admin/workers", undefined, { host: `localhost:${port}` })).status).toBe(200)
    expect((await call("GET", "/admin/workers", undefined, { host: `[::1]:${port}` })).status).toBe(200)
    const own = await call("GET", "/admin/workers", undefined, { origin: `http://127.0.0.1:${port}` })
    expect(own.status).toBe(200)
  })

  it("answers to any name where it was opened to a network", async () => {
    const listening = Admin.listen({ host: "0.0.0.0", port: 0 }, deps)
    port = (await Effect.runPromise(Scope.provide(listening, scope).pipe(Effect.provide(quiet)))).port
    expect((await call("GET", "/metrics", undefined, { host: `router-1:${port}` })).status).toBe(200)
    const page = await call("GET", "/metrics", undefined, { host: `router-1:${port}`, origin: "http://evil.example" })
    expect(page.status).toBe(403)
  })

  it("answers 500 and goes on when a hook throws", async () => {
    await json("POST", "/admin/workers", { url: "http://a:1", id: "a" })
    blocks = () => {
      throw new Error("a defect in a hook")
    }
    expect((await json("GET", "/admin/blocks/a")).json.error.code).toBe("defect")
    expect((await call("GET", "/health")).status).toBe(200)
  })

  it("says which port is taken", async () => {
    const failure = await Effect.runPromise(
      Admin.listen({ host: "127.0.0.1", port }, deps).pipe(Effect.scoped, Effect.flip)
    )
    expect(failure.message).toMatch(new RegExp(`cannot listen on 127.0.0.1:${port}: .*EADDRINUSE.*adminPort`))
  })

  it("listens no more when its scope has ended", async () => {
    await Effect.runPromise(Scope.close(scope, Exit.void))
    await expect(call("GET", "/health")).rejects.toThrow(/ECONNREFUSED/)
  })

  it("says who holds the beginning of a prompt, from the index and from the store", async () => {
    await json("POST", "/admin/workers", { url: "http://a:8000" })
    await expect.poll(async () => (await json("GET", "/admin/workers/a:8000")).json.state).toBe("ready")
    const tokens = Array.from({ length: 100 }, (_, i) => i)
    const hasher = BlockHash.make(0n)
    const root = hasher.root({ model: "qwen", lora: null, salt: "mine", blockSize: 16 })
    const keys = hasher.chain(Uint32Array.from(tokens), 16, root)
    const { store } = remembered
    for (const [name, layer, held] of [
      ["a:8000", 1, 0b1111],
      ["a:8000?", 4, 0b11111],
      ["b:8000", 0, 0b1]
    ] as const) {
      const tenure = await Effect.runPromise(store.enter(name))
      await Effect.runPromise(
        store.write([{ tenure, layer, stride: 32, piece: 0, parent: null, keys, told: 0b111111, held }])
      )
    }
    const shown = await json("POST", "/admin/prefix", { model: "qwen", tokens, cache_salt: "mine" })
    expect(shown).toEqual({
      status: 200,
      json: {
        model: "qwen",
        exact: true,
        tokens: 100,
        prompt: [{ blockSize: 16, blocks: 6 }],
        workers: [
          {
            ...{ id: "a:8000", rank: null, state: "ready", blockSize: 16 },
            index: {
              blocks: { device: 2, host: 3, disk: 3, external: 3, guess: 0 },
              tokens: { device: 32, host: 48, disk: 48, external: 48, guess: 0 }
            },
            store: {
              blocks: { device: 0, host: 4, disk: 4, external: 4, guess: 5 },
              tokens: { device: 0, host: 64, disk: 64, external: 64, guess: 80 }
            }
          }
        ],
        store: { url: "memory:", error: null },
        elsewhere: [
          {
            ...{ name: "b:8000", blockSize: 16 },
            blocks: { device: 1, host: 1, disk: 1, external: 1, guess: 0 },
            tokens: { device: 16, host: 16, disk: 16, external: 16, guess: 0 }
          }
        ]
      }
    })
    const alone = await json("GET", `/admin/prefix?model=qwen&store=false&tokens=${tokens.join(",")}`)
    expect(alone.json).toMatchObject({ tokens: 100, store: null, elsewhere: [], workers: [{ store: null }] })
    // The index still answers.
    remembered.cut(true)
    const cut = await json("GET", "/admin/prefix?model=qwen&prompt=Is+it+warm")
    expect(cut).toMatchObject({
      status: 200,
      json: { exact: false, store: { error: expect.stringMatching(/away/) }, workers: [{ store: null }] }
    })
  })

  it("says what is wrong with a question about a prompt", async () => {
    await json("POST", "/admin/workers", { url: "http://a:8000" })
    await expect.poll(async () => (await json("GET", "/admin/workers/a:8000")).json.state).toBe("ready")
    const refused = async (path: string, body?: unknown) => {
      const { json: answer, status } = await json(body === undefined ? "GET" : "POST", `/admin/prefix${path}`, body)
      return `${status} ${answer.error?.code}: ${answer.error?.message} ${answer.error?.fix}`
    }
    expect(await refused("?model=qwen")).toMatch(/^400 bad_question: The prompt is given 0 times. Give "model" and one/)
    expect(await refused("?model=qwen&prompt=a&tokens=1")).toMatch(/^400 bad_question: The prompt is given 2 times/)
    expect(await refused("?prompt=a")).toMatch(/^400 bad_field: model is missing\. Give the name of a model/)
    expect(await refused("?model=qwen&tokens=1,x")).toMatch(/^400 bad_field: tokens is "1,x"\. Give token ids/)
    expect(await refused("?model=qwen&messages=[{")).toMatch(/^400 bad_json: messages is not JSON/)
    expect(await refused("?model=qwen&prompt=a&store=1")).toMatch(/^400 bad_store: store is "1"/)
    expect(await refused("", { model: "qwen", tokens: ["a"] })).toMatch(/^400 bad_field: tokens is \["a"\]/)
    expect(await refused("", [1])).toMatch(/^400 bad_json: The body is not a JSON object/)
    expect(await refused("", { model: "qwen", messages: [{}] })).toMatch(/^400 bad_field: messages\[0\] is \{\}/)
    expect(await refused("", { model: "qwen", prompt: ["a", "b"] })).toMatch(/^400 many_prompts: There are 2 prompts/)
    expect(await refused("", { model: "qwen", prompt: "a".repeat(5_000) })).toMatch(/^413 body_too_large/)
    expect(await refused("", { model: "gpt-9", prompt: "a" })).toMatch(
      /^404 unknown_model: .*"gpt-9".* Use one of qwen/
    )
    expect((await call("DELETE", "/admin/prefix")).headers["allow"]).toBe("GET, POST")
    expect((await call("POST", "/admin/prefix", "{}", { "content-type": "text/plain" })).status).toBe(415)
  })
})

describe("Admin of routers that share a fleet", () => {
  let two: Fleet["Service"]
  let client: BusMemory.Client

  /** A router with an admin API; answers with its fleet and its connection to the others. */
  const start = async (hub: BusMemory.Hub, id: string) => {
    const joined = hub.client()
    const layer = FleetShare.layer({ self: { id }, workersMax: 8 }).pipe(
      Layer.provideMerge(Fleet.layer(FakeEngine.make().options)),
      Layer.provide(joined.layer),
      Layer.provide(quiet)
    )
    const context = await Effect.runPromise(Layer.buildWithScope(layer, scope))
    const shared = Context.get(context, FleetShare)
    const own = Context.get(context, Fleet)
    const listening = Admin.listen({ host: "127.0.0.1", port: 0 }, { ...deps, ...own, share: shared })
    const at = (await Effect.runPromise(Scope.provide(listening, scope).pipe(Effect.provide(quiet)))).port
    return { joined, own, at }
  }

  beforeEach(async () => {
    const hub = BusMemory.make()
    const first = await start(hub, "one")
    port = first.at
    client = first.joined
    two = (await start(hub, "two")).own
  })

  it("adds, drains and removes a worker on all of them, and says so", async () => {
    const added = await json("POST", "/admin/workers", { url: "http://a:1", id: "a" })
    expect(added).toMatchObject({ status: 201, json: { id: "a", state: "joining", shared: true } })
    expect(added.json).not.toHaveProperty("notSharedBecause")
    await expect.poll(() => two.find("a")?.state).toBe("ready")
    await expect.poll(async () => (await json("GET", "/admin/workers/a")).json.state).toBe("ready")
    expect(await json("POST", "/admin/workers/a/drain")).toMatchObject({ status: 202, json: { shared: true } })
    await expect.poll(() => two.find("a")).toBeUndefined()
    expect((await json("DELETE", "/admin/workers/a")).status).toBe(404)
    expect((await json("POST", "/admin/workers", { url: "http://a:1", id: "a" })).status).toBe(201)
    await expect.poll(() => two.find("a")?.state).toBe("ready")
    expect((await json("POST", "/admin/workers", { url: "http://a:1", id: "other" })).status).toBe(409)
    expect(await json("DELETE", "/admin/workers/a?drain=false")).toEqual({
      status: 200,
      json: { id: "a", state: "gone", shared: true }
    })
    await expect.poll(() => two.find("a")).toBeUndefined()
  })

  it("changes its own fleet while the bus is away, and says that the others do not know yet", async () => {
    client.cut(true)
    const added = await json("POST", "/admin/workers", { url: "http://a:1", id: "a" })
    expect(added).toMatchObject({
      status: 201,
      json: { shared: false, notSharedBecause: expect.stringContaining("it is shared when that works again") }
    })
    expect(two.find("a")).toBeUndefined()
    client.cut(false)
    await expect.poll(() => two.find("a")?.state).toBe("ready")
  })

  it("tells nobody a worker's key, and says what to do about it", async () => {
    const added = await call("POST", "/admin/workers", '{"url":"http://a:1","id":"a","apiKey":"sk-1"}')
    expect(added.status).toBe(201)
    expect(added.text).not.toContain("sk-1")
    expect(JSON.parse(added.text)).toMatchObject({
      shared: false,
      notSharedBecause: expect.stringContaining("give it to each of the others")
    })
  })
})
