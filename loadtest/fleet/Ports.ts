/** Binding to ports: one the system chooses, or one in particular. */
import { networkInterfaces } from "node:os"

interface Bindable {
  readonly bind: (address: string) => Promise<void>
  readonly lastEndpoint: string | null
}

/** How often a port held before is tried: sockets close in the background. */
const triesMax = 40
const tryEveryMs = 25

/**
 * Binds a ZeroMQ socket to a port, or to a free one when `port` is null. Answers its address, or null when the port
 * cannot be had; `patient` waits up to a second for it.
 */
export const bindTcp = async (
  socket: Bindable,
  host: string,
  port: number | null,
  patient: boolean
): Promise<string | null> => {
  for (let tries = patient ? triesMax : 1; tries > 0; tries--) {
    try {
      await socket.bind(`tcp://${host}:${port ?? 0}`)
      return socket.lastEndpoint!
    } catch {
      if (tries > 1) await new Promise((resolve) => setTimeout(resolve, tryEveryMs))
    }
  }
  return null
}

export const portOf = (address: string): number => Number(/:(\d+)$/.exec(address)![1])

/** An address others can connect to: a wildcard becomes this machine's first outward IPv4 address. */
export const advertised = (address: string): string => address.replace("0.0.0.0", outward)

const outward = (): string => {
  for (const addresses of Object.values(networkInterfaces())) {
    const found = addresses?.find(({ family, internal }) => family === "IPv4" && !internal)
    if (found !== undefined) return found.address
  }
  return "127.0.0.1"
}
