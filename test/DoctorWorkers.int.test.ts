/** `warmpath doctor` before engines that are well, and before each way to set one up wrongly. */
import { once } from "node:events"
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:http"
import { type AddressInfo, connect, createServer as createTcpServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Exit, Redacted, Scope } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { SimEngine } from "../loadtest/fleet/SimEngine.ts"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import type { SimOptions } from "../loadtest/fleet/SimOptions.ts"
import * as EventSocket from "../src/adapters/zmq/EventSocket.ts"
import * as Examine from "../src/doctor/Examine.ts"
import * as Files from "../src/doctor/Files.ts"
import type { Code, WorkerFinding } from "../src/doctor/Finding.ts"
import type { EventSource, WorkerSpec } from "../src/domain/Worker.ts"
import { toSpec } from "../src/domain/WorkerInput.ts"
import * as BlockHash from "../src/hot/BlockHash.ts"
import * as Chats from "./support/Chats.ts"
import { warmpath } from "./support/Processes.ts"
import { llama31 } from "./support/SimModel.ts"

type Told = Pick<Examine.Options, "aliases" | "dirs">

interface Case {
  /** The engines, fleet by fleet. */
  readonly engines?: ReadonlyArray<Partial<SimOptions>>
  /** What the operator says of them. */
  readonly workers?: (engines: ReadonlyArray<SimEngine>) => ReadonlyArray<WorkerSpec>
  readonly told?: (engines: ReadonlyArray<SimEngine>) => Partial<Told>
  /** Of the first finding, where it depends on the engine. */
  readonly level?: WorkerFinding["level"]
}

const sourcesOf = (engine: SimEngine, given: Partial<EventSource> = {}): ReadonlyArray<EventSource> =>
  engine.eventSources.map((source, rank) => ({ ...source, topic: "", rank, ...given }))

/** As an operator names it: with event sockets where the engine tells nobody. */
const specOf = (engine: SimEngine): WorkerSpec =>
  engine.options.dialect === "trtllm" && engine.options.events
    ? { ...toSpec({ url: engine.url }), events: sourcesOf(engine) }
    : toSpec({ url: engine.url })

const filesOf = ([engine]: ReadonlyArray<SimEngine>): Partial<Told> => ({
  dirs: { [Chats.model]: engine!.model.folder }
})

const examine = async (given: Case): Promise<ReadonlyArray<WorkerFinding>> => {
  const fleets = await Promise.all((given.engines ?? [{}]).map((options) => SimFleet.start({ speed: 50, ...options })))
  const engines = fleets.flatMap((fleet) => fleet.engines)
  try {
    const findings = Examine.examine({
      workers: given.workers?.(engines) ?? engines.map(specOf),
      ...{ aliases: {}, dirs: {}, hubCache: "/nowhere", progress: () => {} },
      ...given.told?.(engines),
      files,
      hasher: BlockHash.make()
    })
    return await Effect.runPromise(findings.pipe(Effect.provide(EventSocket.layer)))
  } finally {
    await Promise.all(fleets.map((fleet) => fleet.close()))
  }
}

const codesOf = (findings: ReadonlyArray<WorkerFinding>) => [
  ...new Set(findings.flatMap(({ code }) => (code === null ? [] : [code])))
]

/** A port of this machine where nobody listens. */
const closedPort = async (): Promise<number> => {
  const server = createTcpServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

let folder = ""
let nowhere = 0
const scope = Scope.makeUnsafe()
let files: Files.Files
beforeAll(async () => {
  files = await Effect.runPromise(Effect.provideService(Files.make, Scope.Scope, scope))
  folder = await mkdtemp(join(tmpdir(), "warmpath-doctor-"))
  nowhere = await closedPort()
})
afterAll(async () => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  await rm(folder, { recursive: true, force: true })
})

