/** A worker by script over a real socket: what has no script is answered 404, as engines do. A test replaces any answer. */
import { createServer, type IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"

export interface Scripted {
  readonly status?: number
  readonly body: string
}

export type Script = (request: IncomingMessage, body: string) => Scripted | "hang" | "reset"

/** Scripts by method and path, for example `GET /health`. */
export const make = async (initial: Readonly<Record<string, Script>>, host = "127.0.0.1") => {
  const scripts: Record<string, Script> = { ...initial }
  const asked: Array<{ readonly path: string; readonly body: string }> = []
  const server = createServer((request, response) => {
    const parts: Array<Buffer> = []
    request.on("data", (part: Buffer) => parts.push(part))
    request.on("end", () => {
      const body = Buffer.concat(parts).toString()
      const path = `${request.method} ${request.url}`
      asked.push({ path, body })
      const answer = scripts[path]?.(request, body) ?? { status: 404, body: '{"detail":"Not Found"}' }
      if (answer === "hang") return
      if (answer === "reset") {
        request.socket.resetAndDestroy()
        return
      }
      response.writeHead(answer.status ?? 200, { "content-type": "application/json" })
      response.end(answer.body)
    })
  })
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, host, resolve))
  const { port } = server.address() as AddressInfo
  const url = `http://${host.includes(":") ? `[${host}]` : host}:${port}`
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  return { url, scripts, asked, close }
}
