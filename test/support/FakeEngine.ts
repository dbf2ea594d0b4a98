/** Workers that live in memory: an Engine whose every answer a test sets, with the fleet's hooks written down. */
import type { Options } from "../../actors/Fleet.ts"
import type { ServedModel, WorkerFacts } from "../../src/domain/Worker.ts"
import type { Engine } from "../../src/ports/Engine.ts"

export interface FakeWorker {
  up: boolean
  healthy: boolean
  /** Answers nothing, ever; only a deadline ends the question. */
  hangs: boolean
  /** Answers that it is alive, yet no token comes out of it. */
  wedged: boolean
  /** Answers only once this is settled. */
  gate: Promise<void> | null
  facts: WorkerFacts
  running: number
  probes: number
  /** Of those probes, the ones that asked for a generated token. */
  deepProbes: number
  discoveries: number
  inFlight: number
}

export const model = (id: string, more: Partial<ServedModel> = {}): ServedModel => ({
  id,
  parent: null,
  root: null,
  maxModelLen: 4_096,
  ...more
})

export const facts = (more: Partial<WorkerFacts> = {}): WorkerFacts => ({
  engine: "vllm",
  models: [model("qwen")],
  blockSize: 16,
  blockCount: 1_000,
  eventSources: [],
  ranks: [],
  priorityOrder: "lowFirst",
  unsetPriority: null,
  tokenizes: true,
  startedAtMs: 1,
  ...more
})

export const knobs: Options["knobs"] = {
  workersMax: 8,
  probeIntervalMs: 1_000,
  probeTimeoutMs: 500,
  discoverTimeoutMs: 500,
  discoverIntervalMs: 30_000,
  joinRetryMsMin: 100,
  joinRetryMsMax: 1_000,
  drainMs: 10_000,
  breaker: {
    failuresMax: 3,
    failureShareMax: 0.5,
    windowRequestsMin: 10,
    windowMs: 10_000,
    openMsMin: 1_000,
    openMsMax: 8_000
  }
}

export const make = () => {
  const workers = new Map<string, FakeWorker>()
  /** What the hooks heard, in order. */
  const heard: Array<string> = []
  const held = new Set<number>()
  const slotOf = new Map<number, FakeWorker>()

  const at = (url: string): FakeWorker => {
    let worker = workers.get(url)
    if (worker === undefined) {
      worker = {
        up: true,
        healthy: true,
        hangs: false,
        wedged: false,
        gate: null,
        facts: facts(),
        running: 0,
        probes: 0,
        deepProbes: 0,
        discoveries: 0,
        inFlight: 0
      }
      workers.set(url, worker)
    }
    return worker
  }

  const silence = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))))

  const answer = async <A>(
    url: string,
    signal: AbortSignal,
    say: (worker: FakeWorker) => A | Promise<A>
  ): Promise<A> => {
    const worker = at(url)
    if (worker.hangs) return silence(signal)
    if (worker.gate !== null) await worker.gate
    if (!worker.up) throw new Error("connection refused")
    return say(worker)
  }

  const engine: Engine = {
    name: "vllm",
    discover: (url, signal) =>
      answer(url, signal, (worker) => {
        worker.discoveries++
        return worker.facts
      }),
    healthy: (url, signal, deep) =>
      answer(url, signal, (worker) => {
        worker.probes++
        if (deep) worker.deepProbes++
        return deep && worker.wedged ? silence(signal) : worker.healthy
      }),
    load: (url, signal) =>
      answer(url, signal, (worker) => ({ running: worker.running, waiting: 0, kvUsage: 0.5, ranks: new Map() })),
    tokenize: async () => null,
    decode: () => ({ ts: 0, events: [], rank: null, unknown: [] })
  }

  const options: Options = {
    knobs,
    aliases: {},
    detect: ({ url }, signal) => answer(url, signal, () => engine),
    inFlight: (slot) => slotOf.get(slot)?.inFlight ?? 0,
    reusable: (slot) => !held.has(slot),
    onJoin: (worker) => {
      for (const slot of worker.slots) slotOf.set(slot, at(worker.spec.url))
      heard.push(`join ${worker.spec.id}`)
    },
    onChange: (worker, _before, restarted) => void heard.push(`${restarted ? "restart" : "change"} ${worker.spec.id}`),
    onVacate: () => {},
    onLeave: (worker) => void heard.push(`leave ${worker.spec.id} ${worker.slots.join(" ")}`),
    // The middle: no jitter.
    random: () => 0.5
  }
  return { at, heard, held, options }
}
