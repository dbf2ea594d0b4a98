/** Traffic: what a cell is replayed with, from the traces in a folder, or made up where there is none. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import * as Random from "../Random.ts"
import * as Generated from "../replay/Generated.ts"
import * as Profiles from "../replay/Profiles.ts"
import * as Saturation from "../replay/Saturation.ts"
import * as Trace from "../replay/Trace.ts"
import { type Cell, nameOf, type TraceName } from "./Cell.ts"

const files: Readonly<Record<TraceName, string>> = {
  conv: "mooncake_conversation_trace.jsonl.gz",
  tool: "toolagent_like_dev.jsonl.gz",
  syn: "mooncake_synthetic_trace.jsonl.gz",
  agent: "agentic_coding_dev.jsonl.gz"
}

/** Names of files that a folder lacks. */
export const missing = (folder: string): ReadonlyArray<string> =>
  Object.values(files).filter((file) => !existsSync(join(folder, file)))

/** What `Replay.run` is given. */
export interface Staged {
  readonly trace: Trace.Trace
  readonly fleet: Profiles.Fleet
  readonly live: number
  readonly durationMs: number
}

const sessionsMs = 3 * 3_600_000
/** Made up: a few engines with small caches for two minutes. */
const tiny = { durationMs: 120_000, perSecond: 2, workersMax: 3, cacheShare: 0.1, live: 12 }

/** Keeps traces once read, and the traffic last staged: strategies of one cell and seed share it. */
export class Traffic {
  readonly #folder: string | null
  readonly #traces = new Map<TraceName, Trace.Trace>()
  #last: { readonly key: string; readonly staged: Staged } | null = null

  /** `folder`: null makes tiny traces up. */
  constructor(folder: string | null) {
    this.#folder = folder
  }

  /** Requests per second the cell's fleet could serve at most; null for sessions. */
  saturation(cell: Cell): number | null {
    const trace = this.#trace(cell.trace)
    if (trace.kind === "sessions") return null
    return Saturation.copies(trace, this.#fleet(cell, trace), 1, Random.make(1)).perSecond
  }

  /** `perSecond`: the fleet's saturation. */
  stage(cell: Cell, perSecond: number | null, seed: number): Staged {
    const key = `${nameOf(cell)} ${seed}`
    if (this.#last?.key === key) return this.#last.staged
    this.#last = null
    const staged = this.#staged(cell, perSecond, seed)
    this.#last = { key, staged }
    return staged
  }

  #staged(cell: Cell, perSecond: number | null, seed: number): Staged {
    const trace = this.#trace(cell.trace)
    const fleet = this.#fleet(cell, trace)
    if (trace.kind === "sessions") {
      const live = this.#folder === null ? tiny.live : cell.load * cell.workers
      return { trace, fleet, live, durationMs: this.#folder === null ? tiny.durationMs : sessionsMs }
    }
    if (perSecond === null) throw new Error(`The saturation of ${nameOf(cell)} is not known.`)
    const once = trace.requests.length / (trace.durationMs / 1_000)
    const copied = Trace.copied(trace, (cell.load * perSecond) / once, Random.make(seed))
    return { trace: copied, fleet, live: 0, durationMs: trace.durationMs }
  }

  #trace(name: TraceName): Trace.Trace {
    const known = this.#traces.get(name)
    if (known !== undefined) return known
    const trace = this.#folder === null ? madeUp(name) : Trace.read(join(this.#folder, files[name]))
    this.#traces.set(name, trace)
    return trace
  }

  #fleet({ cache, workers }: Cell, trace: Trace.Trace): Profiles.Fleet {
    const profile = Profiles.profiles[trace.kind === "arrivals" ? "llama70" : "mla"]
    const isTiny = this.#folder === null
    const tokens = profile.cacheTokens[cache] * (isTiny ? tiny.cacheShare : 1)
    return Profiles.fleet(profile, isTiny ? Math.min(workers, tiny.workersMax) : workers, tokens, trace.blockSize)
  }
}

const madeUp = (name: TraceName): Trace.Trace =>
  name === "agent"
    ? Generated.sessions(1, 20, 10)
    : Generated.arrivals({ conv: 1, tool: 2, syn: 3 }[name], tiny.durationMs, tiny.perSecond)
