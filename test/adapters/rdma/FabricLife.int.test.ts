import { execFile } from "node:child_process"
import { copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { load } from "../../../src/adapters/rdma/Fabric.ts"
import * as FabricRig from "../../support/FabricRig.ts"

const { until } = FabricRig
const rig = FabricRig.make()
let folder = ""

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fabric-"))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const errorOf = (
  act: () => unknown
): { readonly code?: string; readonly message: string; readonly offered?: unknown } => {
  try {
    act()
  } catch (error) {
    return error as Error
  }
  throw new Error("It did not fail.")
}

describe("What is missing", () => {
  it("is told with what to do about it: the addon, libfabric, a provider", () => {
    const { library } = rig.options()
    const addon = errorOf(() => load(join(folder, "none.node")))
    expect([addon.code, addon.message]).toEqual(["ERR_RDMA_ADDON", expect.stringContaining("npm run build:native")])
    const none = errorOf(() => rig.fabric().providers(join(folder, "none.so")))
    expect([none.code, none.message]).toEqual(["ERR_RDMA_LIBRARY", expect.stringContaining("apt install libfabric1")])
    const empty = errorOf(() => rig.fabric().providers(folder))
    expect([empty.code, empty.message]).toEqual(["ERR_RDMA_LIBRARY", expect.stringContaining("libfabric.so.1")])
    const provider = errorOf(() => rig.fabric().open({ ...rig.options(), provider: "cxi" }))
    expect(provider.code).toBe("ERR_RDMA_PROVIDER")
    expect(provider.message).toMatch(/No libfabric provider here matches cxi.*Offered here: tcp/)
    expect(provider.offered).toEqual(
      rig
        .fabric()
        .providers(library)
        .map((one) => one.name)
    )
    const host = errorOf(() => rig.fabric().open({ ...rig.options(), host: "192.0.2.77" }))
    expect([host.code, host.message]).toEqual(["ERR_RDMA_PROVIDER", expect.stringContaining(" at 192.0.2.77")])
  })

  it("is told of a library that is no libfabric, and of an addon that is none", async () => {
    const wrong = join(folder, "wrong.so")
    await copyFile(rig.addon(), wrong)
    expect(errorOf(() => rig.fabric().providers(wrong)).code).toBe("ERR_RDMA_LIBRARY")
    const text = join(folder, "text.node")
    await writeFile(text, "no addon")
    expect(errorOf(() => load(text)).code).toBe("ERR_RDMA_ADDON")
  })
})

describe("Building the addon", () => {
  it("says what to install where there is no compiler", async () => {
    const script = fileURLToPath(new URL("../../../src/adapters/rdma/native/build.ts", import.meta.url))
    const { code, stderr } = await promisify(execFile)(process.execPath, [script], { env: { PATH: folder } }).then(
      () => ({ code: 0, stderr: "" }),
      (error: { readonly code: number; readonly stderr: string }) => error
    )
    expect([code, stderr]).toEqual([1, expect.stringContaining("apt install g++")])
  })
})

describe("Providers", () => {
  it("are listed with what they say of themselves, and auto takes tcp where there is no other network", () => {
    const all = rig.fabric().providers(rig.options().library)
    expect(all.find((one) => one.name.startsWith("tcp"))).toMatchObject({ remoteReads: true, manualProgress: true })
    expect(all.find((one) => one.name === "shm")).toMatchObject({ remoteReads: true, manualProgress: true })
    const own = rig.open({ provider: "auto" })
    expect(own.provider).toMatch(/^tcp/)
    expect(own.version).toMatch(/^\d+\.\d+$/)
  })
})

