/** Memory nodes as processes of their own, on a real fabric. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"

const cli = fileURLToPath(new URL("./MemoryNodeCli.ts", import.meta.url))

export interface NodeProcess {
  readonly process: ChildProcess
  readonly port: number
  readonly admin: string
  readonly output: () => string
  /** With what it has, at once. */
  readonly kill: (signal?: NodeJS.Signals) => Promise<void>
}

/** Starts one, and answers when it serves; rejects with what it said when it ends before. */
export const start = async (port: number, args: ReadonlyArray<string>): Promise<NodeProcess> => {
  const child = spawn(process.execPath, [cli, "--listen", `127.0.0.1:${port}`, ...args], {
    stdio: ["ignore", "pipe", "pipe"]
  })
  let output = ""
  const closed = once(child, "close")
  const admin = await new Promise<string>((resolve, reject) => {
    const take = (chunk: Buffer): void => {
      output += chunk.toString()
      const match = /admin at (http:\S+)\/metrics/.exec(output)
      if (match !== null) resolve(match[1]!)
    }
    child.stdout.on("data", take)
    child.stderr.on("data", take)
    void closed.then(() => reject(new Error(output)))
  })
  return {
    process: child,
    port,
    admin,
    output: () => output,
    kill: async (signal = "SIGKILL") => {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill(signal)
      if (signal === "SIGKILL") child.kill("SIGCONT")
      await closed
    }
  }
}