describe("doctor, before engines that are well", { concurrent: true }, () => {
  const healthy: ReadonlyArray<readonly [string, Case]> = [
    ["a vLLM", {}],
    [
      "a vLLM of before maps, with a salt of its own for hashes",
      { engines: [{ eventEncoding: "array", hashSeed: null }] }
    ],
    [
      "a vLLM with a block of 256 tokens, an adapter and a sliding window",
      {
        engines: [{ blockSize: 256, loras: ["poet"], slidingWindow: 512 }]
      }
    ],
    ["a vLLM with whole digests for hashes", { engines: [{ hashForm: "bytes" }] }],
    ["a vLLM with two ranks", { engines: [{ ranks: 2 }] }],
    ["an SGLang, with the model's files", { engines: [{ dialect: "sglang" }], told: filesOf }],
    ["an SGLang whose pages are single tokens", { engines: [{ dialect: "sglang", blockSize: 1 }], told: filesOf }],
    ["a TensorRT-LLM, with the model's files", { engines: [{ dialect: "trtllm" }], told: filesOf }],
    ["four engines at once", { engines: [{ engines: 4 }] }],
    [
      "an engine that asks for the key it is given",
      {
        engines: [{ apiKey: "s3cret" }],
        workers: (engines) => engines.map((engine) => ({ ...specOf(engine), apiKey: Redacted.make("s3cret") }))
      }
    ]
  ]
  it.each(healthy)("finds nothing wrong with %s", async (_, given) => {
    const findings = await examine(given)
    expect(codesOf(findings)).toEqual([])
    const values = findings.filter(({ what }) => what === "KV events").map(({ value }) => value)
    expect(values.length).toBeGreaterThan(0)
    for (const value of values) {
      const [, found, blocks] = /^(\d+) of (\d+) blocks/.exec(value)!
      expect(found).toBe(blocks)
      expect(Number(blocks)).toBeGreaterThanOrEqual(4)
    }
  })
})

