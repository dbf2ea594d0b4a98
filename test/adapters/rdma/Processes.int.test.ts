import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect, Redacted } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { freePort } from "../../../loadtest/servers/ServerProcess.ts"
import * as Fabric from "../../../src/adapters/rdma/Fabric.ts"
import { DEVICE } from "../../../src/domain/Tier.ts"
import type { Interface, StoreError } from "../../../src/ports/StateStore.ts"
import { stateStoreConformance } from "../../ports/StateStoreConformance.ts"
import { randomHistory } from "../../ports/StateStoreHistory.ts"
import { extend, random } from "../../support/Chains.ts"
import * as MemoryNodeHost from "../../support/MemoryNodeHost.ts"
import * as MemoryNodeProcess from "../../support/MemoryNodeProcess.ts"
import { rig, type Store, stores, until } from "../../support/MemoryNodes.ts"
import { addonFile, libfabric, lockedLibrary } from "../../support/Rdma.ts"
import { stretchOf } from "../../support/Shares.ts"
import * as TcpProxy from "../../support/TcpProxy.ts"

const bin = fileURLToPath(new URL("../../../src/bin.ts", import.meta.url))
const readerCli = fileURLToPath(new URL("../../support/RdmaReaderCli.ts", import.meta.url))

let fabric: Fabric.FabricAddon
let library: string | null
let host: MemoryNodeHost.MemoryNodeHost
let folder: string
let tokenFile: string

beforeAll(async () => {
  const addon = await addonFile()
  fabric = Fabric.load(addon)
  library = await libfabric()
  host = MemoryNodeHost.start(addon, library)
  folder = mkdtempSync(join(tmpdir(), "memory-node-"))
  tokenFile = join(folder, "token")
  writeFileSync(tokenFile, "secret\n")
}, 300_000)
afterAll(async () => {
  await host.close()
  rmSync(folder, { recursive: true, force: true })
})

const run = Effect.runPromise
const outcome = <A>(effect: Effect.Effect<A, StoreError>): Promise<string> =>
  run(
    effect.pipe(
      Effect.as("done"),
      Effect.catch(({ reason }) => Effect.succeed(reason))
    )
  )

const args = (provider: string, more: ReadonlyArray<string> = []): Array<string> => [
  ...["--provider", provider, "--size", "16MiB", "--max-size", "64MiB", "--token-file", tokenFile],
  ...(library === null ? [] : ["--library", library]),
  ...more
]
const urlOf = (port: number, provider: string, mode = "auto"): string =>
  `rdma://127.0.0.1:${port}?provider=${provider}&mode=${mode}${library === null ? "" : `&library=${library}`}`

/** A node in another process, empty. */
const processRig = async (provider: string, mode: string) => {
  const port = await host.renew(provider)
  const opened = stores(fabric)
  const proxies = new Map<Interface, TcpProxy.TcpProxy>()
  return {
    client: async () => {
      const proxy = await TcpProxy.open(port)
      const store = await opened.open(urlOf(proxy.port, provider, mode), { spinUs: 50 })
      proxies.set(store, proxy)
      return store
    },
    cut: async (store: Interface, away: boolean) => {
      proxies.get(store)!.cut(away)
      await until(() => store.status().connected !== away)
    },
    wipe: async () => {
      await host.renew(provider, port)
      for (const store of proxies.keys()) await until(() => store.status().connected)
    },
    close: async () => {
      await opened.close()
      for (const proxy of proxies.values()) await proxy.close()
    }
  }
}

const sizes = { steps: 30, requests: 100, shares: 600 }
stateStoreConformance("RdmaStore over shm, asking a process", () => processRig("shm", "rpc"), sizes)
// In this process, which is sooner begun anew for each test. (Over shm two ends in one process crash on messages of 32 KiB.)
const query = (mode: string) => urlOf(0, "tcp", mode).split("?")[1]!
stateStoreConformance(
  "RdmaStore over tcp, asking",
  () => rig(fabric, query("rpc"), { provider: "tcp", library }),
  sizes
)

