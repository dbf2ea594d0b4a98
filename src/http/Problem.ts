/** From a tagged error to the status and body an OpenAI client expects. The one place where the two meet. */
import type { RouteError } from "../domain/Errors.ts"

export interface Problem {
  readonly status: number
  readonly headers: Record<string, string>
  /** `{"error":{"message","type","param","code"}}` */
  readonly body: string
}

const json = { "content-type": "application/json" }

export const errorBody = (message: string, type: string, param: string | null, code: string | null): string =>
  JSON.stringify({ error: { message, type, param, code } })

const problem = (
  status: number,
  type: string,
  code: string,
  message: string,
  param: string | null = null,
  headers: Record<string, string> = {}
): Problem => ({ status, headers: { ...json, ...headers }, body: errorBody(message, type, param, code) })

const invalid = "invalid_request_error"

/** A client's own word in a message, not longer than anyone reads. */
const short = (text: string): string => (text.length > 200 ? `${text.slice(0, 197)}…` : text)

export const fromError = (error: RouteError): Problem => {
  switch (error._tag) {
    case "BadJson":
      return problem(400, invalid, "bad_json", `The request body is not valid JSON: ${error.detail}`)
    case "BadField":
      return problem(400, invalid, "bad_field", `"${error.param}" is ${error.value}: ${error.fix}`, error.param)
    case "UnknownPath":
      return problem(
        404,
        invalid,
        "unknown_path",
        `There is no ${error.method} ${short(error.path)} here. Try POST /v1/chat/completions, POST /v1/completions or GET /v1/models.`
      )
    case "WrongMethod":
      return problem(
        405,
        invalid,
        "wrong_method",
        `${error.path} does not take ${error.method}: use ${error.allowed}.`,
        null,
        { allow: error.allowed }
      )
    case "UnknownModel":
      return problem(
        404,
        invalid,
        "model_not_found",
        `The model "${short(error.model)}" does not exist here. ${error.known.length === 0 ? "No worker has told its models yet." : `Known: ${error.known.slice(0, 20).join(", ")}.`}`,
        "model"
      )
    case "NoEligibleWorker":
      return problem(
        503,
        "service_unavailable",
        "no_worker",
        `No worker can take a request for "${short(error.model)}" now: of ${error.workers} known, ${error.states}. Add workers, or see GET /admin/workers.`,
        null,
        { "retry-after": "1" }
      )
    case "WorkerFailed":
      return problem(
        502,
        "bad_gateway",
        "worker_failed",
        `Worker "${error.worker}" failed before it answered (${error.reason}); tried ${error.tries} ${error.tries === 1 ? "worker" : "workers"}. Nothing was generated: it is safe to try again.`
      )
    case "Defect":
      return problem(500, "internal_error", "defect", "The router failed on this request; its log says why. Try again.")
  }
}
