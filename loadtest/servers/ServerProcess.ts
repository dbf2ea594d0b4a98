/** A server as a child process that can be killed, stopped in its tracks and started again; ended with this process whatever happens. */
import { type ChildProcess, spawn } from "node:child_process"
import { randomInt } from "node:crypto"
import { once } from "node:events"
import { createServer } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"

export interface ServerProcess {
  /** Of the running process; 0 when there is none. */
  readonly pid: () => number
  /** Of the running process, or the last. */
  readonly output: () => string
  /** Done once it is ready. Rejects when it ends before. */
  readonly start: () => Promise<void>
  /** Done once it has ended; by SIGTERM in order, by SIGKILL at once. */
  readonly end: (signal: "SIGTERM" | "SIGKILL") => Promise<void>
  /** Stopped in its tracks, connections open; and going on. */
  readonly pause: () => Promise<void>
  readonly resume: () => void
}

export interface Command {
  readonly path: string
  readonly args: ReadonlyArray<string>
  /** Said once it can be used. */
  readonly ready: RegExp
}

const alive = new Set<ChildProcess>()
process.once("exit", () => {
  for (const child of alive) child.kill("SIGKILL")
})

/** Below those that the system gives to whoever asks for any: a server that is started again finds its own free. */
const [portMin, portMax] = [10_240, 32_767]

/** A port that nobody listens on. */
export const freePort = async (): Promise<number> => {
  for (;;) {
    const port = portMin + randomInt(portMax - portMin)
    const server = createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true))
    })
    if (!isFree) continue
    server.close()
    await once(server, "close")
    return port
  }
}

/** Nothing is started yet. `name` is what errors call it. */
export const make = (name: string, { args, path, ready }: Command): ServerProcess => {
  let child: ChildProcess | null = null
  let output = ""
  return {
    pid: () => child?.pid ?? 0,
    output: () => output,
    start: async () => {
      output = ""
      const begun = spawn(path, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, NO_COLOR: "1" } })
      child = begun
      alive.add(begun)
      await new Promise<void>((resolve, reject) => {
        const take = (chunk: Buffer): void => {
          output += chunk.toString()
          if (ready.test(output)) resolve()
        }
        begun.stdout.on("data", take)
        begun.stderr.on("data", take)
        begun.once("error", reject)
        begun.once("close", (code) => {
          alive.delete(begun)
          reject(new Error(`${name} ended (${code}):\n${output}`))
        })
      })
    },
    end: async (signal) => {
      const ending = child
      child = null
      if (ending === null || ending.exitCode !== null || ending.signalCode !== null) return
      const ended = once(ending, "close")
      // A paused one would not hear of anything else.
      ending.kill("SIGCONT")
      ending.kill(signal)
      await ended
    },
    pause: async () => {
      child?.kill("SIGSTOP")
      // The signal takes a moment to reach every thread.
      await sleep(100)
    },
    resume: () => void child?.kill("SIGCONT")
  }
}
