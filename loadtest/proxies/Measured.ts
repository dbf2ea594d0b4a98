/** Measured: a child process that tells what it has used. CPU is the kernel's accounting of the whole process. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"

export interface Measured {
  readonly process: ChildProcess
  /** User + system time of all its threads so far, microseconds. */
  readonly cpuUs: () => Promise<number>
  /** Resident bytes after a full garbage collection. */
  readonly residentBytes: () => Promise<number>
  /** The first match in its standard output; rejects when it ends without one. */
  readonly says: (pattern: RegExp) => Promise<RegExpExecArray>
  readonly stop: () => Promise<void>
}

interface Usage {
  readonly cpuUs: number
  readonly residentBytes: number
}

/** Loaded into the process before its program. Works in any Node program, and costs it nothing until it is asked. */
const preload = `data:text/javascript,${encodeURIComponent(`
  process.on("message", (ask) => {
    if (ask === "memory") gc()
    const { system, user } = process.cpuUsage()
    process.send({ cpuUs: user + system, residentBytes: process.memoryUsage.rss() })
  })
  process.on("disconnect", () => process.exit(0))`)}`

/** `node …flags program …args`, beside this process and ended with it. */
export const start = (program: string, args: ReadonlyArray<string>, flags: ReadonlyArray<string> = []): Measured => {
  const child = spawn(process.execPath, ["--expose-gc", "--import", preload, ...flags, program, ...args], {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    env: { ...process.env, NO_COLOR: "1" }
  })
  let output = ""
  let look = (): void => {}
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on("data", (bytes: Buffer) => {
      // Only the beginning is ever asked for.
      if (output.length < 65_536) output += bytes.toString()
      look()
    })
  }
  const ended = once(child, "exit")
  const ask = async (what: "cpu" | "memory"): Promise<Usage> => {
    const answer = once(child, "message") as Promise<[Usage]>
    child.send(what)
    return (await answer)[0]
  }
  return {
    process: child,
    cpuUs: async () => (await ask("cpu")).cpuUs,
    residentBytes: async () => (await ask("memory")).residentBytes,
    says: (pattern) =>
      new Promise((resolve, reject) => {
        look = () => {
          const match = pattern.exec(output)
          if (match !== null) resolve(match)
        }
        void ended.then(([code]) =>
          reject(new Error(`${program} ended (${code}) without saying ${pattern}:\n${output}`))
        )
        look()
      }),
    stop: async () => {
      // It exits by itself then, and so writes what `--cpu-prof` asks for.
      child.disconnect()
      await ended
    }
  }
}

/** Where a program beside this one lies. */
export const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url))
