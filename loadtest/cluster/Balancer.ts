/**
 * Balancer: what stands in front of replicas, at its plainest. Every TCP connection goes to the next target in turn; one
 * that refuses is passed over. It knows no HTTP and looks at no health.
 */
import { type AddressInfo, connect, createServer, type Socket } from "node:net"

export interface Balancer {
  readonly url: string
  /** Connections so far, by target. */
  readonly counts: () => ReadonlyArray<number>
  readonly close: () => Promise<void>
}

interface Target {
  readonly host: string
  readonly port: number
}

/** `urls` may change from one connection to the next; port 0 is any free one. Rejects when the port is taken. */
export const start = async (urls: () => ReadonlyArray<string>, port = 0): Promise<Balancer> => {
  const open = new Set<Socket>()
  const counts: Array<number> = []
  let turn = 0

  const targetOf = (url: string): Target => {
    const { hostname, port } = new URL(url)
    return { host: hostname, port: Number(port) }
  }

  const join = (client: Socket, attempt: number, first: number): void => {
    const targets = urls()
    if (attempt >= targets.length) {
      client.destroy()
      return
    }
    const at = (first + attempt) % targets.length
    const server = connect(targetOf(targets[at]!))
    open.add(server)
    let joined = false
    server.once("connect", () => {
      joined = true
      counts[at] = (counts[at] ?? 0) + 1
      client.pipe(server).pipe(client)
    })
    server.on("error", () => {})
    server.on("close", () => {
      open.delete(server)
      if (joined || client.destroyed) client.destroy()
      else join(client, attempt + 1, first)
    })
    client.on("close", () => server.destroy())
  }

  const listener = createServer({ allowHalfOpen: true }, (client) => {
    open.add(client)
    client.setNoDelay(true)
    client.on("error", () => {})
    client.on("close", () => open.delete(client))
    join(client, 0, turn++)
  })
  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject)
    listener.listen(port, "127.0.0.1", resolve)
  })
  return {
    url: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    counts: () => counts,
    close: () =>
      new Promise((resolve) => {
        listener.close(() => resolve())
        for (const socket of open) socket.destroy()
      })
  }
}
