/** Binding to ports: one the system chooses, or the one held before. */
import { networkInterfaces } from "node:os"

interface Bindable {
  readonly bind: (address: string) => Promise<void>
  readonly lastEndpoint: string | null
}

/** How often an old port is tried before another is taken: sockets close in the background. */
const triesMax = 40
const tryEveryMs = 25

/** Binds a ZeroMQ socket to the port of `before` if that can be had, else to a free one. Answers its address. */
export const bindTcp = async (socket: Bindable, host: string, before?: string): Promise<string> => {
  const port = before === undefined ? undefined : /:(\d+)$/.exec(before)?.[1]
  for (let tries = 0; port !== undefined && tries < triesMax; tries++) {
    try {
      await socket.bind(`tcp://${host}:${port}`)
      return socket.lastEndpoint!
    } catch {
      await new Promise((resolve) => setTimeout(resolve, tryEveryMs))
    }
  }
  await socket.bind(`tcp://${host}:0`)
  return socket.lastEndpoint!
}

/** An address others can connect to: a wildcard becomes this machine's first outward IPv4 address. */
export const advertised = (address: string): string => address.replace("0.0.0.0", outward)

const outward = (): string => {
  for (const addresses of Object.values(networkInterfaces())) {
    const found = addresses?.find(({ family, internal }) => family === "IPv4" && !internal)
    if (found !== undefined) return found.address
  }
  return "127.0.0.1"
}