describe("doctor, before what is set up wrongly", { concurrent: true }, () => {
  const withEvents =
    (given: Partial<EventSource> | (() => Partial<EventSource>)) =>
    (engines: ReadonlyArray<SimEngine>): ReadonlyArray<WorkerSpec> =>
      engines.map((engine) => ({
        ...specOf(engine),
        events: sourcesOf(engine, typeof given === "function" ? given() : given)
      }))
  const atNowhere = () => `tcp://127.0.0.1:${nowhere}`
  const cases: ReadonlyArray<readonly [string, ReadonlyArray<Code>, Case]> = [
    [
      "an address where nobody listens",
      ["unreachable"],
      {
        workers: () => [toSpec({ url: `http://127.0.0.1:${nowhere}` })]
      }
    ],
    ["an address with /v1 in it", ["url-path"], { workers: ([one]) => [toSpec({ url: `${one!.url}/v1` })] }],
    ["an engine that asks for a key", ["api-key"], { engines: [{ apiKey: "s3cret" }] }],
    ["an engine that answers with errors", ["probe-refused"], { engines: [{ faults: { error: { probability: 1 } } }] }],
    ["a vLLM without prefix caching", ["prefix-caching-off"], { engines: [{ prefixCaching: false }] }],
    [
      "an SGLang without a radix cache",
      ["prefix-caching-off"],
      {
        engines: [{ dialect: "sglang", prefixCaching: false }],
        told: filesOf
      }
    ],
    [
      "a vLLM without events and without prefix caching",
      ["events-off", "prefix-caching-off"],
      {
        engines: [{ events: false, prefixCaching: false }]
      }
    ],
    ["a vLLM that does not report cached tokens", ["usage-details"], { engines: [{ reportCached: false }] }],
    [
      "an SGLang that does not report cached tokens",
      ["usage-details"],
      {
        engines: [{ dialect: "sglang", reportCached: false }],
        told: filesOf
      }
    ],
    ["a vLLM without KV events", ["events-off"], { engines: [{ events: false }] }],
    [
      "a TensorRT-LLM whose event sockets were not named",
      ["events-off"],
      {
        engines: [{ dialect: "trtllm" }],
        workers: (engines) => engines.map(({ url }) => toSpec({ url })),
        told: filesOf
      }
    ],
    [
      "an event endpoint where nobody listens",
      ["events-unreachable"],
      {
        workers: withEvents(() => ({ endpoint: atNowhere() }))
      }
    ],
    [
      "the replay port named as the event endpoint",
      ["events-unreachable"],
      {
        workers: ([one]) => [{ ...specOf(one!), events: sourcesOf(one!, { endpoint: one!.replayEndpoint! }) }]
      }
    ],
    ["a publisher that connects instead of binding", ["events-unreachable"], { engines: [{ eventsConnect: true }] }],
    ["a topic that nothing comes under", ["events-topic"], { workers: withEvents({ topic: "kv@elsewhere" }) }],
    [
      "event endpoints of two workers, crossed",
      ["events-crossed"],
      {
        engines: [{ engines: 2 }],
        workers: ([a, b]) => [
          { ...specOf(a!), events: sourcesOf(b!) },
          { ...specOf(b!), events: sourcesOf(a!) }
        ]
      }
    ],
    [
      "the event endpoint of a busy engine that was not listed",
      ["events-crossed"],
      {
        engines: [{}, { faults: { flood: { batches: 200_000 } } }],
        workers: ([a, b]) => [{ ...specOf(a!), events: sourcesOf(b!) }]
      }
    ],
    [
      "the event endpoint of an idle engine that was not listed",
      ["events-silent"],
      {
        engines: [{ engines: 2 }],
        workers: ([a, b]) => [{ ...specOf(a!), events: sourcesOf(b!) }]
      }
    ],
    ["a publisher that says nothing", ["events-silent"], { engines: [{ faults: { silent: true } }] }],
    [
      "a publisher of another protocol",
      ["events-unreadable"],
      {
        engines: [{ faults: { garbage: { probability: 1 } } }]
      }
    ],
    [
      "a publisher that loses what was stored first",
      ["events-incomplete"],
      {
        engines: [{ faults: { drop: { next: 1 } } }]
      }
    ],
    ["a block size told that is not the one of events", ["block-size"], { engines: [{ toldBlockSize: 64 }] }],
    [
      "another model's tokenizer, where the engine has /tokenize",
      ["tokenizer"],
      {
        level: "warning",
        told: () => ({ dirs: { [Chats.model]: llama31 } })
      }
    ],
    [
      "another model's tokenizer, where it has none",
      ["tokenizer"],
      {
        level: "fault",
        engines: [{ dialect: "trtllm" }],
        told: () => ({ dirs: { [Chats.model]: llama31 } })
      }
    ],
    [
      "another model's tokenizer, where there are no events",
      ["events-off", "tokenizer"],
      {
        engines: [{ dialect: "trtllm", events: false }],
        told: () => ({ dirs: { [Chats.model]: llama31 } })
      }
    ],
    [
      "another chat template",
      ["chat-template"],
      {
        engines: [{ dialect: "sglang" }],
        told: () => ({ dirs: { [Chats.model]: folder } })
      }
    ],
    [
      "a folder without tokenizer files",
      ["tokenizer-files"],
      {
        told: () => ({ dirs: { [Chats.model]: tmpdir() } })
      }
    ],
    ["a TensorRT-LLM whose model's files are not here", ["tokenizer-missing"], { engines: [{ dialect: "trtllm" }] }],
    ["an engine that ignores salts", ["salt-ignored"], { engines: [{ saltIgnored: true }] }],
    [
      "an engine that ignores salts and reports nothing",
      ["usage-details", "salt-ignored"],
      {
        engines: [{ saltIgnored: true, reportCached: false }]
      }
    ],
    ["a gateway that adds a salt", ["salt-added"], { engines: [{ saltAdded: "tenant-7" }] }],
    ["a clock that is an hour ahead", ["clock"], { engines: [{ clockSkewMs: 3_600_000 }] }],
    ["a clock that is two seconds behind", ["clock"], { engines: [{ clockSkewMs: -2_000 }] }],
    ["an engine without a replay endpoint", ["no-replay"], { engines: [{ replay: false }] }],
    [
      "a replay endpoint where nobody listens",
      ["replay-silent"],
      {
        workers: withEvents(() => ({ replayEndpoint: atNowhere() }))
      }
    ],
    ["one model under two names", ["model-names"], { engines: [{}, { models: ["qwen-3"] }] }],
    ["an alias that means nothing", ["alias"], { told: () => ({ aliases: { default: "sim/qwen4" } }) }],
    ["contexts of two lengths", ["max-model-len"], { engines: [{}, { maxModelLen: 8_192 }] }],
    ["a context that is short", ["max-model-len"], { engines: [{ maxModelLen: 1_024 }] }]
  ]

  beforeAll(async () => {
    const from = new URL("../loadtest/fleet/model/", import.meta.url)
    await copyFile(new URL("tokenizer.json.br", from), join(folder, "tokenizer.json.br"))
    const config = JSON.parse(await readFile(new URL("tokenizer_config.json", from), "utf8")) as Record<string, unknown>
    const template = "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}[assistant]"
    await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify({ ...config, chat_template: template }))
  })

  it.each(cases)("names %s", async (_, codes, given) => {
    const findings = await examine(given)
    expect(codesOf(findings)).toEqual(codes)
    for (const { code, fix } of findings) expect(fix === null).toBe(code === null)
    if (given.level !== undefined) expect(findings.find(({ code }) => code === codes[0])?.level).toBe(given.level)
  })

  it("names a balancer that several engines are behind, whatever the engines", async () => {
    for (const dialect of ["vllm", "sglang"] as const) {
      const fleet = await SimFleet.start({ engines: 2, speed: 50, dialect })
      let connections = 0
      const balancer = createTcpServer((client) => {
        const { port } = new URL(fleet.urls[connections++ % 2]!)
        const server = connect(Number(port), "127.0.0.1")
        client.pipe(server).pipe(client)
        client.on("error", () => server.destroy())
        server.on("error", () => client.destroy())
      }).listen(0, "127.0.0.1")
      await once(balancer, "listening")
      const url = `http://127.0.0.1:${(balancer.address() as AddressInfo).port}`
      const findings = await examine({ engines: [], workers: () => [toSpec({ url })] })
      balancer.close()
      await fleet.close()
      expect(codesOf(findings)).toEqual(["balancer"])
    }
  })

  it("names an address where something else answers", async () => {
    const server = createServer((_, response) => response.writeHead(404).end("no such page")).listen(0, "127.0.0.1")
    await once(server, "listening")
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const findings = await examine({ engines: [], workers: () => [toSpec({ url })] })
    server.close()
    expect(codesOf(findings)).toEqual(["not-an-engine"])
  })

  it("finds nothing wrong with an engine that is busy with others", async () => {
    const findings = await examine({ engines: [{ faults: { flood: { batches: 3_000 } } }] })
    expect(codesOf(findings)).toEqual([])
  })
})

