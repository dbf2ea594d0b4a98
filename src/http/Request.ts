/**
 * The life of a request, in seven phases: receive, hash, match, place, book, forward, settle.
 *
 * Plain code from the socket to the socket: nothing is awaited but a tokenizer that left the event loop and, for some
 * milliseconds, a store that may know more than the index; and no phase throws. Another worker is tried only while nothing has gone to the client.
 */
import { randomUUID } from "node:crypto"
import type { Interface as Admission, Guest } from "../../actors/Admission.ts"
import type { Finished } from "../../actors/Delivery.ts"
import type { Fleet, Worker, Outcome as WorkerOutcome } from "../../actors/Fleet.ts"
import type { Route } from "../../actors/FleetRoutes.ts"
import type { Ask, Booking, Ledger } from "../../actors/Ledger.ts"
import type { Pictures } from "../../actors/Pictures.ts"
import type { KeyLanes } from "../domain/Block.ts"
import type { RouteError } from "../domain/Errors.ts"
import type { RouteRequest } from "../domain/Request.ts"
import type { Hasher } from "../hot/BlockHash.ts"
import type { Usage } from "../hot/SseScan.ts"
import type { Tokenizer } from "../ports/Tokenizer.ts"
import { CachedTokens } from "./CachedTokens.ts"
import * as Defect from "./Defect.ts"
import * as Dialect from "./Dialect.ts"
import type { Exchange } from "./Exchange.ts"
import * as HeaderLines from "./HeaderLines.ts"
import { replaceString } from "./JsonField.ts"
import * as Listing from "./Listing.ts"
import * as Match from "./Match.ts"
import * as OpenAi from "./OpenAi.ts"
import type { Origin, Pool } from "./Pool.ts"
import * as Problem from "./Problem.ts"
import * as PromptBlocks from "./PromptBlocks.ts"
import * as ReceiptHeader from "./ReceiptHeader.ts"
import * as Trail from "./Trail.ts"
import type { Forward, Outcome } from "./Upstream.ts"
import { WorkerAnswer } from "./WorkerAnswer.ts"

/** What one request came to: for its receipt, its spans and metrics. */
export interface Settled extends Finished {
  readonly trail: Trail.Trail
  readonly endpoint: "chat" | "completions"
  /** As the client named it; the canonical name of what it is. */
  readonly asked: string
  readonly model: string
  readonly stream: boolean
  /** Answers asked for at once. */
  readonly choices: number
  /** Null when no worker was ever chosen. */
  readonly worker: string | null
  /** Where it ended; null when nowhere. */
  readonly slot: number | null
  readonly outcome: "complete" | "clientGone" | "failed"
  readonly status: number
  readonly tries: number
  /** The most that any eligible worker was thought to hold, of the last try. */
  readonly bestTokens: number
  readonly outputTokens: number | null
  /** Null for an answer that was not streamed or never began. */
  readonly ttftMs: number | null
  /** The router's own share: from the request read to its first worker chosen; null when none was. */
  readonly decisionMs: number | null
  readonly totalMs: number
}

export interface Deps extends Match.Deps, Listing.Deps {
  /** Whether a request had better wait; where there is none, all are sent at once. */
  readonly admission?: Admission
  readonly fleet: Fleet["Service"]
  readonly ledger: Ledger["Service"]
  readonly hasher: Hasher
  readonly evicted: Pictures["evicted"]
  readonly tokenizerOf: (route: Route) => Tokenizer | null
  readonly computed: Pictures["computed"]
  /** The data-parallel rank a slot stands for; null where a worker needs none to be told. */
  readonly rankOf: (slot: number) => number | null
  /** A request goes there that makes the engine report all blocks of its prompt, not only new ones. */
  readonly reportsFull: (slot: number) => void
  readonly pool: Pool
  readonly forward: (pool: Pool, forward: Forward) => { readonly abort: () => void }
  /** Requests out on each slot, streams included. Counted here, read by the fleet. */
  readonly inFlight: Uint32Array
  /** Other workers tried after the first, before the first byte. */
  readonly retriesMax: number
  /** Monotonic, ms. */
  readonly now: () => number
  readonly settled: (record: Settled) => void
  /** A request was answered with an error before a worker was looked for; `trail` is null where it asked for no answer. */
  readonly refused: (status: number, trail: Trail.Trail | null) => void
  /** A request has its first worker: the keys of its prompt; none where it is several prompts, or has several chains of keys. */
  readonly prompted?: (model: string, blockSize: number, keys: KeyLanes) => void
  /** Where requests are traced. */
  readonly traces?: Trail.Traces
  /** Where there are receipts. */
  readonly witness?: Trail.Witness
}

