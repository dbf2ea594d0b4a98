/**
 * Rdma: a memory node in a process of its own, asked and read over one of libfabric's providers in software. Node and client
 * sleep when there is nothing to do, as Redis does, unless told to spin: the client over any, the node over shared memory.
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import * as Fabric from "../../src/adapters/rdma/Fabric.ts"
import * as RdmaStore from "../../src/adapters/rdma/RdmaStore.ts"
import { processUs } from "./Cpu.ts"
import type { Said, Start, Told } from "./MemoryNodeProcess.ts"
import { patience, tell, way } from "./Ours.ts"
import { spinnable } from "./Spinnable.ts"
import type { Open, Store } from "./Stores.ts"

const script = fileURLToPath(new URL("MemoryNodeProcess.ts", import.meta.url))
/** Where tests keep the libfabric that they obtain. */
const kept = fileURLToPath(new URL("../../node_modules/.cache/libfabric", import.meta.url))
/** More than any lookup takes, in µs. */
const spinUs = 1_000_000

/** What to give as the option `library`. */
export const libraryOf = (given: string | undefined): string | null =>
  given ?? (existsSync(join(kept, "libfabric.so.1")) ? kept : null)

/** Why there is no rdma over this provider on this machine; null where there is. */
export const missing = (provider: string, library: string | null): string | null => {
  try {
    const offered = Fabric.load().providers(library)
    if (offered.some(({ name }) => name.split(";")[0] === provider)) return null
    return `libfabric has no provider ${provider}: ${offered.map(({ name }) => name).join(", ")}`
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

const said = async (child: ChildProcess): Promise<Said> => {
  const heard = new AbortController()
  const [message] = (await Promise.race([
    once(child, "message", heard),
    once(child, "exit", heard).then(() => [{ _tag: "Failed", why: "the memory node ended" }])
  ]).finally(() => heard.abort())) as [Said]
  if (message._tag === "Failed") throw new Error(message.why)
  return message
}

const node = (start: Start) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const child = fork(script, [JSON.stringify(start)])
      const listening = await said(child)
      if (listening._tag !== "Listening") throw new Error("the memory node does not say where it listens")
      return { child, port: listening.port }
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

/** Its reads of a round: where a node is, and the node. */
const readsOf = (rounds: number): number => 2 * rounds

export const open =
  (provider: string, library: string | null): Open =>
  ({ stride, workers }) =>
    Effect.gen(function* () {
      const { child, port } = yield* node({ provider, library })
      const ask = (told: Told) =>
        Effect.promise(() => {
          child.send(told)
          return said(child)
        })
      const state = Effect.map(ask({ _tag: "State" }), (answer) => {
        if (answer._tag !== "State") throw new Error("the memory node does not say how it is")
        return answer.state
      })
      const { fabric, setSpin } = spinnable()
      const query = library === null ? "" : `&library=${encodeURIComponent(library)}`
      const connect = (mode: "rpc" | "read") => {
        const url = `rdma://127.0.0.1:${port}?provider=${provider}&mode=${mode}${query}`
        return RdmaStore.open({ url, token: null, spinUs: 0, fabric, ...patience })
      }
      const rpc = yield* connect("rpc")
      const read = yield* connect("read")
      const spin = (isOn: boolean) => {
        setSpin(isOn ? spinUs : 0)
        // Over shared memory nothing can be waited for, only looked at.
        return provider === "shm" ? Effect.asVoid(ask({ _tag: "Spin", us: isOn ? spinUs : 0 })) : Effect.void
      }
      const both = { spin, ...(provider === "shm" && ({ needsCores: true } as const)) }
      const store: Store = {
        name: `rdma, ${provider}`,
        isNetworked: true,
        write: yield* tell(rpc, workers),
        serverUs: () => processUs(child.pid!),
        bytes: Effect.map(state, ({ usedBytes }) => usedBytes),
        lost: Effect.map(state, ({ evicted, refused }) => evicted + refused),
        ways: [
          { ...way(`rdma RPC, ${provider}`, rpc, stride, () => 1), ...both },
          // An endpoint has room for 256 reads of a peer; beyond that lookups are asked, which is the other way.
          { ...way(`rdma READ, ${provider}`, read, stride, readsOf), ...both, isSerial: true }
        ]
      }
      return store
    })
