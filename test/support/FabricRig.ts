/** Endpoints for a file of tests, here and in processes of their own, all ended after each test. */
import { execFile } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { afterEach, beforeAll } from "vitest"
import { type Endpoint, type FabricAddon, type FabricOptions, load } from "../../src/adapters/rdma/Fabric.ts"
import { type Peer, start } from "./FabricPeer.ts"
import { addonFile, libfabric } from "./Rdma.ts"

type More = Partial<FabricOptions> & { readonly spin?: number }

export interface Rig {
  readonly addon: () => string
  readonly fabric: () => FabricAddon
  readonly options: () => FabricOptions
  readonly open: (more?: More) => Endpoint
  /** Runs a program that has `fabric`, `native` and `open`, in a folder of its own: its output, or how it ended. */
  readonly program: (body: string) => Promise<string>
  readonly peer: (more?: More & { readonly echo?: boolean }) => Promise<Peer>
}

const module = fileURLToPath(new URL("../../src/adapters/rdma/Fabric.ts", import.meta.url))

const runProgram = async (addon: string, options: FabricOptions, body: string): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), "fabric-"))
  const file = join(folder, "program.mjs")
  await writeFile(
    file,
    `import { createRequire } from "node:module"
import { Worker, isMainThread, parentPort } from "node:worker_threads"
import { load } from ${JSON.stringify(module)}
const native = createRequire(import.meta.url)(${JSON.stringify(addon)})
const fabric = load(${JSON.stringify(addon)})
const options = ${JSON.stringify(options)}
const open = () => fabric.open(options)
${body}`
  )
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [file], { cwd: folder, timeout: 120_000 })
    return stdout.trim()
  } catch (error) {
    const { code, signal, stderr } = error as { code: number | null; signal: string | null; stderr: string }
    return `${signal ?? code}: ${/\nError: (.*)/.exec(stderr)?.[1] ?? stderr}`
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

export const make = (): Rig => {
  let addon = ""
  let fabric: FabricAddon
  let options: FabricOptions
  const ending: Array<() => Promise<void>> = []
  beforeAll(async () => {
    addon = process.env.WARMPATH_TEST_ADDON ?? (await addonFile())
    fabric = load(addon)
    options = {
      provider: "tcp",
      host: "127.0.0.1",
      library: await libfabric(),
      messageBytesMax: 8_192,
      receives: 64,
      sendsMax: 32
    }
  }, 300_000)
  afterEach(async () => {
    for (const end of ending.splice(0).reverse()) await end()
  })
  return {
    addon: () => addon,
    fabric: () => fabric,
    options: () => options,
    open: (more = {}) => {
      const { spin = 0, ...rest } = more
      const endpoint = fabric.open({ ...options, ...rest })
      endpoint.setSpin(spin)
      ending.push(endpoint.close)
      return endpoint
    },
    program: (body) => runProgram(addon, options, body),
    peer: async (more = {}) => {
      const peer = await start(addon, { spin: 0, ...options, ...more })
      ending.push(async () => {
        peer.process.kill("SIGCONT")
        await peer.kill()
        // What the shm provider leaves of a process that was killed.
        await rm(`/dev/shm/${peer.process.pid}:${process.getuid?.()}:0`, { force: true })
      })
      return peer
    }
  }
}

/** Looks until it is so. The test's own time limit ends it otherwise. */
export const until = async (isSo: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 5))
}

/** The code of a promise's error; `none` when there is none. */
export const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "none",
    (error) => String((error as { readonly code?: string }).code)
  )

/** As many sends as are taken before one is refused; each gets its turn. */
export const fill = async (endpoint: Endpoint, peer: number, bytes: Uint8Array): Promise<number> => {
  let count = 0
  for (let refusals = 0; refusals < 50; ) {
    if (endpoint.send(peer, bytes)) count++
    else {
      refusals++
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }
  return count
}
