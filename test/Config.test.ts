import { Redacted, Result } from "effect"
import { describe, expect, it } from "vitest"
import * as Config from "../src/Config.ts"

const ok = (sources: Config.Sources) => Result.getOrThrow(Config.decode(sources))
const problems = (sources: Config.Sources): ReadonlyArray<string> => {
  const decoded = Config.decode(sources)
  return Result.isFailure(decoded) ? decoded.failure.problems : []
}

describe("Config.decode", () => {
  it("needs nothing: every knob has a default of its own kind", () => {
    const config = ok({})
    expect(Object.keys(config)).toEqual(Config.names)
    expect(config).toMatchObject({ port: 8080, adminHost: "127.0.0.1", policy: "eta", workers: [] })
  })

  it("accepts each default when it is written out", () => {
    const written = Object.fromEntries(Config.describe().map(({ fallback, name }) => [name, JSON.parse(fallback)]))
    expect(ok({ file: written })).toEqual(ok({}))
  })

  it("takes flags over the environment, that over the file, that over defaults", () => {
    const file = { port: 1, adminPort: 2, host: "file" }
    const env = { WARMPATH_PORT: "3", WARMPATH_ADMIN_PORT: "4", WARMPATH_POLICY: "" }
    expect(ok({ flags: { port: 5 }, env, file })).toMatchObject({ port: 5, adminPort: 4, host: "file", policy: "eta" })
  })

  it("takes a worker as an address or with its id and event sources", () => {
    const events = { endpoint: "tcp://b:5557", replayEndpoint: "tcp://b:5657" }
    const config = ok({ file: { workers: ["http://a:8000/", { id: "b", url: "https://b/base/", events }] } })
    expect(Config.workers(config)).toEqual([
      { id: "a:8000", url: "http://a:8000" },
      { id: "b", url: "https://b/base", events: [{ ...events, topic: "", rank: 0 }] }
    ])
    expect(Config.workers(ok({ env: { WARMPATH_WORKERS: "http://a:1, https://b" } })).map(({ id }) => id)).toEqual([
      "a:1",
      "b:443"
    ])
  })

  it("takes a worker's event sources rank by rank, in their order or by number", () => {
    const sourcesOf = (events: unknown) =>
      Config.workers(ok({ file: { workers: [{ url: "http://a", events }] } }))[0]!.events
    const [e, f] = [{ endpoint: "tcp://a:1" }, { endpoint: "tcp://a:2", topic: "kv" }]
    expect(sourcesOf([e, f])).toEqual([
      { ...e, replayEndpoint: null, topic: "", rank: 0 },
      { ...f, replayEndpoint: null, rank: 1 }
    ])
    expect(
      sourcesOf([
        { ...e, rank: 4 },
        { ...f, rank: 0 }
      ])?.map(({ rank }) => rank)
    ).toEqual([4, 0])
    const workers = [
      { url: "http://a", events: [{ ...e, rank: 1 }, f] },
      { url: "http://b", events: [{}] },
      { url: "http://c", events: [] }
    ]
    expect(problems({ file: { workers } })).toEqual([
      expect.stringMatching(
        /^workers\[0\]\.events is .*must name each rank once; a source without one has that of its/
      ),
      "workers[1].events[0].endpoint is missing",
      expect.stringMatching(/^workers\[2\]\.events is \[\]: /)
    ])
  })

  it("keeps a worker's key out of what is printed, and still sees that it changed", () => {
    const keyed = (apiKey: string) => ok({ file: { workers: [{ url: "http://a:8000", apiKey }] } })
    expect(JSON.stringify(keyed("sk-1"))).not.toContain("sk-1")
    expect(Config.changed(keyed("sk-1"), keyed("sk-2"))).toEqual(["workers"])
    expect(Config.changed(keyed("sk-1"), keyed("sk-1"))).toEqual([])
    expect(problems({ file: { workers: { url: "http://a", apiKey: "sk-1" } } }).join()).not.toContain("sk-1")
  })

  it("says where a wrong value stands, what it is, and what is allowed, all at once", () => {
    expect(problems({ file: { port: 70_000, policy: "best", retriesMax: "2", breakerFailureShare: 3 } })).toEqual([
      "port is 70000: expected a value between 0 and 65535",
      'policy is "best": expected "eta" | "round-robin" | "least-loaded" | "longest-prefix"',
      'retriesMax is "2": expected number',
      "breakerFailureShare is 3: expected a value between 0.01 and 1"
    ])
  })

  it("names the flag or the variable a wrong value came from", () => {
    expect(problems({ flags: { bodyBytesMax: -1 }, env: { WARMPATH_PORT: "http" } })).toEqual([
      'WARMPATH_PORT is "http": expected number',
      "--body-bytes-max is -1: expected a value between 1 and 9007199254740991"
    ])
  })

  it("points into lists and records", () => {
    const workers = [
      "http://a",
      { url: "ftp://b" },
      { id: "c" },
      { url: "http://d", evnts: {} },
      { url: "http://e", events: { endpoint: "tcp://*:1" } }
    ]
    expect(problems({ file: { workers, modelAliases: { a: 1 } } })).toEqual([
      'workers[1].url is "ftp://b": must be an http or https address without user, query or fragment, for example http://10.0.0.4:8000',
      "workers[2].url is missing",
      "workers[3].evnts is not known",
      'workers[4].events.endpoint is "tcp://*:1": must be an address a subscriber can connect to, for example tcp://10.0.0.4:5557',
      "modelAliases.a is 1: expected string"
    ])
  })

  it("asks whether a near name was meant", () => {
    expect(problems({ file: { bodyByteMax: 1, nonsense: 2 }, flags: { Port: 3 } })).toEqual([
      "bodyByteMax, in the file, is no knob: did you mean bodyBytesMax?",
      "nonsense, in the file, is no knob",
      "Port, in the flags, is no knob: did you mean port?"
    ])
  })

  it("refuses a file that is no mapping, and takes an empty one", () => {
    expect(problems({ file: ["port"] })).toEqual([
      "the file is not a mapping of knobs to values: write lines like `port: 8080`"
    ])
    expect(ok({ file: null })).toEqual(ok({}))
  })

  it("sees what single knobs cannot: workers twice, ports alike, limits crossed", () => {
    const file = {
      workers: ["http://a", "http://a/", { id: "a:80", url: "http://b" }, "http://c", "http://d"],
      workersMax: 4,
      port: 9000,
      adminPort: 9000,
      joinRetryMsMin: 10,
      joinRetryMsMax: 5
    }
    expect(problems({ file }).map((text) => text.split(":").at(-1)!.trim())).toEqual([
      "list each address once",
      "give it another id",
      "raise workersMax",
      "choose two",
      "swap them"
    ])
  })

  it("takes NATS servers as a list or with commas, and never shows a password", () => {
    const config = ok({
      env: { WARMPATH_NATS: "nats://a:4222, tls://b", WARMPATH_NATS_PASSWORD: "s3cret" },
      flags: { natsUser: "me" }
    })
    expect(config.nats).toEqual(["nats://a:4222", "tls://b"])
    expect(Redacted.value(config.natsPassword!)).toBe("s3cret")
    expect(JSON.stringify(config)).not.toContain("s3cret")
    expect(problems({ file: { nats: ["nats://me:s3cret@a"] } })).toEqual([
      expect.stringMatching(/^nats\[0\].*natsUser and natsPassword/)
    ])
  })

  it("takes no address with a secret in it, which would be shown with the address, and does not repeat it", () => {
    const secret = "s3cret"
    const refused = problems({
      file: {
        nats: [`nats://:${secret}@a`],
        workers: [`http://:${secret}@a:1`],
        otlpEndpoint: `http://me:${secret}@a:4318`,
        store: `redis://:${secret}@a`
      }
    })
    expect(refused.map((text) => text.split(/ |\[/)[0]).sort()).toEqual(["nats", "otlpEndpoint", "store", "workers"])
    expect(refused.join()).not.toContain(secret)
    for (const odd of ["http://a:4318?key=1", "http://a:4318/#b", "ftp://a", "a:4318"]) {
      expect(problems({ flags: { otlpEndpoint: odd } }), odd).toHaveLength(1)
    }
    expect(ok({ flags: { otlpEndpoint: "https://a/otlp/" } }).otlpEndpoint).toBe("https://a/otlp/")
  })

  it("takes one way to log in to NATS, whole", () => {
    expect(problems({ file: { natsUser: "me", natsToken: "t", natsTlsCert: "c.pem" } })).toEqual([
      "natsUser and natsToken are all given: choose one way to log in to NATS",
      "natsUser and natsPassword belong together: give both or neither",
      "natsTlsCert and natsTlsKey belong together: give both or neither"
    ])
  })

  it("wants what receipts need, and a subject of their own", () => {
    expect(problems({ flags: { receiptsSubject: "receipts.a" } })).toEqual([
      "receiptsSubject needs nats: give --nats, or leave it out"
    ])
    expect(problems({ flags: { receiptsSubject: "warmpath.default.kv.a", nats: "nats://a" } })).toEqual([
      'receiptsSubject is "warmpath.default.kv.a", among those that routers use themselves: choose another'
    ])
    expect(problems({ flags: { receiptsFile: "r.jsonl", receiptsMax: 0 } })).toEqual([
      "receiptsFile needs receipts: let receiptsMax be above 0, or leave it out"
    ])
    const given = { receiptsFile: "r.jsonl", receiptsSubject: "warmpath.receipts", nats: "nats://a" }
    expect(ok({ flags: given })).toMatchObject({ receiptsFile: "r.jsonl", receiptsSubject: "warmpath.receipts" })
  })

  it("takes a store by its address, and keeps its password out of it", () => {
    for (const store of [
      "sqlite",
      "none",
      "sqlite:/var/lib/warmpath.db",
      "rediss://me@10.0.0.7:6379/2",
      "redis-cluster://a:7000,b:7001",
      "redis-sentinel://a:26379,b:26379/main",
      "rdma://10.0.0.5:7600,10.0.0.6:7600?provider=verbs"
    ]) {
      expect(ok({ flags: { store } }).store).toBe(store)
    }
    expect(problems({ env: { WARMPATH_STORE: "mysql://a" } })).toEqual([
      expect.stringMatching(/^WARMPATH_STORE.*sqlite, none, or an address/)
    ])
    expect(problems({ file: { store: "redis://me:s3cret@a", storeTlsKey: "k.pem" } })).toEqual([
      expect.stringMatching(/^store.*storePassword/)
    ])
    for (const store of [
      "redis://:s3cret@a",
      "redis-sentinel://a:1,me:s3cret@b:2/main",
      "rdma://a:1,me:s3cret@b:2",
      "redis://me:s3:cr@et@a"
    ]) {
      const [problem, ...others] = problems({ flags: { store } })
      expect(problem).toMatch(/^--store.*<redacted>@.*storePassword/)
      expect(problem).not.toMatch(/s3|cret|cr@et/)
      expect(others).toEqual([])
    }
    expect(problems({ file: { storeTlsKey: "k.pem" } })).toEqual([
      "storeTlsCert and storeTlsKey belong together: give both or neither"
    ])
  })

  it("never answers with a name that only every object has", () => {
    expect(problems({ file: JSON.parse('{"constructor":1,"__proto__":2}') })).toEqual([
      "constructor, in the file, is no knob",
      "__proto__, in the file, is no knob"
    ])
  })
})

describe("Config.describe", () => {
  it("tells of every knob what it is and why it has its default, and gives times and sizes a unit", () => {
    for (const { flag, name, unit, why } of Config.describe()) {
      expect(why, name).toMatch(/^[A-Z].{10,}; .{10,}\.$/)
      expect(flag).toMatch(/^--[a-z-]+$/)
      if (/Ms(Min|Max)?$/.test(name)) expect(unit).toBe("ms")
      if (/Bytes/.test(name)) expect(unit).toBe("bytes")
    }
  })

  it("follows the file live for workers and aliases only", () => {
    expect(
      Config.describe()
        .filter(({ live }) => live)
        .map(({ name }) => name)
    ).toEqual(["workers", "modelAliases"])
  })
})

describe("Config.changed", () => {
  it("lists the knobs that differ", () => {
    expect(Config.changed(ok({}), ok({ file: { workers: ["http://a"], port: 1 } }))).toEqual(["port", "workers"])
    expect(Config.changed(ok({}), ok({}))).toEqual([])
  })
})
