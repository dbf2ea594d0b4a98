/**
 * A server's executable for tests: the one that a variable names, else the one in PATH, else obtained once and kept under
 * `node_modules/.cache`: out of the distribution's package (no root, no service), else out of its container image.
 *
 * Several processes may obtain the same at once: each unpacks in a folder of its own and moves it into place.
 */
import { execFile } from "node:child_process"
import { constants } from "node:fs"
import { access, chmod, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises"
import { delimiter, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { unpack } from "./Debian.ts"

export interface Wanted {
  /** The executable's name. */
  readonly name: string
  /** The environment variable that may name it. */
  readonly variable: string
  /** Its Debian package, those of libraries it needs that few machines have, and where the executable lies. */
  readonly debian: { readonly package: string; readonly libraries?: ReadonlyArray<string>; readonly path: string }
  /** An image with an executable that needs no libraries of its own, and where it lies. */
  readonly image: { readonly name: string; readonly path: string } | null
}

const cache = fileURLToPath(new URL("../../node_modules/.cache/servers", import.meta.url))
const run = promisify(execFile)

const isExecutable = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false
  )

const inPath = async (name: string): Promise<string | null> => {
  // Debian puts servers where only root's PATH leads.
  for (const folder of [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"]) {
    if (folder !== "" && (await isExecutable(join(folder, name)))) return join(folder, name)
  }
  return null
}

/** In the executable's place: finds what was unpacked beside it, wherever that was moved to. */
const wrapper = (name: string): string => `#!/bin/sh
here=$(dirname "$0")
LD_LIBRARY_PATH=$(echo "$here"/usr/lib/*-linux-gnu) exec "$here/real/${name}" "$@"
`

const fromDebian = async (wanted: Wanted, into: string): Promise<void> => {
  const { libraries = [], path, package: own } = wanted.debian
  await unpack([own, ...libraries], into)
  if (libraries.length === 0) return rename(join(into, path), join(into, wanted.name))
  await mkdir(join(into, "real"))
  // By its own name, which decides what it is where several are links to one.
  await rename(join(into, path), join(into, "real", wanted.name))
  await writeFile(join(into, wanted.name), wrapper(wanted.name), { mode: 0o755 })
}

const fromImage = async (wanted: Wanted, into: string): Promise<void> => {
  if (wanted.image === null) throw new Error("no image to take it from")
  const { stdout } = await run("docker", ["create", wanted.image.name])
  const container = stdout.trim()
  await run("docker", ["cp", `${container}:${wanted.image.path}`, join(into, wanted.name)])
  await run("docker", ["rm", container])
  await chmod(join(into, wanted.name), 0o755)
}

/** The executable's path. Rejects with what to do when there is no way. */
export const obtain = async (wanted: Wanted): Promise<string> => {
  const named = process.env[wanted.variable]
  if (named !== undefined && named !== "") {
    if (await isExecutable(named)) return named
    throw new Error(`${wanted.variable} names ${named}, which cannot be executed.`)
  }
  const known = await inPath(wanted.name)
  if (known !== null) return known
  const kept = join(cache, wanted.name)
  const executable = join(kept, wanted.name)
  if (await isExecutable(executable)) return executable
  await mkdir(cache, { recursive: true })
  const reasons: Array<string> = []
  for (const from of [fromDebian, fromImage]) {
    const into = await mkdtemp(join(cache, ".new-"))
    try {
      await from(wanted, into)
      await run(join(into, wanted.name), ["--version"])
      // Another process may have been first: then its one is as good.
      await rename(into, kept).catch(() => {})
      if (await isExecutable(executable)) {
        console.info(`Tests obtained ${wanted.name} and keep it in ${kept}.`)
        return executable
      }
    } catch (error) {
      reasons.push(String(error instanceof Error ? error.message : error).split("\n")[0]!)
    } finally {
      await rm(into, { recursive: true, force: true })
    }
  }
  throw new Error(
    `These tests need ${wanted.name}, and it could not be obtained (${reasons.join("; ")}). ` +
      `Install it (Debian and Ubuntu: package ${wanted.debian.package}), or set ${wanted.variable} to its path.`
  )
}
