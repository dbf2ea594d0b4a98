/**
 * The other side of tests of the fabric: endpoints in a process of their own, told over IPC what to do. Run as a program it is
 * that process; imported, it starts one.
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { type Endpoint, type FabricOptions, load, type Region } from "../../src/adapters/rdma/Fabric.ts"
import { lengthOf, message, type Tally, tally } from "./FabricMessages.ts"

export interface Peer {
  readonly process: ChildProcess
  readonly address: Uint8Array
  readonly region: Region
  readonly provider: string
  /** Makes the other endpoint known to it. */
  readonly meet: (address: Uint8Array) => Promise<void>
  /** Sends so many to the one it met last; answers when all are taken by the provider or its queue. */
  readonly burst: (count: number) => Promise<void>
  /** What it had from others. */
  readonly tally: () => Promise<ReturnType<Tally["result"]>>
  readonly close: () => Promise<void>
  readonly kill: () => Promise<void>
}

/** Bytes of its region: what byte `i` is. */
export const regionByte = (i: number): number => (i * 7 + (i >> 8)) & 0xff
export const regionBytes = 1 << 20

/** Sends, and lets others have their turn while too many are under way. */
export const sendAll = async (endpoint: Endpoint, peer: number, count: number, bytesMax: number): Promise<void> => {
  for (let number = 1; number <= count; number++) {
    const bytes = message(number, lengthOf(number, bytesMax))
    while (!endpoint.send(peer, bytes)) await new Promise((resolve) => setImmediate(resolve))
  }
}

type Order = { readonly id: number; readonly what: string; readonly value: string }

const answer = async (
  order: Order,
  state: { endpoint: Endpoint; met: number; options: FabricOptions; tally: Tally }
) => {
  switch (order.what) {
    case "meet":
      state.met = state.endpoint.insert(Buffer.from(order.value, "base64"))
      return null
    case "burst":
      return sendAll(state.endpoint, state.met, Number(order.value), state.options.messageBytesMax)
    case "tally":
      return state.tally.result()
    default:
      return state.endpoint.close()
  }
}

const main = (addon: string, options: FabricOptions & { readonly spin: number; readonly echo: boolean }): void => {
  const fabric = load(addon)
  const endpoint = fabric.open(options)
  const memory = fabric.map(null, regionBytes)
  const bytes = new Uint8Array(memory)
  for (let i = 0; i < bytes.length; i++) bytes[i] = regionByte(i)
  const region = endpoint.expose(memory)
  const state = { endpoint, met: 0, options, tally: tally(options.messageBytesMax) }
  endpoint.setSpin(options.spin)
  endpoint.onMessage(options.echo ? (bytes) => void endpoint.send(state.met, bytes) : state.tally.take)
  process.on("message", (order: Order) => {
    void answer(order, state).then((result) => process.send?.({ id: order.id, result }))
  })
  process.once("disconnect", () => process.exit())
  process.send?.({
    id: 0,
    result: {
      address: Buffer.from(endpoint.address).toString("base64"),
      key: String(region.key),
      base: String(region.base),
      provider: endpoint.provider
    }
  })
}

/** Starts one; `echo` sends back whatever comes. */
export const start = async (
  addon: string,
  options: FabricOptions & { readonly spin: number; readonly echo?: boolean }
): Promise<Peer> => {
  const child = fork(fileURLToPath(import.meta.url), [addon, JSON.stringify({ echo: false, ...options })])
  const answers = new Map<number, (result: never) => void>()
  child.on("message", ({ id, result }: { id: number; result: never }) => {
    answers.get(id)?.(result)
    answers.delete(id)
  })
  const answerTo = <A>(id: number) =>
    new Promise<A>((resolve, reject) => {
      answers.set(id, resolve as (result: never) => void)
      child.once("exit", (code, signal) => reject(new Error(`The peer ended (${code ?? signal}).`)))
    })
  const first = await answerTo<{ address: string; key: string; base: string; provider: string }>(0)
  let last = 0
  const ask = <A>(what: string, value = ""): Promise<A> => {
    const answered = answerTo<A>(++last)
    child.send({ id: last, what, value })
    return answered
  }
  return {
    process: child,
    address: Buffer.from(first.address, "base64"),
    region: { key: BigInt(first.key), base: BigInt(first.base) },
    provider: first.provider,
    meet: (address) => ask("meet", Buffer.from(address).toString("base64")),
    burst: (count) => ask("burst", String(count)),
    tally: () => ask("tally"),
    close: () => ask("close"),
    kill: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = once(child, "exit")
      child.kill("SIGKILL")
      await ended
    }
  }
}

if (import.meta.main) main(process.argv[2]!, JSON.parse(process.argv[3]!))
