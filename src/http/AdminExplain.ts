/**
 * POST /admin/explain: where a request would go now, and why no other worker would get it. Its body is that of a chat or
 * completions request.
 *
 * It is parsed, tokenised, hashed, matched and weighed by the same code as a request, also as far as a store is asked where
 * the index ends. Nothing is sent, booked or learned, and the rotation stays where it is: asked the next moment, it goes there.
 */
import { Result } from "effect"
import type { Fleet } from "../../actors/Fleet.ts"
import type { Route } from "../../actors/FleetRoutes.ts"
import type { Ask, Ledger } from "../../actors/Ledger.ts"
import type { RouteError } from "../domain/Errors.ts"
import type { RouteRequest } from "../domain/Request.ts"
import type { Hasher } from "../hot/BlockHash.ts"
import type { Tokenizer } from "../ports/Tokenizer.ts"
import { bodyOf, fault, type Reply, type Room } from "./AdminReply.ts"
import * as Dialect from "./Dialect.ts"
import * as Match from "./Match.ts"
import * as OpenAi from "./OpenAi.ts"
import * as PromptBlocks from "./PromptBlocks.ts"
import * as ReceiptOf from "./ReceiptOf.ts"
import type { Witness } from "./Trail.ts"

export interface Deps extends Match.Deps {
  readonly fleet: Pick<Fleet["Service"], "models" | "resolve" | "worker">
  readonly ledger: Pick<Ledger["Service"], "decision" | "explain" | "policy">
  readonly hasher: Hasher
  readonly tokenizerOf: (route: Route) => Tokenizer | null
  readonly bodyBytesMax: number
  /** Monotonic, ms. */
  readonly now: () => number
  readonly witness: Witness
}

const form =
  'Send the body of a request: {"model":"…","messages":[{"role":"user","content":"…"}]}, or with "prompt" in place of "messages".'

const refusal = (error: RouteError): Reply =>
  error._tag === "BadField"
    ? fault(400, "bad_field", `${error.param} is ${error.value}.`, error.fix[0]!.toUpperCase() + error.fix.slice(1))
    : fault(400, "bad_json", `The body is not a request${error._tag === "BadJson" ? `: ${error.detail}` : "."}`, form)

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const parse = (text: string): Result.Result<RouteRequest, Reply> => {
  let fields: unknown
  try {
    fields = JSON.parse(text)
  } catch (cause) {
    return Result.fail(fault(400, "bad_json", `The body is not JSON: ${(cause as Error).message}`, form))
  }
  if (!isObject(fields)) return Result.fail(fault(400, "bad_json", "The body is not a JSON object.", form))
  const given = ["messages", "prompt"].filter((name) => fields[name] !== undefined)
  if (given.length !== 1) {
    return Result.fail(fault(400, "bad_question", `The prompt is given ${given.length} times.`, form))
  }
  const parsed = OpenAi.parse(given[0] === "messages" ? "chat" : "completions", "explain", Buffer.from(text))
  return parsed.ok ? Result.succeed(parsed.request) : Result.fail(refusal(parsed.error))
}

const unknownModel = (model: string, known: ReadonlyArray<string>): Reply =>
  fault(
    404,
    "unknown_model",
    `There is no model "${model.slice(0, 200)}" here.`,
    known.length === 0 ? "No worker has told its models yet." : `Use one of ${known.slice(0, 20).join(", ")}.`
  )

export const room = (deps: Deps): Room => {
  const { fleet, ledger, overflow, witness, workersMax } = deps
  const match = Match.make(deps)

  const known = () => fleet.models().map(({ id }) => id)

  const answer = async (request: RouteRequest): Promise<Reply> => {
    const first = fleet.resolve(request.model)
    if (first === undefined) return unknownModel(request.model, known())
    const space = { ...first, salt: request.salt }
    const hashed = await PromptBlocks.hash(deps.hasher, deps.tokenizerOf(first), request.prompts, space)
    const asked = (): { readonly ask: Ask; readonly route: Route } | null => {
      const route = fleet.resolve(request.model)
      if (route === undefined) return null
      const order = Dialect.orderOf(fleet.worker, workersMax, route.served)
      const priority = request.priority === null ? null : Dialect.lowFirst(request.priority, order)
      return { route, ask: match(hashed, route.eligible, priority) }
    }
    if (overflow !== undefined) {
      asked()
      // What the store says counts when the prompt is matched once more.
      await new Promise<void>((resume) => {
        if (!overflow.wait(resume)) resume()
      })
    }
    const now = asked()
    if (now === null) return unknownModel(request.model, known())
    const { ask, route } = now
    const nowMs = deps.now()
    const decision = ledger.decision(ask, nowMs, witness.most)
    const { slot } = ledger.explain(ask, nowMs)
    const worker = fleet.worker(slot)
    if (worker === undefined) {
      return fault(
        503,
        "no_worker",
        `No worker can take a request for "${request.model.slice(0, 200)}" now: of ${route.workers}, ${route.states}.`,
        "See GET /admin/workers for why, or add one."
      )
    }
    const placement = ReceiptOf.placedOf(
      {
        worker: worker.spec.id,
        slot,
        decision,
        candidates: decision.slots.map((each) => witness.known(each, match.blocksOf(each))),
        eligible: route.eligibleCount,
        states: route.states,
        heldTokens: ask.heldTokens[slot]!,
        bestTokens: Match.most(ask.heldTokens, route.eligible)
      },
      ledger.policy
    )
    return {
      status: 200,
      json: { model: route.model, promptTokens: hashed.promptTokens, exact: hashed.exact, placement }
    }
  }

  return async (request, url, rest) => {
    if (rest.length > 0)
      return fault(404, "unknown_path", `There is no ${url.pathname} here.`, "Use POST /admin/explain.")
    if (request.method !== "POST") {
      const message = `${url.pathname} does not take ${request.method}.`
      return fault(405, "wrong_method", message, `Use POST. ${form}`, { allow: "POST" })
    }
    const text = await bodyOf(request, deps.bodyBytesMax, form)
    if (Result.isFailure(text)) return text.failure
    const parsed = parse(text.success)
    return Result.isFailure(parsed) ? parsed.failure : answer(parsed.success)
  }
}
