/** Seen: all that one visit to a worker brought, as plain data. The judges make findings of it. */
import type { EngineBatch } from "../domain/KvEvent.ts"
import type { Prompt } from "../domain/Request.ts"
import type { EventSource, WorkerFacts, WorkerSpec } from "../domain/Worker.ts"

/** What `GET /v1/models` came to. `stripped`: the same without the path of the address; null when it has none. */
export interface Reach {
  /** 0 when nobody answered. */
  readonly status: number
  readonly hasModels: boolean
  readonly why: string
  readonly stripped: { readonly url: string; readonly hasModels: boolean } | null
}

/** A message of a publisher. `batch` is null when it could not be read. */
export interface Heard {
  readonly seq: number
  /** When it arrived, ms since the epoch. */
  readonly atMs: number
  readonly batch: EngineBatch | null
  readonly why: string
}

export interface Listened {
  readonly source: EventSource
  readonly connected: boolean
  /** Under the source's own topic. */
  readonly heard: ReadonlyArray<Heard>
  /** Under any topic; null where the source's own is any. */
  readonly wide: ReadonlyArray<Heard> | null
  /** Null: no replay endpoint. Empty: it answered. Else why it did not. */
  readonly replay: string | null
}

/** `cold`, then `warm`: the same ids; `salted`: the same under another salt. Then a chat, and a text where chats differ. */
export type ProbeName = "cold" | "warm" | "salted" | "chat" | "text"

export interface Answer {
  /** 0 when nobody answered. */
  readonly status: number
  readonly why: string
  readonly promptTokens: number | null
  readonly cachedTokens: number | null
  readonly ms: number
}

export interface Probe {
  readonly name: ProbeName
  readonly prompt: Prompt
  readonly salt: string | null
  /** By the files here; null when there are none, or they cannot render it. */
  readonly local: Uint32Array | null
  /** By the engine's `/tokenize`, or null. */
  readonly remote: Uint32Array | null
  readonly sentAtMs: number
  readonly answer: Answer
}

export interface TokenizerSeen {
  readonly dir: string | null
  /** Why the files cannot be used; empty when they can, or there are none. */
  readonly problem: string
}

/** A worker that told what it is. */
export interface Known {
  readonly facts: WorkerFacts
  /** Told a second time, over another connection. */
  readonly again: WorkerFacts
  /** Name that is asked for, and the canonical one its keys are made with. */
  readonly model: string
  readonly canonical: string
  readonly tokenizer: TokenizerSeen
  readonly listened: ReadonlyArray<Listened>
  readonly probes: ReadonlyArray<Probe>
}

export interface Seen {
  readonly spec: WorkerSpec
  readonly reach: Reach
  /** Null: it could not be asked what it is; `why`. */
  readonly known: Known | null
  readonly why: string
}

export const probeOf = ({ probes }: Known, name: ProbeName): Probe | null =>
  probes.find((probe) => probe.name === name) ?? null
