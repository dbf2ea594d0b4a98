/** A way to a server on this machine that can be cut. */
import { once } from "node:events"
import { connect, createServer, type Socket } from "node:net"

export interface TcpProxy {
  readonly port: number
  /** Breaks what goes through it and takes nothing new, or takes it again. */
  readonly cut: (away: boolean) => void
  readonly close: () => Promise<void>
}

export const open = async (to: number): Promise<TcpProxy> => {
  const sockets = new Set<Socket>()
  let isCut = false
  const server = createServer((near) => {
    if (isCut) return void near.destroy()
    const far = connect(to, "127.0.0.1")
    for (const [one, other] of [
      [near, far],
      [far, near]
    ] as const) {
      sockets.add(one)
      one.setNoDelay(true)
      one.pipe(other)
      one.on("error", () => other.destroy())
      one.on("close", () => {
        sockets.delete(one)
        other.destroy()
      })
    }
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  const end = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: (server.address() as { port: number }).port,
    cut: (away) => {
      isCut = away
      if (away) end()
    },
    close: async () => {
      end()
      server.close()
      await once(server, "close")
    }
  }
}