// What is not looked up is the same as when it asks.
describe.each([
  ["tcp", () => rig(fabric, query("read"), { provider: "tcp", library })],
  ["shm", () => processRig("shm", "read")]
] as const)("RdmaStore over %s, reading", (_, open) => {
  it.each([8, 32])("answers as its naive twin does, in pieces of %i", async (stride) => {
    const { client, close } = await open()
    try {
      const all = await Promise.all([client(), client()])
      await randomHistory(all, stride, 150, stride)
      const { read, fellBack } = (all[0] as Store).stats().lookups
      expect(read).toBeGreaterThan(50)
      expect(fellBack).toBeLessThan(read / 2)
    } finally {
      await close()
    }
  })
})

const chain = (seed: number, blocks = 40) => extend(new Int32Array(0), 0, blocks, random(seed))
const held = (tenure: number, keys: Int32Array) => stretchOf({ tenure, layer: DEVICE, stride: 32 }, keys, true)
const depth = async (store: Interface, keys: Int32Array): Promise<number> =>
  (await run(store.lookup(keys, keys.length / 2, 32)))[0]?.blocks[DEVICE] ?? 0
const enter = async (store: Interface, name: string): Promise<number> => {
  const tenure = await run(store.enter(name))
  await run(store.settle(name, tenure))
  return tenure
}

/** A node and a store on it, for one test. */
const withNode = async (
  provider: string,
  more: ReadonlyArray<string>,
  test: (
    node: MemoryNodeProcess.NodeProcess,
    open: (mode?: string, lookupMs?: number) => Promise<Store>
  ) => Promise<void>
) => {
  const port = await freePort()
  const node = await MemoryNodeProcess.start(port, args(provider, more))
  const opened = stores(fabric)
  try {
    await test(node, (mode = "rpc", lookupMs = 1_000) =>
      opened.open(urlOf(port, provider, mode), { lookupMs, deadlineMs: 2_000, spinUs: 50 })
    )
  } finally {
    await opened.close()
    await node.kill()
  }
}

