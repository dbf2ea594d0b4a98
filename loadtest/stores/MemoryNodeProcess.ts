/** MemoryNodeProcess: a memory node in a process of its own; says where it listens, and how it is whenever it is asked. */
import * as Asking from "../../src/adapters/rdma/Asking.ts"
import * as MemoryNode from "../../src/adapters/rdma/MemoryNode.ts"
import { spinnable } from "./Spinnable.ts"

/** First on the command line, as JSON. */
export interface Start {
  readonly provider: string
  readonly library: string | null
}

/** A question, or that it is to poll so long after the last message before it sleeps. */
export type Told = { readonly _tag: "State" } | { readonly _tag: "Spin"; readonly us: number }

export type Said =
  | { readonly _tag: "Listening"; readonly port: number }
  | { readonly _tag: "Failed"; readonly why: string }
  | { readonly _tag: "State"; readonly state: Asking.State }
  | { readonly _tag: "Spins" }

const say = (said: Said): void => void process.send!(said)
const start = JSON.parse(process.argv[2]!) as Start

process.once("disconnect", () => process.exit())
try {
  const { fabric, setSpin } = spinnable()
  const node = await MemoryNode.start(fabric, {
    ...start,
    spinUs: 0,
    host: "127.0.0.1",
    port: 0,
    bytes: 64 * 2 ** 20,
    bytesMax: 2 ** 30,
    backing: null,
    token: "",
    ttlS: 7_200,
    release: "bench",
    log: () => {}
  })
  say({ _tag: "Listening", port: node.port })
  process.on("message", (told: Told) => {
    if (told._tag === "State") return say({ _tag: "State", state: Asking.stateOf(node.table) })
    setSpin(told.us)
    say({ _tag: "Spins" })
  })
} catch (error) {
  say({ _tag: "Failed", why: error instanceof Error ? error.message : String(error) })
}
