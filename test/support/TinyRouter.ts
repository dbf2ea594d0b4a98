/**
 * TinyRouter: the least that can stand in for a router where the demo itself is under test. `round-robin` goes to the next
 * worker; `eta` keeps a session (the part of `x-request-id` before the dot) where it first went.
 */
import { once } from "node:events"
import { createServer, request as send } from "node:http"
import type { AddressInfo } from "node:net"
import type { StartRouter } from "../../loadtest/demo/Demo.ts"

export interface TinyRouter {
  readonly start: StartRouter
  /** Routers started and not closed. */
  readonly open: () => number
}

export const make = (): TinyRouter => {
  let open = 0
  const start: StartRouter = async ({ policy, workers }) => {
    let turn = 0
    const homes = new Map<string, string>()
    const next = () => workers[turn++ % workers.length]!
    const place = (session: string | undefined) => {
      if (policy === "round-robin" || session === undefined) return next()
      const home = homes.get(session) ?? next()
      homes.set(session, home)
      return home
    }
    const server = createServer((incoming, outgoing) => {
      const id = incoming.headers["x-request-id"]
      const worker = place(typeof id === "string" ? id.split(".")[0] : undefined)
      const upstream = send(worker + incoming.url, { method: incoming.method, headers: incoming.headers }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, { ...answer.headers, "x-warmpath-worker": worker })
        answer.pipe(outgoing)
      })
      upstream.on("error", () => outgoing.destroy())
      outgoing.on("close", () => upstream.destroy())
      incoming.pipe(upstream)
    })
    await once(server.listen(0, "127.0.0.1"), "listening")
    open++
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      adminUrl: null,
      close: async () => {
        open--
        server.closeAllConnections()
        server.close()
        await once(server, "close")
      }
    }
  }
  return { start, open: () => open }
}
