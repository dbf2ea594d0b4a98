import { Effect, Exit, Scope } from "effect"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import * as Announcements from "../actors/Announcements.ts"
import * as Replays from "../actors/RelayReplays.ts"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import * as NatsServer from "../loadtest/servers/NatsServer.ts"
import type { Row } from "../src/ports/Bus.ts"
import * as NatsRig from "./support/NatsRig.ts"
import * as Processes from "./support/Processes.ts"

const soon = { timeout: 15_000, interval: 50 }
const advertise = "http://engine.example:8000"

describe("warmpath agent over NATS", () => {
  let nats: NatsServer.NatsServer
  let fleet: SimFleet.SimFleet
  let running: Array<Processes.Running> = []
  let connected: NatsRig.Connected | null = null
  beforeAll(async () => {
    nats = await NatsServer.start()
    fleet = await SimFleet.start({ engines: 1, speed: 10 })
  }, 60_000)
  afterEach(async () => {
    await Promise.all(running.map((each) => each.stop()))
    await connected?.close()
    running = []
    connected = null
  })
  afterAll(async () => {
    await fleet.close()
    await nats.close()
  })

  const agent = (args: ReadonlyArray<string>) => {
    const started = Processes.warmpath(["agent", ...args])
    running.push(started)
    return started
  }

  it("announces the engine, reads its events into the log, answers replays, and takes its leave", async () => {
    const deployment = NatsRig.newDeployment()
    connected = await NatsRig.open(NatsRig.options([nats.url], deployment))
    await connected.until((status) => status.connected)
    const { bus } = connected
    const scope = Effect.runSync(Scope.make())
    const announced: Array<unknown> = []
    const logged: Array<string> = []
    const keep = <A>(effect: Effect.Effect<A, never, Scope.Scope>) => Effect.runPromise(Scope.provide(effect, scope))
    await keep(
      bus.subscribe(Announcements.subject, (_, data) => void announced.push(JSON.parse(Buffer.from(data).toString())))
    )
    await keep(bus.follow(0, { entry: ({ subject }) => void logged.push(subject), lost: () => {} }))
    const rows = (table: "leases" | "members") =>
      Effect.runPromise(bus.table(table).all).then((all: ReadonlyArray<Row>) =>
        all.map(({ key, value }) => ({ key, ...JSON.parse(Buffer.from(value).toString()) }))
      )

    const worker = fleet.urls[0]!
    const given = ["--worker", worker, "--advertise", advertise, "--id", "gpu-1"]
    const process = agent([...given, "--nats", nats.url, "--deployment", deployment])
    await process.says(/announces it as "gpu-1" at http:\/\/engine\.example:8000/)
    await expect.poll(() => announced[0], soon).toEqual({ version: 1, id: "gpu-1", url: advertise, ttlMs: 15_000 })
    await expect.poll(() => rows("leases"), soon).toMatchObject([{ key: "gpu-1" }])
    const [member] = await rows("members")
    const [lease] = await rows("leases")
    expect(member).toMatchObject({ kind: "agent", ready: true, prefers: ["gpu-1"] })
    expect(lease.owner).toBe(member.id)

    const before = logged.length
    const answer = await fetch(`${worker}/v1/completions`, {
      method: "POST",
      body: JSON.stringify({ model: "sim/qwen3", prompt: "word ".repeat(400), max_tokens: 2 })
    })
    expect(answer.status).toBe(200)
    await expect.poll(() => logged.length, soon).toBeGreaterThan(before)
    expect(new Set(logged.map((subject) => subject.split(".").at(-1)))).toEqual(new Set(["gpu-1"]))
    const replayed: Array<number> = []
    const outcome = await Effect.runPromise(
      Replays.ask(bus, member.id, { name: "gpu-1", from: 0 }, (seq) => void replayed.push(seq))
    )
    expect(outcome._tag).toBe("done")
    expect(replayed).toEqual(replayed.map((_, seq) => seq))
    expect(replayed.length).toBeGreaterThan(0)

    process.process.kill("SIGTERM")
    expect(await process.ended).toBe(0)
    expect(await Promise.all([rows("leases"), rows("members")])).toEqual([[], []])
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }, 60_000)

  it.each([
    [["--worker", "http://10.0.0.4:8000"], "Add --nats"],
    [["--worker", "http://127.0.0.1:8000", "--nats", "nats://127.0.0.1:1"], "Add --advertise"],
    [["--worker", "http://10.0.0.4:8000", "--id", "a b", "--nats", "nats://127.0.0.1:1"], "must be 1 to 128 of"]
  ])("refuses %j and says what to do", async (args, said) => {
    const process = agent(args)
    expect(await process.ended).not.toBe(0)
    expect(process.output()).toContain(said)
  })
})
