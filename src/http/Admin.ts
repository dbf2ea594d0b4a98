/**
 * Admin: the operator's API, on a listener of its own, loopback by default, without a login. Its paths are in
 * `AdminRoutes`.
 *
 * A page in a browser must not command the router: requests from another origin are refused, and on loopback also hosts
 * that are a name other than localhost.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { type AddressInfo, isIP } from "node:net"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { Effect, Schema, type Scope } from "effect"
import * as AdminPrefix from "./AdminPrefix.ts"
import { fault, type Reply } from "./AdminReply.ts"
import { type Deps, type Hands, route } from "./AdminRoutes.ts"

export interface Options {
  readonly host: string
  /** 0 takes any free port. */
  readonly port: number
}

/** The admin API cannot listen. */
export class AdminListenFailed extends Schema.TaggedError<AdminListenFailed>()("AdminListenFailed", {
  host: Schema.String,
  port: Schema.Int,
  detail: Schema.String
}) {
  override get message() {
    return `The admin API cannot listen on ${this.host}:${this.port}: ${this.detail}. Choose another adminPort or adminHost.`
  }
}

const isLoopback = (host: string): boolean => host === "localhost" || host === "::1" || host.startsWith("127.")

/**
 * What keeps a web page, or a name that was rebound to this address, from reaching in. Names are only judged on
 * loopback: where the operator opened the API to a network, it has names there that the router cannot know.
 */
const trespass = (request: IncomingMessage, adminHost: string): Reply | null => {
  const host = request.headers.host ?? ""
  const name = URL.canParse(`http://${host}`) ? new URL(`http://${host}`).hostname.replace(/^\[|\]$/g, "") : ""
  if (isLoopback(adminHost) && isIP(name) === 0 && name !== "localhost") {
    return fault(
      403,
      "wrong_host",
      `The host "${host}" is not this admin API's.`,
      "Use 127.0.0.1 or localhost, or open the API with adminHost."
    )
  }
  const origin = request.headers.origin
  if (origin !== undefined && origin !== `http://${host}`) {
    return fault(
      403,
      "wrong_origin",
      `Pages of ${origin} may not command this router.`,
      "Call it from a program, not from a web page."
    )
  }
  return null
}

const send = async (request: IncomingMessage, response: ServerResponse, reply: Reply): Promise<void> => {
  const headers = { "cache-control": "no-store", "x-content-type-options": "nosniff" }
  const json = { ...headers, "content-type": "application/json" }
  if ("pieces" in reply) {
    response.writeHead(reply.status, json)
    if (request.method === "HEAD") response.end()
    else await pipeline(Readable.from(reply.pieces), response)
    return
  }
  if ("live" in reply) {
    response.writeHead(reply.status, { ...headers, "content-type": "text/event-stream" })
    if (request.method === "HEAD") response.end()
    else reply.live(response)
    return
  }
  if ("bytes" in reply) {
    response.writeHead(reply.status, { ...headers, ...reply.headers, "content-length": reply.bytes.length })
    response.end(request.method === "HEAD" ? undefined : reply.bytes)
    return
  }
  const text = "json" in reply ? `${JSON.stringify(reply.json)}\n` : reply.text
  const own = "json" in reply ? { ...json, ...reply.headers } : { ...headers, "content-type": reply.type }
  response.writeHead(reply.status, { ...own, "content-length": Buffer.byteLength(text) })
  response.end(request.method === "HEAD" ? undefined : text)
}

/** Listens until the scope ends. Answers with the port. */
export const listen = Effect.fnUntraced(function* (
  options: Options,
  deps: Deps
): Effect.fn.Return<{ readonly port: number }, AdminListenFailed, Scope.Scope> {
  const run = Effect.runPromiseWith(yield* Effect.context<never>())
  const { share } = deps
  const prefix: Hands["prefix"] = (question, known) => run(AdminPrefix.answer(question, known))
  const hands: Hands =
    share === undefined
      ? {
          add: (spec) => run(Effect.result(Effect.map(deps.add(spec), (worker) => ({ worker, sharing: null })))),
          remove: async (id, how) => (deps.remove(id, how) ? { sharing: null } : null),
          prefix
        }
      : {
          add: (spec) => run(Effect.result(Effect.map(share.add(spec), (added) => ({ ...added, sharing: added })))),
          remove: async (id, how) => {
            const sharing = await run(share.remove(id, how))
            return sharing === null ? null : { sharing }
          },
          prefix
        }
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 30_000 }, (request, response) => {
    const answer = async () => {
      const reply = trespass(request, options.host) ?? (await route(request, deps, hands))
      await send(request, response, reply)
    }
    answer().catch((defect: unknown) => {
      // A client that left is no news.
      if (response.destroyed || request.destroyed) return
      run(Effect.logError(`Admin: ${request.method} ${request.url} failed`, defect)).catch(() => undefined)
      if (response.headersSent) response.destroy()
      else
        send(request, response, fault(500, "defect", "The admin API failed.", "See the router's log.")).catch(() =>
          response.destroy()
        )
    })
  })
  yield* Effect.addFinalizer(() =>
    Effect.callback<void>((resume) => {
      server.close(() => resume(Effect.void))
      server.closeAllConnections()
    })
  )
  yield* Effect.callback<void, AdminListenFailed>((resume) => {
    server.once("error", (cause) => {
      resume(Effect.fail(new AdminListenFailed({ ...options, detail: cause.message })))
    })
    server.listen(options.port, options.host, () => resume(Effect.void))
  })
  server.on("error", (cause) => void run(Effect.logError("Admin: the listener reported an error", cause)))
  if (!isLoopback(options.host)) {
    yield* Effect.logWarning(
      `The admin API listens on ${options.host}: it has no login, whoever reaches it commands the fleet`
    )
  }
  return { port: (server.address() as AddressInfo).port }
})
