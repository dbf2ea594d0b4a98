/**
 * Who answers an HTTP request: the dialect's own paths, and ours under `/sim/`.
 *
 * | path | does |
 * |---|---|
 * | `GET /sim/cache`, `/sim/truth`, `/sim/state` | what `SimEngine.cache`, `.truth` and `.state` answer; `?rank=N` for one rank |
 * | `GET`, `POST /sim/faults` | the standing faults; new ones |
 * | `POST /sim/restart` | a new life |
 *
 * `?engine=N` means a sibling in this process.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import * as Faults from "./Faults.ts"
import { type Call, type Handler, type Routes, readBody, refuse, withJson } from "./Http.ts"
import * as Plan from "./Plan.ts"
import { Reply } from "./Reply.ts"
import type { SimEngine } from "./SimEngine.ts"

const setFaults = withJson((engine, json, { reply }) => {
  const spec = Faults.parse(json)
  if (typeof spec === "string") {
    refuse(engine, reply, Plan.refusal(400, "BadRequestError", spec))
    return
  }
  // A crash answers nobody.
  if (spec.crash === undefined) {
    engine.setFaults(spec)
    reply.json(200, { ...engine.faults.standing })
    return
  }
  reply.json(200, { ...engine.faults.standing })
  setImmediate(() => engine.setFaults(spec))
})

const restart: Handler = (engine, { reply }) => {
  reply.json(200, { engine: engine.index })
  setImmediate(() => void engine.restart())
}

/** Of the rank that is asked for; of all when none is. */
const ofRank =
  (answer: (engine: SimEngine, rank: number | undefined) => object): Handler =>
  (engine, { query, reply }) => {
    const asked = query.get("rank")
    const rank = asked === null ? undefined : Number(asked)
    if (rank === undefined || engine.cores[rank] !== undefined) {
      reply.json(200, answer(engine, rank) as ReadonlyArray<unknown>)
      return
    }
    const message = `There is no rank ${asked}; there are ${engine.cores.length}.`
    refuse(engine, reply, Plan.refusal(404, "NotFoundError", message))
  }

const own: Routes = {
  "/sim/cache": { GET: ofRank((engine, rank) => engine.cache(rank)) },
  "/sim/truth": { GET: ofRank((engine, rank) => engine.truth(rank)) },
  "/sim/state": { GET: ofRank((engine, rank) => engine.state(rank)) },
  "/sim/faults": { GET: (engine, { reply }) => reply.json(200, { ...engine.faults.standing }), POST: setFaults },
  "/sim/restart": { POST: restart }
}

/** Answers one HTTP request to `asked`, or under `/sim/` to the sibling it names. */
export const answer = (
  asked: SimEngine,
  siblings: ReadonlyArray<SimEngine>,
  request: IncomingMessage,
  response: ServerResponse
): void => {
  const reply = new Reply(response)
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://engine")
  const ours = own[pathname]
  const route = ours ?? asked.dialect.routes[pathname]
  if (route === undefined) {
    reply.json(404, asked.dialect.notFound)
    return
  }
  const handler = route[request.method === "HEAD" ? "GET" : (request.method ?? "GET")]
  if (handler === undefined) {
    refuse(asked, reply, Plan.refusal(405, "Method Not Allowed", "Method Not Allowed"))
    return
  }
  const { apiKey } = asked.options
  if (apiKey !== null && pathname.startsWith("/v1") && request.headers.authorization !== `Bearer ${apiKey}`) {
    refuse(asked, reply, Plan.refusal(401, "Unauthorized", "Unauthorized"))
    return
  }
  const sibling = searchParams.get("engine")
  const engine = ours !== undefined && sibling !== null ? siblings[Number(sibling)] : asked
  if (engine === undefined) {
    const message = `There is no engine ${sibling} in this process; there are ${siblings.length}.`
    refuse(asked, reply, Plan.refusal(404, "NotFoundError", message))
    return
  }
  const call: Call = { request, response, reply, body: Buffer.alloc(0), query: searchParams }
  if (request.method !== "POST") {
    handler(engine, call)
    return
  }
  readBody(request, (body) => {
    if (Plan.isRefusal(body)) refuse(engine, reply, body)
    else handler(engine, { ...call, body })
  })
}