describe.each(["tcp", "shm"])("A memory node over %s", (provider) => {
  it("that was killed goes on where it was, when its memory is a file", async () => {
    const backing = join(folder, `kept-${provider}`)
    await withNode(provider, ["--backing", backing], async (node, open) => {
      const store = await open()
      const tenure = await enter(store, "w")
      const chains = Array.from({ length: 200 }, (_, i) => chain(i))
      await run(store.write(chains.flatMap((keys) => held(tenure, keys))))
      const before = await run(store.generation)
      await node.kill()
      await until(() => !store.status().connected)
      const again = await MemoryNodeProcess.start(node.port, args(provider, ["--backing", backing]))
      await until(() => store.status().connected)
      expect(await run(store.generation)).toBe(before)
      for (const keys of chains) expect(await depth(store, keys)).toBe(40)
      // Nothing need be entered anew.
      await run(store.write(held(tenure, chain(999))))
      expect(await depth(store, chain(999))).toBe(40)
      // Torn bytes go when it starts; what is whole stays, and nothing is made up.
      await again.kill()
      await until(() => !store.status().connected)
      const file = openSync(backing, "r+")
      const next = random(1)
      const bytes = readFileSync(backing)
      for (let i = 0; i < 2_000; i++) {
        const at = 6 * 2 ** 20 + next(3 * 65_536)
        writeSync(file, Uint8Array.of(bytes[at]! ^ (1 << next(8))), 0, 1, at)
      }
      const third = await MemoryNodeProcess.start(node.port, args(provider, ["--backing", backing]))
      expect(third.output()).toMatch(/kept \d+ records .*dropped \d+ that were torn/)
      await until(() => store.status().connected)
      const depths = await Promise.all(chains.map((keys) => depth(store, keys)))
      expect(Math.max(...depths)).toBeLessThanOrEqual(40)
      expect(depths.filter((found) => found === 0 || found === 32 || found === 40)).toHaveLength(200)
      await third.kill()
    })
  })

  it("that is stopped is late within its deadline, and well again afterwards", async () => {
    await withNode(provider, [], async (node, open) => {
      const store = await open("rpc", 50)
      const tenure = await enter(store, "w")
      await run(store.write(held(tenure, chain(1))))
      node.process.kill("SIGSTOP")
      for (let i = 0; i < 5; i++) expect(await outcome(store.lookup(chain(1), 40, 32))).toBe("late")
      expect(await outcome(store.lookup(chain(1), 40, 32))).toBe("away")
      expect(await outcome(store.write(held(tenure, chain(2))))).toBe("late")
      node.process.kill("SIGCONT")
      await expect.poll(() => outcome(store.lookup(chain(1), 40, 32)), { timeout: 20_000 }).toBe("done")
      await expect.poll(() => outcome(store.write(held(tenure, chain(2)))), { timeout: 20_000 }).toBe("done")
      expect(await depth(store, chain(2))).toBe(40)
    })
  })

  it("serves others when some that read it all get a SIGKILL, and some a SIGSTOP", async () => {
    await withNode(provider, [], async (node, open) => {
      const store = await open()
      const tenure = await enter(store, "w")
      await run(store.write(Array.from({ length: 2_000 }, (_, i) => held(tenure, chain(i))).flat()))
      const readers: Array<ChildProcess> = []
      try {
        const signals = ["SIGKILL", "SIGSTOP", "SIGKILL", "SIGSTOP"] as const
        const struck = signals.map(async (signal) => {
          const reader = spawn(process.execPath, [readerCli, urlOf(node.port, provider, "rpc")], {
            stdio: ["ignore", "pipe", "inherit"]
          })
          readers.push(reader)
          await once(reader.stdout!, "data")
          reader.kill(signal)
        })
        await Promise.all(struck)
        for (let i = 0; i < 200; i++) {
          await run(store.write(held(tenure, chain(5_000 + i))))
          expect(await depth(store, chain(5_000 + i))).toBe(40)
        }
        expect(await (await fetch(`${node.admin}/healthz`)).text()).toBe("ok\n")
      } finally {
        for (const reader of readers) reader.kill("SIGKILL")
      }
      // And it ends as it should.
      const ended = once(node.process, "exit")
      node.process.kill("SIGTERM")
      expect(await ended).toEqual([0, null])
    })
  })
})