describe("warmpath doctor, from the command line", () => {
  const doctor = async (...args: ReadonlyArray<string>) => {
    const running = warmpath(["doctor", ...args])
    const code = await running.ended
    return { code, text: running.standard(), errors: running.errors() }
  }

  it("visits the workers of a file, worker by worker, with the store and the aliases of that file", async () => {
    const fleet = await SimFleet.start({ engines: 2, speed: 50 })
    const [a, b] = fleet.engines
    const file = join(folder, "warmpath.yaml")
    const events = ({ eventEndpoint, replayEndpoint }: SimEngine) => ({ endpoint: eventEndpoint, replayEndpoint })
    const config = {
      workers: [
        { url: a!.url, id: "left", events: events(b!) },
        { url: b!.url, id: "right", events: events(a!) }
      ],
      modelAliases: { default: "sim/qwen4" },
      store: `sqlite:${join(folder, "own.sqlite")}`
    }
    await writeFile(file, JSON.stringify(config))
    const { code, errors, text } = await doctor("--config", file)
    await fleet.close()
    expect(code).toBe(1)
    expect(errors).toBe("")
    expect(text).toMatch(/^left\nok .* answers .*vllm, serves sim\/qwen3, 16 tokens a block$/m)
    expect(text).toMatch(/^fix .*its own arrive at the endpoint of right {2}\[events-crossed\]\n +These are another/m)
    expect(text).toMatch(/^right\n/m)
    expect(text).toMatch(/^fleet\nfix .*\[alias\]/m)
    expect(text).toMatch(/^store\nok /m)
  })

  it("answers programs, ends with 0 where there are only warnings, and leaves the store alone that nobody named", async () => {
    const fleet = await SimFleet.start({ speed: 50, replay: false })
    const { code, errors, text } = await doctor("--worker", fleet.urls[0]!, "--json")
    await fleet.close()
    expect(errors).toBe("")
    const findings = JSON.parse(text) as ReadonlyArray<WorkerFinding>
    expect(codesOf(findings)).toEqual(["no-replay"])
    expect(findings.every(({ worker }) => worker === new URL(fleet.urls[0]!).host)).toBe(true)
    expect(code).toBe(0)
  })

  it("tells engines apart that were each started with other flags missing or too many", async () => {
    const flags: ReadonlyArray<readonly [ReadonlyArray<Code>, ReadonlyArray<string>]> = [
      [["prefix-caching-off"], ["--no-prefix-caching"]],
      [["events-unreachable"], ["--events-connect"]],
      [
        ["block-size", "usage-details"],
        ["--no-report-cached", "--told-block-size", "64"]
      ],
      [["api-key"], ["--api-key", "s3cret"]]
    ]
    const engines = flags.map(([, given]) => warmpath(["sim-engine", "--port", "0", "--speed", "50", ...given]))
    try {
      const urls = await Promise.all(
        engines.map(async (engine) => (await engine.says(/warmpath serve --worker (\S+)/))[1]!)
      )
      const { code, text } = await doctor(...urls.flatMap((url) => ["--worker", url]), "--json")
      const findings = JSON.parse(text) as ReadonlyArray<WorkerFinding>
      for (const [i, url] of urls.entries()) {
        expect(codesOf(findings.filter(({ worker }) => worker === new URL(url).host))).toEqual(flags[i]![0])
      }
      expect(code).toBe(1)
    } finally {
      await Promise.all(engines.map((engine) => engine.stop()))
    }
  })

  it("says how to have engines visited, where none was named", async () => {
    const { code, text } = await doctor("--store", "none")
    expect(code).toBe(0)
    expect(text).toMatch(/--worker http:\/\/host:8000/)
  })

  it("leaves nothing running in an engine, and no subscriber", async () => {
    const fleet = await SimFleet.start({ speed: 50 })
    await doctor("--worker", fleet.urls[0]!)
    const state = fleet.engines[0]!.state()
    await fleet.close()
    expect(state).toMatchObject({ running: 0, waiting: 0, received: 4, aborted: 0 })
  })
})
