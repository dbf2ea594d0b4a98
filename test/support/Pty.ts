/** The real command in a pseudo-terminal of a given size, by util-linux's `script`: what it draws, and keys for it. */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"

const bin = fileURLToPath(new URL("../../src/bin.ts", import.meta.url))

export interface Pty {
  /** All that was written so far, escape sequences and all. */
  readonly written: () => string
  /** The last whole frame, as a person reads it. */
  readonly frame: () => ReadonlyArray<string>
  readonly press: (keys: string) => void
  readonly resize: (columns: number, rows: number) => void
  readonly ended: Promise<number | NodeJS.Signals>
  readonly stop: () => Promise<void>
}

const begin = "\u001b[?2026h\u001b[H"
const end = "\u001b[?2026l"

/** `warmpath …args`, none of which a shell would read otherwise. */
export const warmpath = (args: ReadonlyArray<string>, columns: number, rows: number): Pty => {
  const command = `stty cols ${columns} rows ${rows}; tty; exec ${process.execPath} ${bin} ${args.join(" ")}`
  const { NO_COLOR: _, ...env } = process.env
  const child = spawn("script", ["-qefc", command, "/dev/null"], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...env, TERM: "xterm-256color", SHELL: "/bin/sh" }
  })
  let text = ""
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()))
  const ended = once(child, "close").then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals)
  return {
    written: () => text,
    frame: () => {
      const to = text.lastIndexOf(end)
      const from = text.lastIndexOf(begin, to)
      if (from < 0 || to < 0) return []
      const drawn = text.slice(from + begin.length, to).replace(/\u001b\[[\d;?]*[A-Za-z]/g, "")
      return drawn.split("\r\n").map((line) => line.trimEnd())
    },
    press: (keys) => void child.stdin.write(keys),
    resize: (to, high) => {
      execFileSync("stty", ["-F", /\/dev\/pts\/\d+/.exec(text)![0], "cols", String(to), "rows", String(high)])
    },
    ended,
    stop: async () => {
      child.kill("SIGKILL")
      await ended
    }
  }
}