describe("A memory node", () => {
  const unusable = (url: string, token: string | null = "secret") =>
    stores(fabric)
      .open(url, { token: token === null ? null : Redacted.make(token) })
      .then(
        () => "usable",
        (error: { readonly code?: string; readonly message?: string }) => `${error.code}: ${error.message}`
      )

  it("says who may not, and why", async () => {
    await withNode("tcp", [], async ({ output, port }) => {
      expect(await unusable(urlOf(port, "tcp"), "wrong")).toMatch(/^ERR_RDMA_TOKEN: .*another token.*storeToken/)
      expect(await unusable(urlOf(port, "tcp"), null)).toMatch(/^ERR_RDMA_TOKEN: .*none was given/)
      expect(await unusable(urlOf(port, "shm"))).toMatch(/^ERR_RDMA_PROVIDER: .*on provider tcp.*router on shm/)
      expect(await unusable(urlOf(port, "nonesuch"))).toMatch(/^ERR_RDMA_PROVIDER: .*Offered here: /)
      expect(await unusable(`rdma://127.0.0.1:${port}?library=/nonexistent`)).toMatch(/^ERR_RDMA_LIBRARY: .*libfabric1/)
      expect(await unusable(`rdma://127.0.0.1:${port}?mode=fast`)).toMatch(/^ERR_RDMA_URL: .*fast/)
      const socket = connect(port, "127.0.0.1")
      const body = JSON.stringify({ layout: 99, wire: 1, token: "secret", provider: "tcp", version: "1", address: "" })
      const frame = Buffer.alloc(4)
      frame.writeUInt32LE(body.length)
      socket.write(Buffer.concat([frame, Buffer.from(body)]))
      const [answer] = (await once(socket, "data")) as [Buffer]
      expect(JSON.parse(answer.subarray(4).toString())).toMatchObject({
        code: "ERR_RDMA_LAYOUT",
        refused: expect.stringMatching(/node has layout 1 .*router layout 99/)
      })
      socket.destroy()
      // One who says nothing sensible is told nothing.
      const rude = connect(port, "127.0.0.1")
      rude.write("GET / HTTP/1.1\r\n\r\n")
      await once(rude, "close")
      expect(output()).toMatch(/refused 127\.0\.0\.1:\d+: the memory node has another token/)
      expect(output()).not.toMatch(/secret|wrong/)
    })
  })

  it("says what of its flags cannot be, and whose the file is already", async () => {
    const backing = join(folder, "own")
    await withNode("tcp", ["--backing", backing], async () => {
      const said = (more: ReadonlyArray<string>) =>
        freePort()
          .then((port) => MemoryNodeProcess.start(port, args("tcp", more)))
          .then(
            () => "it started",
            (error: Error) => error.message
          )
      const all = [
        said(["--backing", backing]),
        said(["--backing", join(folder, "no/such/file")]),
        said(["--ttl", "0"]),
        said(["--spin", "-1"])
      ]
      expect(await Promise.all(all)).toEqual([
        expect.stringMatching(/Cannot use .*own as memory: another process has it\. Give --backing/),
        expect.stringMatching(/no\/such\/file as memory: .*No such file.* Give --backing a file/),
        expect.stringMatching(/--ttl 0: must be 1 to/),
        expect.stringMatching(/--spin -1: must be 0 to/)
      ])
    })
  })

  it("says how much it may lock where memory must be locked and it may not lock enough", async () => {
    const locking = await lockedLibrary(folder)
    const said = async (size: string) => {
      const flags = ["--listen", `127.0.0.1:${await freePort()}`, "--provider", "tcp", "--library", locking.library]
      const command = [process.execPath, bin, "memory-node", ...flags, "--size", size]
      const node = spawn("bash", ["-c", 'ulimit -l 8192; exec "$@"', "bash", ...command], {
        env: { ...process.env, ...locking.env },
        stdio: ["ignore", "pipe", "pipe"]
      })
      let text = ""
      for (const stream of [node.stdout, node.stderr]) {
        stream.on("data", (bytes: Buffer) => {
          text += bytes
          if (/admin at/.test(text)) node.kill("SIGKILL")
        })
      }
      await once(node, "close")
      return text
    }
    expect(await said("16MiB")).toMatch(
      /cannot register 16777216 bytes: Cannot allocate memory.* may lock 8192 KiB of memory: raise it \(ulimit -l unlimited.*--size/
    )
    expect(await said("8MiB")).toMatch(/admin at/)
  })

  it("says how it is", async () => {
    await withNode("tcp", [], async ({ admin }, open) => {
      const store = await open("auto")
      const tenure = await enter(store, "w")
      await run(store.write(held(tenure, chain(1))))
      const text = await (await fetch(`${admin}/metrics`)).text()
      expect(text).toMatch(/^warmpath_memory_node_blocks 40$/m)
      expect(text).toMatch(/^warmpath_memory_node_peers 1$/m)
      const findings = await run(store.findings)
      expect(findings.map(({ what }) => what)).toEqual(
        expect.arrayContaining(["libfabric", "providers", "memory", "lookup of a piece"])
      )
      expect((await fetch(`${admin}/`)).status).toBe(404)
    })
  })
})
