/** NodeAdmin: `/healthz` and `/metrics` of a memory node, over HTTP. */
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as Asking from "./Asking.ts"
import type { Node } from "./MemoryNode.ts"

/** Prometheus' text form: name, kind, help, value. */
const seriesOf = (node: Node): ReadonlyArray<readonly [string, "counter" | "gauge", string, number]> => {
  const { blocks, evicted, limitBytes, maxBytes, names, records, refused, usedBytes } = Asking.stateOf(node.table)
  const { dropped, lookups, malformed, reads, shares, writes } = node.counters
  const { expired, voided } = node.table.hands
  return [
    ["peers", "gauge", "Routers connected", node.peers()],
    ["blocks", "gauge", "Distinct blocks known", blocks],
    ["records", "gauge", "Nodes: paths through pieces of chains", records],
    ["names", "gauge", "Workers entered", names],
    ["used_bytes", "gauge", "Memory in use", usedBytes],
    ["limit_bytes", "gauge", "Memory that may be used by now", limitBytes],
    ["max_bytes", "gauge", "Memory that may ever be used", maxBytes],
    ["lookups_total", "counter", "Lookups asked; those by remote read are not seen here", lookups],
    ["writes_total", "counter", "Batches applied", writes],
    ["shares_total", "counter", "Shares in them: one worker, one path through a piece", shares],
    ["bulk_reads_total", "counter", "Chunks of bulk reads", reads],
    ["evicted_total", "counter", "Nodes that went to make room", evicted],
    ["expired_total", "counter", "Nodes that nobody had written for long", expired],
    ["voided_total", "counter", "Entries of tenures that count no more, removed", voided],
    ["refused_total", "counter", "Writes that found no room", refused],
    ["dropped_total", "counter", "Replies and requests for which a peer's queue had no room", dropped],
    ["malformed_total", "counter", "Messages that made no sense", malformed]
  ]
}

export const metrics = (node: Node): string =>
  seriesOf(node)
    .map(([name, kind, help, value]) => {
      const full = `warmpath_memory_node_${name}`
      return `# HELP ${full} ${help}\n# TYPE ${full} ${kind}\n${full} ${value}\n`
    })
    .join("")

export const start = async (node: Node, host: string, port: number) => {
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 10_000 }, (request, response) => {
    const path = request.url?.split("?")[0]
    const text = path === "/healthz" ? "ok\n" : path === "/metrics" ? metrics(node) : null
    response.writeHead(text === null ? 404 : 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" })
    response.end(text ?? "There are /healthz and /metrics.\n")
  })
  server.listen(port, host)
  await once(server, "listening")
  return {
    port: (server.address() as AddressInfo).port,
    close: async (): Promise<void> => {
      const closed = once(server, "close")
      server.close()
      server.closeAllConnections()
      await closed
    }
  }
}
