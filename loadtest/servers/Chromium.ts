/**
 * A real Chromium for tests and benches of the page: the one that CHROMIUM names, else the one in PATH, else Debian's, installed
 * where that may be done: it has a hundred libraries, so unlike other servers it is not unpacked beside the tests.
 */
import { execFile } from "node:child_process"
import { constants } from "node:fs"
import { access } from "node:fs/promises"
import { delimiter, join } from "node:path"
import { promisify } from "node:util"
import { type Browser, chromium } from "playwright-core"

const run = promisify(execFile)

const isExecutable = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false
  )

const inPath = async (): Promise<string | null> => {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
      if (folder !== "" && (await isExecutable(join(folder, name)))) return join(folder, name)
    }
  }
  return null
}

/** The executable's path. Rejects with what to do when there is no way. */
const executable = async (): Promise<string> => {
  const named = process.env["CHROMIUM"] ?? ""
  if (named !== "") {
    if (await isExecutable(named)) return named
    throw new Error(`CHROMIUM names ${named}, which cannot be executed.`)
  }
  const known = await inPath()
  if (known !== null) return known
  let reason = "only root may install it"
  if (process.getuid?.() === 0) {
    try {
      await run("apt-get", ["-qq", "update"])
      await run("apt-get", ["-qq", "-y", "--no-install-recommends", "install", "chromium"])
      console.info("Tests installed Debian's chromium.")
    } catch (error) {
      reason = String(error instanceof Error ? error.message : error).split("\n")[0]!
    }
    const installed = await inPath()
    if (installed !== null) return installed
  }
  throw new Error(
    `These tests need a Chromium, and there is none (${reason}). Install it (Debian and Ubuntu: package chromium), or set CHROMIUM to its path.`
  )
}

/** Headless, asking nobody for anything of its own accord. */
export const launch = async (): Promise<Browser> =>
  chromium.launch({
    executablePath: await executable(),
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync"
    ]
  })
