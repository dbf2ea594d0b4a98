/** Circumstances: on what machine, from which commit and by which command a bench measured: the last two lines of its results. */
import { spawnSync } from "node:child_process"
import { cpus, loadavg } from "node:os"
import { relative } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const git = (...args: ReadonlyArray<string>) => spawnSync("git", args, { cwd: root, encoding: "utf8" })
const load = (): string => loadavg()[0]!.toFixed(1)

/** When the bench began. */
const loadAtFirst = load()

/** Of the checkout, with a mark where the code that is measured has changes. */
export const commit = (): string => {
  const head = git("rev-parse", "--short", "HEAD")
  if (head.status !== 0) return "unknown"
  return head.stdout.trim() + (git("status", "--porcelain", "--", "src", "actors").stdout === "" ? "" : " with changes")
}

export const text = (): string =>
  `Machine: ${cpus()[0]?.model.trim()}, ${cpus().length} cores (shared, load ${loadAtFirst} to ${load()}), Node ${process.version}. Commit: ${commit()}.\n` +
  `Command: \`${["node", relative(root, process.argv[1]!), ...process.argv.slice(2)].join(" ")}\``