/** Longest client request id that is kept; a longer or odder one is replaced. */
const requestId = /^[\x21-\x7e]{1,128}$/

const sendError = (exchange: Exchange, id: string, error: RouteError): number => {
  const problem = Problem.fromError(error)
  exchange.reply(problem.status, { ...problem.headers, "x-request-id": id }, problem.body)
  return problem.status
}

/** Part of a string may keep all of it: what is kept of a request must not keep the head that it came in. */
const ownCopy = (text: string): string => Buffer.from(text, "latin1").toString("latin1")

const ownHeader = (exchange: Exchange, name: string): string | undefined => {
  const value = exchange.header(name)
  return value === undefined ? undefined : ownCopy(value)
}

/** What of a request is needed after its prompts were hashed: they are large, and answers stream for long. */
type Routed = Omit<RouteRequest, "prompts">

/** Why a worker's breaker should know; a failure that came from our own side says nothing about it. */
const blame = (outcome: Extract<Outcome, { kind: "failed" }>): WorkerOutcome => {
  if (outcome.code === "aborted") return "cancelled"
  if (outcome.code === "connect" || outcome.code === "connectTimeout") return "connectFailed"
  return outcome.sent ? "diedAfter" : "diedBeforeFirstByte"
}

export const make = (deps: Deps): ((exchange: Exchange) => void) => {
  const { fleet, ledger, now, workersMax } = deps
  const match = Match.make(deps)
  const origins = new WeakMap<object, Origin>()
  const cached = new CachedTokens()

  const originOf = (spec: { readonly url: string }): Origin => {
    let origin = origins.get(spec)
    if (origin === undefined) {
      origin = deps.pool.origin(spec.url)
      origins.set(spec, origin)
    }
    return origin
  }

  const route = (
    exchange: Exchange,
    request: Routed,
    found: Route,
    prompts: PromptBlocks.Hashed,
    trail: Trail.Trail
  ): void => {
    const startedMs = trail.receivedMs
    trail.hashedMs = now()
    const { exact, prompts: promptCount, promptTokens } = prompts
    /** Let go once the answer has begun: a stream may last for minutes, and tokens of long prompts are many. */
    let hashed: PromptBlocks.Hashed | null = prompts
    const tried = new Uint8Array(workersMax)
    let tries = 0
    /** The store is waited for once, before the first try. */
    let waited = deps.overflow === undefined
    let guest: Guest | null = null
    /** When it was first matched and placed, if it had to wait: its turn is part of `place`. */
    let waitsFrom: { readonly matchMs: number; readonly placeMs: number } | null = null
    let decisionMs: number | null = null
    let served = request.model
    let body = exchange.body
    const explained = deps.witness !== undefined && exchange.header(ReceiptHeader.asked) === "1"
    const receiptLine = (step: Trail.Try): string => ReceiptHeader.of(request.id, promptTokens, step)

    const record = (
      worker: string | null,
      slot: number | null,
      outcome: Settled["outcome"],
      status: number,
      predictedTokens = 0,
      usage: Usage | null = null,
      ttftMs: number | null = null,
      evictedBlocks = 0
    ): void => {
      trail.settledMs = now()
      const last = trail.tries.at(-1)
      deps.settled({
        trail,
        endpoint: request.endpoint,
        asked: request.model,
        model: found.model,
        stream: request.stream,
        choices: request.choices,
        worker,
        slot,
        outcome,
        status,
        tries,
        bestTokens: last?.bestTokens ?? 0,
        outputTokens: last?.outputTokens ?? null,
        prompts: promptCount,
        promptTokens,
        exact,
        predictedTokens,
        deliveredTokens: usage?.cachedTokens ?? null,
        evictedBlocks,
        reportedPromptTokens: usage?.promptTokens ?? null,
        ttftMs,
        decisionMs,
        totalMs: trail.settledMs - startedMs
      })
    }

    /** Whether it waits here: then it is tried again when its turn has come. */
    const holds = (ask: Ask, nowMs: number): boolean => {
      const { admission } = deps
      if (admission === undefined) return false
      const isFirst = guest === null
      const again = (): void => {
        trail.waitedMs = now() - nowMs
        guarded(exchange, trail, () => attempt(null))
      }
      guest ??= admission.guest(nowMs, ask.priority, again)
      const held = admission.holds(guest, ask, nowMs)
      if (held && isFirst) {
        exchange.onAbort(() => {
          if (!guest!.held) return
          admission.leave(guest!)
          again()
        })
      }
      return held
    }

    const attempt = (last: { readonly worker: string; readonly reason: string } | null): void => {
      if (exchange.gone) {
        record(null, null, "clientGone", 0)
        return
      }
      // The fleet may have changed since the last try. Slots of the route found first may be others' by now.
      const current = fleet.resolve(request.model)
      const eligible = current?.eligible.slice() ?? new Uint8Array(0)
      let candidates = 0
      for (let slot = 0; slot < eligible.length; slot++) {
        if (tried[slot] === 1) eligible[slot] = 0
        candidates += eligible[slot]!
      }
      const { priority } = request
      const order = priority === null ? null : Dialect.orderOf(fleet.worker, workersMax, current?.served ?? served)
      const matchMs = now()
      const ask = match(hashed!, eligible, Dialect.lowFirst(priority, order))
      if (!waited) {
        waited = true
        if (deps.overflow?.wait(() => guarded(exchange, trail, () => attempt(null))) === true) return
      }
      const placeMs = now()
      if (tries === 0 && candidates > 0 && holds(ask, placeMs)) {
        waitsFrom ??= { matchMs, placeMs }
        return
      }
      const { witness } = deps
      const decided =
        tries > deps.retriesMax || candidates === 0
          ? { slot: -1, decision: null }
          : witness === undefined
            ? { slot: ledger.place(ask, placeMs), decision: null }
            : ledger.decide(ask, placeMs, witness.most)
      const { decision, slot } = decided
      const worker = slot < 0 ? undefined : fleet.worker(slot)
      if (current === undefined || worker === undefined) {
        const { states, workers } = current ?? { states: "all have left", workers: 0 }
        if (tries <= deps.retriesMax) trail.missing = states
        const error: RouteError =
          last === null
            ? { _tag: "NoEligibleWorker", model: request.model, workers, states }
            : { _tag: "WorkerFailed", ...last, tries }
        record(last?.worker ?? null, null, "failed", sendError(exchange, request.id, error))
        return
      }
      // An alias may be turned to another model at any time.
      if (served !== current.served) {
        served = current.served
        body = served === request.model ? exchange.body : replaceString(exchange.body, "model", served)
      }
      const bytes = Dialect.body(body, request, worker.facts, order)
      tried[slot] = 1
      tries++
      const bookMs = now()
      const booking = ledger.book(slot, ask, request.stream, bookMs)
      const sentMs = now()
      decisionMs ??= sentMs - startedMs - trail.waitedMs
      if (tries === 1) deps.prompted?.(found.model, ask.blockSize, ask.keys)
      const step: Trail.Try = {
        worker: worker.spec.id,
        slot,
        spanId: deps.traces?.spanId() ?? null,
        decision,
        candidates: decision === null ? [] : decision.slots.map((each) => witness!.known(each, match.blocksOf(each))),
        eligible: candidates,
        states: current.states,
        heldTokens: booking.heldTokens,
        bestTokens: Match.most(ask.heldTokens, eligible),
        ...(waitsFrom ?? { matchMs, placeMs }),
        bookMs,
        sentMs,
        firstByteMs: Number.NaN,
        endMs: Number.NaN,
        end: null,
        usage: null,
        outputTokens: null
      }
      trail.tries.push(step)
      waitsFrom = null
      if (trail.trace?.sampled === true && exact) {
        const keys = hashed!.keysFor(deps.blockSizes[slot]!).map((prompt) => prompt.keys)
        deps.traces!.sent(trail.trace, step, keys)
      }
      deps.inFlight[slot]!++
      fleet.sent(slot)
      if (request.reportsFull) deps.reportsFull(slot)
      const others = candidates > 1 && tries <= deps.retriesMax
      send(booking, worker, others, bytes, step)
    }

    const send = (booking: Booking, { facts, spec }: Worker, others: boolean, bytes: Buffer, step: Trail.Try): void => {
      const { slot } = booking
      const origin = originOf(spec)
      const addsUsage = Dialect.addsUsage(request, facts.engine)
      const extraHeaders = ["x-request-id", request.id]
      if (step.spanId !== null) {
        extraHeaders.push("traceparent", Trail.parentOf(trail.trace!, step.spanId))
        // It belongs to a trace that could not be read, or is too long.
        if (trail.trace!.state === null && exchange.header("tracestate") !== undefined) {
          extraHeaders.push("tracestate", HeaderLines.none)
        }
      }
      const rank = deps.rankOf(slot)
      if (rank !== null) extraHeaders.push("x-data-parallel-rank", String(rank))
      // A record in a compressed stream could not be taken out.
      if (addsUsage) extraHeaders.push("accept-encoding", "identity")
      const evictedBefore = deps.evicted(slot)
      const answer = new WorkerAnswer(facts.engine, addsUsage)
      let usage: Usage | null = null
      let ttftMs: number | null = null
      let report: ReturnType<Deps["computed"]> = null
      let ok = false
      const began = (): void => {
        if (ok) return
        ok = true
        fleet.outcome(slot, "ok")
        if (hashed === null) return
        const prompts = hashed.keysFor(deps.blockSizes[slot]!).map(({ keys }) => keys)
        report = deps.computed(slot, prompts, hashed.exact)
        hashed = null
      }
      let charged = true
      /** What was charged is given back, exactly once. */
      const settle = (outcome: "complete" | "aborted" | "failed"): void => {
        if (!charged) return
        charged = false
        deps.inFlight[slot]!--
        // Tokens of several answers at once say nothing about the pace or the length of one.
        const single = request.choices === 1
        booking.settle(now(), {
          outputTokens: single ? answer.outputTokens : null,
          cachedTokens: usage?.cachedTokens ?? null,
          outcome
        })
      }
      const job: Forward = {
        exchange,
        origin,
        path: spec.url.slice(originText(spec.url).length) + exchange.target,
        extraHeaders,
        answerHeaders: explained
          ? ["x-request-id", request.id, "x-warmpath-worker", spec.id, ReceiptHeader.name, receiptLine(step)]
          : ["x-request-id", request.id, "x-warmpath-worker", spec.id],
        body: bytes,
        onHead: (status, header) =>
          // Overloaded or shutting down: it has computed nothing, so another may.
          status === 503 && others ? "hold" : answer.begin(status, header),
        onBytes: (payload) => {
          if (!answer.feed(payload)) return
          step.firstByteMs = now()
          ttftMs = step.firstByteMs - startedMs
          booking.firstByte(step.firstByteMs)
          began()
        },
        edit: (payload, last) => answer.edit(payload, last),
        onFail: (_code, reason) => answer.lastWords(spec.id, reason),
        onEnd: (outcome) => {
          answer.end()
          const isGood = outcome.kind === "complete" && outcome.status < 300
          usage = answer.usage
          if (usage !== null && isGood) {
            usage = cached.read(spec, facts, `${request.endpoint} ${request.stream}`, usage)
          }
          step.endMs = now()
          step.end = outcome
          step.usage = usage
          step.outputTokens = answer.outputTokens
          settle(isGood ? "complete" : outcome.kind === "clientGone" ? "aborted" : "failed")
          const conclude = (how: Settled["outcome"], status: number): void => {
            report?.({
              promptTokens: usage?.promptTokens ?? null,
              cachedTokens: usage?.cachedTokens ?? null,
              outputTokens: usage?.completionTokens ?? null
            })
            // A collector started anew counts from 0 again.
            const evictedBlocks = Math.max(0, deps.evicted(slot) - evictedBefore)
            record(spec.id, slot, how, status, booking.heldTokens, usage, ttftMs, evictedBlocks)
          }
          switch (outcome.kind) {
            case "complete":
              if (outcome.status >= 500) fleet.outcome(slot, "serverError")
              else if (isGood) began()
              else fleet.outcome(slot, "ok")
              return conclude("complete", outcome.status)
            case "clientGone":
              if (!ok) fleet.outcome(slot, "cancelled")
              return conclude("clientGone", 0)
            case "held":
              fleet.outcome(slot, "serverError")
              return attempt({ worker: spec.id, reason: `it answered ${outcome.status}` })
            case "failed":
              fleet.outcome(slot, blame(outcome))
              if (!outcome.sent) return attempt({ worker: spec.id, reason: outcome.reason })
              return conclude("failed", 0)
          }
        }
      }
      try {
        deps.forward(deps.pool, job)
      } catch (defect) {
        // It never began, so nobody else will settle it.
        settle("failed")
        fleet.outcome(slot, "cancelled")
        throw defect
      }
    }

    attempt(null)
  }

  /** Our own fault, off the front's turn: it must cost this request, never the process. */
  const broke = (exchange: Exchange, trail: Trail.Trail, defect: unknown): void => {
    Defect.tell(defect, trail.id, trail.trace?.traceId)
    if (exchange.started) exchange.destroy()
    else refuse(exchange, trail.id, { _tag: "Defect" }, trail)
  }

  /** On a turn of its own, where nobody else would hear of a defect. */
  const guarded = (exchange: Exchange, trail: Trail.Trail, run: () => void): void => {
    try {
      run()
    } catch (defect) {
      broke(exchange, trail, defect)
    }
  }

  const refuse = (exchange: Exchange, id: string, error: RouteError, trail: Trail.Trail | null = null): void => {
    const status = sendError(exchange, id, error)
    if (trail !== null) trail.settledMs = now()
    deps.refused(status, trail)
  }

  const generate = (exchange: Exchange, endpoint: "chat" | "completions", id: string): void => {
    const trace = deps.traces?.begin(ownHeader(exchange, "traceparent"), ownHeader(exchange, "tracestate")) ?? null
    const trail = Trail.make(id, endpoint, trace, now())
    const parsed = OpenAi.parse(endpoint, id, exchange.body)
    trail.hashMs = now()
    if (!parsed.ok) return refuse(exchange, id, parsed.error, trail)
    const { prompts, ...request } = parsed.request
    const found = fleet.resolve(request.model)
    if (found === undefined) {
      const known = fleet.models().map((model) => model.id)
      return refuse(exchange, id, { _tag: "UnknownModel", model: request.model, known }, trail)
    }
    const hashed = PromptBlocks.hash(deps.hasher, deps.tokenizerOf(found), prompts, { ...found, salt: request.salt })
    if (hashed instanceof Promise) {
      hashed
        .then((done) => route(exchange, request, found, done, trail))
        .catch((defect: unknown) => broke(exchange, trail, defect))
    } else route(exchange, request, found, hashed, trail)
  }

  const models = (exchange: Exchange, id: string, name: string | null): void => {
    const found = Listing.models(deps, name)
    if (found !== undefined) return answerJson(exchange, id, 200, found)
    const known = fleet.models().map((model) => model.id)
    refuse(exchange, id, { _tag: "UnknownModel", model: name ?? "", known })
  }

  const ready = (exchange: Exchange, id: string): void => {
    const { body, isReady } = Listing.ready(deps)
    answerJson(exchange, id, isReady ? 200 : 503, body)
  }

  return (exchange) => {
    const given = exchange.header("x-request-id")
    const id = given !== undefined && requestId.test(given) ? ownCopy(given) : randomUUID()
    const { method, path } = exchange
    const endpoint = OpenAi.endpointOf(path)
    if (endpoint !== undefined && method === "POST") {
      try {
        return generate(exchange, endpoint, id)
      } catch (defect) {
        throw Defect.of(defect, id)
      }
    }
    const isModel = path === "/v1/models" || path.startsWith("/v1/models/")
    const readable = isModel || path === "/health" || path === "/ready"
    if (readable && (method === "GET" || method === "HEAD")) {
      if (path === "/health") return answerJson(exchange, id, 200, { status: "ok" })
      if (path === "/ready") return ready(exchange, id)
      return models(exchange, id, path === "/v1/models" ? null : decoded(path.slice("/v1/models/".length)))
    }
    const allowed = endpoint !== undefined ? "POST" : readable ? "GET" : null
    refuse(
      exchange,
      id,
      allowed === null ? { _tag: "UnknownPath", method, path } : { _tag: "WrongMethod", method, path, allowed }
    )
  }
}

const answerJson = (exchange: Exchange, id: string, status: number, body: unknown): void =>
  exchange.reply(status, { "content-type": "application/json", "x-request-id": id }, JSON.stringify(body))

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const originText = (url: string): string => /^https?:\/\/[^/]+/.exec(url)?.[0] ?? url
