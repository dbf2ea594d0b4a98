/** `warmpath` as child processes: simulated engines, and the router. They end with this process, however that ends. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"

const bin = fileURLToPath(new URL("../../src/bin.ts", import.meta.url))

const alive = new Set<ChildProcess>()
process.once("exit", () => {
  for (const child of alive) child.kill("SIGKILL")
})

export interface Started {
  /** The first match in its output; rejects when it ends without one. */
  readonly says: (pattern: RegExp) => Promise<ReadonlyArray<RegExpMatchArray>>
  /** As by `kill -9`. */
  readonly kill: () => Promise<void>
  readonly pid: number
}

const start = (args: ReadonlyArray<string>): Started => {
  const child = spawn(process.execPath, [bin, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1" }
  })
  alive.add(child)
  let output = ""
  let isOver = false
  const take = (chunk: Buffer): void => {
    output += chunk.toString()
  }
  child.stdout.on("data", take)
  child.stderr.on("data", take)
  const ended = once(child, "close").then(() => {
    isOver = true
    alive.delete(child)
  })
  return {
    pid: child.pid!,
    says: async (pattern) => {
      for (;;) {
        const found = [...output.matchAll(pattern)]
        if (found.length > 0) return found
        if (isOver) throw new Error(`warmpath ${args[0]} ended:\n${output}`)
        await sleep(5)
      }
    },
    kill: async () => {
      child.kill("SIGKILL")
      await ended
    }
  }
}

export interface Fleet {
  readonly urls: ReadonlyArray<string>
  /** From now on engines can repeat no more than so many of their latest batches. */
  readonly shorten: (batches: number) => Promise<void>
  /** From now on they take so many times as long; they start quick, to be filled. */
  readonly slow: (times: number) => Promise<void>
  readonly close: () => Promise<void>
}

export const model = "sim/qwen3"
const speedFilling = 200

/** So many engines with so much room each, at most a few million blocks to a process. */
export const startFleet = async (engines: number, blocksEach: number): Promise<Fleet> => {
  const count = Math.min(engines, Math.max(1, Math.ceil((engines * blocksEach) / 1_500_000)), availableParallelism())
  const sizes = Array.from({ length: count }, (_, i) => Math.floor((engines + i) / count))
  const children = sizes.map((size) =>
    start([
      "sim-engine",
      ...["--port", "0", "--engines", String(size), "--blocks", String(blocksEach), "--max-model-len", "16384"],
      ...["--speed", String(speedFilling), "--model", model]
    ])
  )
  const urls: Array<string> = []
  const faults: Array<string> = []
  for (const child of children) {
    await child.says(/Ctrl-C ends/g)
    const found = (await child.says(/^ {2}(http:\S+) {3}events/gm)).map(([, url]) => url!)
    urls.push(...found)
    faults.push(...found.map((_, i) => `${found[0]}/sim/faults?engine=${i}`))
  }
  const tell = async (fault: Readonly<Record<string, number>>): Promise<void> => {
    for (const url of faults) {
      const answer = await fetch(url, { method: "POST", body: JSON.stringify(fault) })
      if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`)
    }
  }
  return {
    urls,
    shorten: (batches) => tell({ ringShort: batches }),
    slow: (times) => tell({ slow: times }),
    close: async () => void (await Promise.all(children.map((child) => child.kill())))
  }
}

export interface Router {
  readonly url: string
  readonly adminUrl: string
  /** From the start of its process until it said that it is ready, ms. */
  readonly readyMs: number
  /** How long its event loop's thread has waited for a core so far, ms; null where the system does not tell. */
  readonly starvedMs: () => number | null
  readonly kill: () => Promise<void>
}

/** Linux: `schedstat` has what it ran, waited for a core, and how often, in ns. */
const starvedMs = (pid: number): number | null => {
  try {
    return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, "utf8").split(" ")[1]) / 1e6
  } catch {
    return null
  }
}

const isReady = (url: string): Promise<boolean> =>
  fetch(`${url}/ready`).then(
    async (answer) => {
      await answer.text()
      return answer.ok
    },
    () => false
  )

/** A router before these engines, once it is ready. */
export const startRouter = async (workers: ReadonlyArray<string>, store: string): Promise<Router> => {
  const startedMs = performance.now()
  const child = start([
    "serve",
    ...["--host", "127.0.0.1", "--port", "0", "--admin-port", "0", "--store", store],
    ...workers.flatMap((url) => ["--worker", url])
  ])
  const [found] = await child.says(/ at (http:\S+)\/v1 · admin at (http:\S+)\/admin/g)
  const [, url, adminUrl] = found!
  while (!(await isReady(url!))) await sleep(5)
  return {
    url: url!,
    adminUrl: adminUrl!,
    readyMs: performance.now() - startedMs,
    starvedMs: () => starvedMs(child.pid),
    kill: child.kill
  }
}