describe("An endpoint and its process", () => {
  it("keeps the process until it is closed, and then lets it end", async () => {
    expect(
      await rig.program(`const e = open(); setTimeout(() => e.close().then(() => console.log("closed")), 300)`)
    ).toBe("closed")
  })

  it("survives process.exit with reads and sends under way", async () => {
    const body = (spin: number) => `const a = open(), b = open(); a.setSpin(${spin})
const to = a.insert(b.address), region = b.expose(fabric.map(null, 65536))
await a.read(to, region, 0, 512, 5000)
for (let i = 0; i < 100; i++) a.read(to, region, 0, 65536, 5000)
for (let i = 0; i < 100; i++) a.send(to, new Uint8Array(1000))
console.log("leaving"); process.exit(0)`
    expect(await rig.program(body(0))).toBe("leaving")
    expect(await rig.program(body(100))).toBe("leaving")
  })

  it("survives the end of a worker thread that has one open", async () => {
    const body = `if (isMainThread) {
  for (let i = 0; i < 3; i++) {
    const worker = new Worker(new URL(import.meta.url))
    await new Promise((resolve) => worker.once("message", resolve))
    await worker.terminate()
  }
  console.log("ended")
} else {
  const a = open(), b = open(); a.setSpin(100)
  const to = a.insert(b.address), region = b.expose(fabric.map(null, 65536))
  await a.read(to, region, 0, 512, 5000)
  a.onMessage(() => {}); b.onMessage(() => {})
  setInterval(() => { a.send(to, new Uint8Array(100)); a.read(to, region, 0, 65536, 5000).catch(() => {}) }, 0)
  parentPort.postMessage("open")
}`
    expect(await rig.program(body)).toBe("ended")
  })

  it("makes an error in a callback an uncaught exception, as an event emitter would", async () => {
    const body = `const a = open(), b = open()
b.onMessage(() => { throw new Error("in the callback") })
a.send(a.insert(b.address), new Uint8Array(10))`
    expect(await rig.program(body)).toBe("1: in the callback")
    const caught = `process.on("uncaughtException", (error) => { console.log(error.message); a.close(); b.close() })\n`
    expect(await rig.program(caught + body)).toBe("in the callback")
  })

  it("may be closed in a callback, and messages that were kept are empty then", async () => {
    const own = rig.open()
    const other = rig.open()
    const kept: Array<Uint8Array> = []
    let closed: Promise<void> | null = null
    other.onMessage((bytes) => {
      kept.push(bytes)
      closed = other.close()
    })
    const to = own.insert(other.address)
    own.send(to, new Uint8Array(10))
    own.send(to, new Uint8Array(10))
    await until(() => closed !== null)
    await closed
    expect(kept.map((bytes) => bytes.length)).toEqual([0])
  })
})

describe("Memory", () => {
  it("of a file keeps its bytes, and grows", async () => {
    const file = join(folder, "region")
    const first = rig.fabric().map(file, 10_000)
    expect(first.byteLength).toBe(10_000)
    new Uint8Array(first).fill(7)
    const second = new Uint8Array(rig.fabric().map(file, 100_000))
    expect([second[0], second[9_999], second[10_000], second[99_999]]).toEqual([7, 7, 0, 0])
    expect((await stat(file)).size).toBeGreaterThanOrEqual(100_000)
    expect((await readFile(file)).subarray(0, 10_000).every((byte) => byte === 7)).toBe(true)
  })

  it("that cannot be had is an error with its reason", async () => {
    await mkdir(join(folder, "sub"))
    for (const path of [join(folder, "sub"), join(folder, "no/such/file"), "/dev/null"]) {
      const error = errorOf(() => rig.fabric().map(path, 4_096))
      expect([error.code, error.message]).toEqual(["ERR_RDMA_BACKING", expect.stringContaining(path)])
    }
    const full = errorOf(() => rig.fabric().map(join("/dev/shm", `fabric-test-${process.pid}`), 2 ** 40))
    expect([full.code, full.message]).toEqual(["ERR_RDMA_BACKING", expect.stringContaining("No space left")])
    await rm(join("/dev/shm", `fabric-test-${process.pid}`), { force: true })
  })
})
