/**
 * `npm run build:native [-- --sanitize]`: compiles the addon into `prebuilt/<platform>-<arch>/fabric.node`, with a C++17 compiler
 * (`CXX`, g++ or clang++) and headers alone: libfabric itself is loaded when it is used. Headers come from the system, else out
 * of Debian's packages, kept under `node_modules/.cache`.
 *
 * `--sanitize` makes `fabric.sanitize.node` beside it, for a process with libasan preloaded.
 */
import { execFile } from "node:child_process"
import { existsSync, readdirSync } from "node:fs"
import { mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { unpack } from "../../../../loadtest/servers/Debian.ts"

const run = promisify(execFile)
const here = fileURLToPath(new URL(".", import.meta.url))
const cache = fileURLToPath(new URL("../../../../node_modules/.cache/", import.meta.url))
const { resolve } = createRequire(import.meta.url)

/** Where it is built to. */
export const target = (sanitize: boolean): string =>
  join(here, "prebuilt", `${process.platform}-${process.arch}`, sanitize ? "fabric.sanitize.node" : "fabric.node")

/** The first there is. Rejects with what to do. */
export const compilerOf = async (): Promise<string> => {
  for (const name of [process.env.CXX, "g++", "clang++"]) {
    if (name === undefined || name === "") continue
    const runs = await run(name, ["--version"]).then(
      () => true,
      () => false
    )
    if (runs) return name
    if (name === process.env.CXX) throw new Error(`CXX names ${name}, which cannot be run.`)
  }
  throw new Error("There is no C++ compiler: install g++ or clang++ (Debian, Ubuntu: apt install g++), or set CXX.")
}

/** Folders of a package's headers in the cache, unpacked there once. */
const cached = async (debian: string, header: string): Promise<string> => {
  const kept = join(cache, debian)
  const folder = join(kept, "usr/include")
  if (existsSync(join(folder, header))) return folder
  await mkdir(cache, { recursive: true })
  const into = await mkdtemp(join(cache, ".new-"))
  try {
    await unpack([debian], into)
    // Another process may have been first: then its copy is as good.
    await rename(into, kept).catch(() => {})
  } finally {
    await rm(into, { recursive: true, force: true })
  }
  if (existsSync(join(folder, header))) return folder
  throw new Error(`Debian's package ${debian} has no ${header}`)
}

/** The folder that has a header: the first of these, else the one of Debian's package. */
const headers = async (header: string, folders: ReadonlyArray<string>, debian: string): Promise<string> => {
  for (const folder of folders) if (existsSync(join(folder, header))) return folder
  return cached(debian, header).catch((error) => {
    const reason = String(error instanceof Error ? error.message : error).split("\n")[0]
    throw new Error(
      `The header ${header} is missing (looked in ${folders.join(", ")}), and Debian's package could not be had ` +
        `(${reason}). Install it: apt install ${debian}.`
    )
  })
}

const nodeHeaders = (): ReadonlyArray<string> => {
  const folders = [join(dirname(process.execPath), "../include/node")]
  // npm's package of Node has them in one of its own, next to it or in it.
  const ofNode = dirname(resolve("node/package.json"))
  for (const folder of [join(ofNode, "node_modules"), dirname(ofNode)]) {
    folders.push(join(folder, `node-${process.platform}-${process.arch}`, "include/node"))
  }
  return [...folders, "/usr/include/node", "/usr/include"]
}

/** The folder with `rdma/fabric.h`. */
export const fabricHeaders = (): Promise<string> =>
  headers(
    "rdma/fabric.h",
    [...(process.env.CPATH ?? "").split(":"), "/usr/include", "/usr/local/include"],
    "libfabric-dev"
  )

/** Compiles it, and answers what it did. Rejects with what to do. */
export const build = async (options: { readonly sanitize: boolean }): Promise<string> => {
  if (process.platform !== "linux") throw new Error(`The RDMA addon is for Linux, and this is ${process.platform}.`)
  const started = performance.now()
  const compiler = await compilerOf()
  const [fabric, uv] = await Promise.all([fabricHeaders(), headers("uv.h", nodeHeaders(), "libuv1-dev")])
  const napi = join(dirname(resolve("node-api-headers/package.json")), "include")
  const into = target(options.sanitize)
  await mkdir(dirname(into), { recursive: true })
  // Made aside and moved into place: a process that has the old one loaded keeps it.
  const made = `${into}.${process.pid}`
  const kind = options.sanitize
    ? ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    : ["-O2", "-s", "-static-libstdc++", "-static-libgcc"]
  const sources = readdirSync(here).filter((name) => name.endsWith(".cc"))
  const flags = ["-std=c++17", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"]
  const includes = [napi, uv, fabric].flatMap((folder) => ["-isystem", folder])
  try {
    await run(compiler, [...flags, ...kind, "-DNAPI_VERSION=8", ...includes, ...sources, "-ldl", "-o", made], {
      cwd: here
    })
    await rename(made, into)
  } catch (error) {
    const { stderr } = error as { readonly stderr?: string }
    throw new Error(`${compiler} could not compile the RDMA addon:\n${stderr ?? String(error)}`)
  } finally {
    await rm(made, { force: true })
  }
  const { size } = await stat(into)
  const seconds = ((performance.now() - started) / 1_000).toFixed(1)
  return `Built ${into} (${Math.round(size / 1024)} KiB) with ${compiler} in ${seconds} s; libfabric's headers from ${fabric}, libuv's from ${uv}.`
}

if (import.meta.main) {
  try {
    console.info(await build({ sanitize: process.argv.includes("--sanitize") }))
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  }
}
