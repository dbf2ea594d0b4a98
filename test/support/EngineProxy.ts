/** What stands between a router and an engine: keeps what was asked of the engine, and may change what it answers. */
import { once } from "node:events"
import { createServer, type IncomingHttpHeaders, request as send } from "node:http"
import type { AddressInfo } from "node:net"

export interface EngineProxy {
  readonly url: string
  /** Generating requests, as they came. */
  readonly asked: ReadonlyArray<{ readonly headers: IncomingHttpHeaders; readonly body: string }>
  /** Applied to the whole text of every answer, by path; an answer passes when it is whole. */
  rewrite: (path: string, text: string) => string
  readonly close: () => Promise<void>
}

export const start = async (engine: string): Promise<EngineProxy> => {
  const asked: Array<{ headers: IncomingHttpHeaders; body: string }> = []
  const read = async (from: AsyncIterable<Buffer>) => {
    const parts: Array<Buffer> = []
    for await (const part of from) parts.push(part)
    return Buffer.concat(parts).toString()
  }
  const server = createServer((incoming, outgoing) => {
    const path = incoming.url ?? "/"
    const answer = async () => {
      const body = await read(incoming)
      if (path.endsWith("/completions")) asked.push({ headers: incoming.headers, body })
      const upstream = send(engine + path, { method: incoming.method, headers: incoming.headers })
      upstream.end(body)
      const [response] = await once(upstream, "response")
      const text = proxy.rewrite(path, await read(response))
      const { connection: _, "content-length": __, "transfer-encoding": ___, ...headers } = response.headers
      outgoing.writeHead(response.statusCode, headers).end(text)
    }
    answer().catch(() => outgoing.destroy())
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const proxy: EngineProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    rewrite: (_path, text) => text,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }
  return proxy
}
