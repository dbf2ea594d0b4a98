/** One worker of the fleet: what is known of it, and how others see it. */
import type { Queue } from "effect"
import type { EngineLoad, WorkerFacts, WorkerSpec } from "../src/domain/Worker.ts"
import type { Engine } from "../src/ports/Engine.ts"
import type * as Breaker from "./FleetBreaker.ts"
import type * as Lifecycle from "./FleetLifecycle.ts"

/** Who listed a worker: a reload of the config only removes what the config had added. `announced`: it said so itself. */
export type Origin = "config" | "admin" | "announced"

/** A worker as others see it. A snapshot: a change of facts makes a new one. */
export interface Worker {
  /** One for each data-parallel rank in `facts.ranks`, in that order; one where a request needs no rank. */
  readonly slots: ReadonlyArray<number>
  readonly spec: WorkerSpec
  readonly engine: Engine
  /** What it last said of itself, and what the router goes by: the operator may know better, and room may be short. */
  readonly told: WorkerFacts
  readonly facts: WorkerFacts
  /** Canonical name of its base model, the namespace of its KV events. */
  readonly model: string
}

/** Everything known of a worker, for people. */
export interface WorkerStatus {
  readonly slots: ReadonlyArray<number>
  readonly spec: WorkerSpec
  readonly origin: Origin
  readonly state: Lifecycle.State
  /** What brought it into this state. */
  readonly why: string
  readonly sinceMs: number
  readonly facts: WorkerFacts | null
  readonly load: EngineLoad | null
  readonly loadAtMs: number | null
  readonly inFlight: number
  readonly breaker: Readonly<Breaker.Breaker>
}

/** The fleet's own record. Only `Fleet` and `FleetProbe` write to it. */
export interface Entry {
  /** At least one, from the day it is listed. */
  slots: ReadonlyArray<number>
  readonly spec: WorkerSpec
  origin: Origin
  state: Lifecycle.State
  /** The state that the log told of last. */
  said: Lifecycle.State
  why: string
  sinceMs: number
  worker: Worker | null
  load: EngineLoad | null
  loadAtMs: number | null
  readonly breaker: Breaker.Breaker
  /** A request is out that decides whether it comes back; only while half open. */
  trial: boolean
  /** Its last sign of life was good. */
  answers: boolean
  joinTries: number
  quiet: number
  discoveredAtMs: number
  dueAtMs: number
  drainByMs: number
  readonly wake: Queue.Queue<true>
}
