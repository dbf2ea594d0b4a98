/** What the paths of every dialect share: a call, how to answer it with JSON or a refusal, and reading its body. */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Json } from "./Model.ts"
import * as Plan from "./Plan.ts"
import type { Reply } from "./Reply.ts"
import type { SimEngine } from "./SimEngine.ts"

/** Most bytes of one request body. */
const bodyBytesMax = 64 * 1024 * 1024

export interface Call {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly reply: Reply
  readonly body: Buffer
  readonly query: URLSearchParams
}

export type Handler = (engine: SimEngine, call: Call) => void

/** By path, then by method. */
export type Routes = Readonly<Record<string, Readonly<Record<string, Handler>>>>

export const refuse = ({ dialect }: SimEngine, reply: Reply, refusal: Plan.Refusal): void =>
  reply.json(refusal.status, dialect.error(refusal))

/** Hands on the whole body, or why there is none. Nothing when the client goes first. */
export const readBody = (request: IncomingMessage, then: (body: Buffer | Plan.Refusal) => void): void => {
  const chunks: Array<Buffer> = []
  let bytes = 0
  request.on("data", (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes <= bodyBytesMax) chunks.push(chunk)
  })
  request.once("end", () => {
    if (bytes <= bodyBytesMax) then(Buffer.concat(chunks, bytes))
    else then(Plan.refusal(413, "RequestEntityTooLargeError", `The body has more than ${bodyBytesMax} bytes.`))
  })
}

export const withJson =
  (answer: (engine: SimEngine, json: Json, call: Call) => void): Handler =>
  (engine, call) => {
    const json = Plan.parseBody(call.body)
    if (Plan.isRefusal(json)) refuse(engine, call.reply, json)
    else answer(engine, json, call)
  }

export const ok: Handler = (_, { reply }) => reply.whole(200, "application/json", "")

export const generate =
  (endpoint: Plan.Endpoint): Handler =>
  (engine, call) =>
    engine.generate(endpoint, call)

/** Prometheus text. */
export const metrics =
  (text: (engine: SimEngine) => string): Handler =>
  (engine, { reply }) =>
    reply.whole(200, "text/plain; version=0.0.4; charset=utf-8", text(engine))
