/** Files out of Debian's packages: downloaded and unpacked into a folder, without root and without installing anything. */
import { execFile } from "node:child_process"
import { mkdir, readdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"

const run = promisify(execFile)

/** Unpacks them into `into`, each file where it would lie under `/`. Rejects where there is no apt, no network, or no such package. */
export const unpack = async (packages: ReadonlyArray<string>, into: string): Promise<void> => {
  const download = (options: ReadonlyArray<string>) =>
    run("apt-get", [...options, "-qq", "download", ...packages], { cwd: into })
  await download([]).catch(async () => {
    // No package lists, as in a fresh container: lists of our own.
    const lists = join(into, "lists")
    await mkdir(join(lists, "partial"), { recursive: true })
    const options = ["-o", `Dir::State::lists=${lists}`, "-o", `Dir::Cache=${into}`]
    await run("apt-get", [...options, "-qq", "update"])
    await download(options)
    await rm(lists, { recursive: true })
  })
  const found = (await readdir(into)).filter((name) => name.endsWith(".deb"))
  for (const name of found) {
    await run("dpkg", ["-x", join(into, name), into])
    await rm(join(into, name))
  }
}
