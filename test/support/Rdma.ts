/**
 * What tests of RDMA need, without root: the addon, built when it is not there or older than its sources, and a folder with
 * libfabric and all it links, out of Debian's packages where the system has none.
 */
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { unpack } from "../../loadtest/servers/Debian.ts"
import { build, compilerOf, fabricHeaders, target } from "../../src/adapters/rdma/native/build.ts"

const sources = fileURLToPath(new URL("../../src/adapters/rdma/native/", import.meta.url))
const cache = fileURLToPath(new URL("../../node_modules/.cache/", import.meta.url))

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Runs alone among all processes that use the same file; one that died does not count. */
const alone = async <A>(file: string, run: () => Promise<A>): Promise<A> => {
  await mkdir(dirname(file), { recursive: true })
  for (;;) {
    try {
      const lock = await open(file, "wx")
      await lock.write(String(process.pid))
      await lock.close()
      break
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
      const owner = Number(await readFile(file, "utf8").catch(() => "0"))
      if (owner !== 0 && !isAlive(owner)) await rm(file, { force: true })
      else await sleep(100)
    }
  }
  try {
    return await run()
  } finally {
    await rm(file, { force: true })
  }
}

const isFresh = async (file: string): Promise<boolean> => {
  if (!existsSync(file)) return false
  const { mtimeMs } = await stat(file)
  for (const name of await readdir(sources)) {
    if (/\.(cc|h)$/.test(name) && (await stat(join(sources, name))).mtimeMs > mtimeMs) return false
  }
  return true
}

/** The addon's file. Rejects with what to do where it cannot be built. */
export const addonFile = async (options: { readonly sanitize: boolean } = { sanitize: false }): Promise<string> => {
  const file = target(options.sanitize)
  await alone(`${file}.lock`, async () => {
    if (!(await isFresh(file))) console.info(await build(options))
  })
  return file
}

// What Debian's libfabric 1.17 links, and what that links.
const packages = [
  "libfabric1",
  "ibverbs-providers",
  "libibverbs1",
  "librdmacm1",
  "libpsm-infinipath1",
  "libpsm2-2",
  "libnl-3-200",
  "libnl-route-3-200",
  "libnuma1",
  "libatomic1"
]

const systemFolders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/local/lib"]

/** What to give as the option `library`: null where the system has libfabric, else a folder that has it. */
export const libfabric = async (): Promise<string | null> => {
  if (systemFolders.some((folder) => existsSync(join(folder, "libfabric.so.1")))) return null
  const kept = join(cache, "libfabric")
  await alone(`${kept}.lock`, async () => {
    if (existsSync(join(kept, "libfabric.so.1"))) return
    const into = await mkdtemp(join(cache, ".new-"))
    const flat = join(into, "flat")
    try {
      await unpack(packages, into)
      await mkdir(flat)
      const found = await readdir(into, { recursive: true, withFileTypes: true })
      for (const file of found) {
        if (!file.isDirectory() && /^lib.*\.so\.[\d.]+$/.test(file.name)) {
          await rename(join(file.parentPath, file.name), join(flat, file.name))
        }
      }
      // Debian links this one through its alternatives, which only an installation does.
      const psm = (await readdir(flat)).find((name) => name.startsWith("libpsm_infinipath.so.1."))
      if (psm !== undefined) await symlink(basename(psm), join(flat, "libpsm_infinipath.so.1"))
      await rename(flat, kept)
      console.info(`Tests obtained libfabric and keep it in ${kept}.`)
    } catch (error) {
      const reason = String(error instanceof Error ? error.message : error).split("\n")[0]
      throw new Error(
        `These tests need libfabric, and it could not be obtained (${reason}). Install it: apt install libfabric1.`
      )
    } finally {
      await rm(into, { recursive: true, force: true })
    }
  })
  return kept
}

/**
 * A libfabric, in `folder`, that registers as much memory as the process may lock, and what a process needs in its
 * environment to use it.
 */
export const lockedLibrary = async (
  folder: string
): Promise<{ readonly library: string; readonly env: Readonly<Record<string, string>> }> => {
  const library = join(folder, "liblocked.so")
  const versions = join(folder, "versions")
  await writeFile(
    versions,
    "FABRIC_1.0 { global: fi_version; fi_strerror; local: *; };\nFABRIC_1.1 { } FABRIC_1.0;\nFABRIC_1.3 { } FABRIC_1.1;\n"
  )
  const source = fileURLToPath(new URL("LockedMemory.cc", import.meta.url))
  const flags = [
    "-std=c++17",
    "-shared",
    "-fPIC",
    "-isystem",
    await fabricHeaders(),
    `-Wl,--version-script=${versions}`
  ]
  await promisify(execFile)(await compilerOf(), [...flags, source, "-ldl", "-o", library])
  const real = await libfabric()
  const paths = real === null ? {} : { LD_LIBRARY_PATH: real }
  const file = real === null ? "libfabric.so.1" : join(real, "libfabric.so.1")
  return { library, env: { ...paths, WARMPATH_TEST_LIBFABRIC: file } }
}
