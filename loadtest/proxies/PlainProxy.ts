/**
 * PlainProxy: what one would write in an afternoon: `node:http`, the body read and parsed, workers in turn, `undici.stream`.
 * It knows nothing of caches, tokens or load; it is here to say what carrying the bytes costs.
 *
 *   node PlainProxy.ts --worker URL …       prints its address
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { parseArgs } from "node:util"
import { Pool } from "undici"

const { values } = parseArgs({ options: { worker: { type: "string", multiple: true, default: [] } } })
const pools = values.worker.map((url) => new Pool(url, { connections: null }))
let turn = 0

const server = createServer((request, response) => {
  const parts: Array<Buffer> = []
  request.on("data", (part: Buffer) => parts.push(part))
  request.on("end", () => {
    const body = Buffer.concat(parts)
    try {
      JSON.parse(body.toString())
    } catch {
      response.writeHead(400).end()
      return
    }
    const { connection, host, "transfer-encoding": coding, ...headers } = request.headers
    pools[turn++ % pools.length]!.stream({ path: request.url!, method: "POST", headers, body }, (answer) => {
      const { connection, "keep-alive": keepAlive, "transfer-encoding": coding, ...passed } = answer.headers
      response.writeHead(answer.statusCode, passed)
      return response
    }).catch(() => response.destroy())
  })
})
server.listen(0, "127.0.0.1", 4_096, () => {
  console.log(`listens at http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
