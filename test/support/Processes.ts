/** The real command as a child process, its output kept, and ended with the test whatever happens. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const bin = fileURLToPath(new URL("../../src/bin.ts", import.meta.url))

/** What a router keeps for its user stays out of that user's home. */
const stateHome = mkdtempSync(join(tmpdir(), "warmpath-state-"))
process.once("exit", () => rmSync(stateHome, { recursive: true, force: true }))

export interface Running {
  readonly process: ChildProcess
  /** Standard output and error so far, together and apart. */
  readonly output: () => string
  readonly standard: () => string
  readonly errors: () => string
  /** The first match in its output; rejects when it ends without one. */
  readonly says: (pattern: RegExp) => Promise<RegExpExecArray>
  /** Its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>
  readonly stop: () => Promise<void>
}

/** `warmpath …args`. */
export const warmpath = (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}): Running => {
  const child = spawn(process.execPath, [bin, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1", WARMPATH_LOG_FORMAT: "pretty", XDG_STATE_HOME: stateHome, ...env }
  })
  let text = ""
  const apart = { standard: "", errors: "" }
  const listeners = new Set<() => void>()
  const take = (from: keyof typeof apart) => (chunk: Buffer) => {
    text += chunk.toString()
    apart[from] += chunk.toString()
    for (const listener of listeners) listener()
  }
  child.stdout.on("data", take("standard"))
  child.stderr.on("data", take("errors"))
  // `close` comes after the last output, `exit` may not.
  const ended = once(child, "close").then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals)
  const says = (pattern: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(text)
        if (match === null) return
        listeners.delete(look)
        resolve(match)
      }
      listeners.add(look)
      void ended.then((how) => reject(new Error(`It ended (${how}) without saying ${pattern}:\n${text}`)))
      look()
    })
  const stop = async () => {
    child.kill("SIGKILL")
    await ended
  }
  return {
    process: child,
    output: () => text,
    standard: () => apart.standard,
    errors: () => apart.errors,
    says,
    ended,
    stop
  }
}
