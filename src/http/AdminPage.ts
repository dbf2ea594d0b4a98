/**
 * The page at the admin listener: the files that `npm run build:page` made, read once and answered from memory. A path that
 * is not the name of one of them is nobody's, so none leads out of the folder.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { extname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { fault, type Reply, type Room } from "./AdminReply.ts"

interface File {
  readonly bytes: Buffer
  /** The same by gzip, where the build made one. */
  readonly gzip: Buffer | null
  readonly type: string
}

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml"
}

/** Its own files, its own API, nothing else: no inline script, no other host, in nobody's frame. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'"
].join("; ")

const missing =
  "The page is not built.\n\nIn a checkout: npm run build:page (npm ci does it, too). The admin API works without it: GET /admin/workers.\n"

/** Beside the built router, or in a checkout. */
const folders = ["../../page", "../../dist/page"].map((path) => fileURLToPath(new URL(path, import.meta.url)))

/** By path, `/` among them; null where nothing is built. */
const read = (folder: string): ReadonlyMap<string, File> | null => {
  if (!existsSync(join(folder, "index.html"))) return null
  const files = new Map<string, File>()
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    const type = types[extname(name)]
    if (type === undefined) continue
    const path = join(folder, name)
    const gzip = existsSync(`${path}.gz`) ? readFileSync(`${path}.gz`) : null
    files.set(name === "index.html" ? "/" : `/${name}`, { bytes: readFileSync(path), gzip, type })
  }
  return files
}

export const make = (among: ReadonlyArray<string> = folders): Room => {
  let files: ReadonlyMap<string, File> | null = null
  return (request, { pathname }): Reply => {
    const { method = "GET" } = request
    if (method !== "GET" && method !== "HEAD") {
      return fault(405, "wrong_method", `${pathname} does not take ${method}.`, "Use GET.", { allow: "GET" })
    }
    for (const folder of among) files ??= read(folder)
    if (files === null) return { status: 503, text: missing, type: "text/plain; charset=utf-8" }
    const file = files.get(pathname)
    if (file === undefined) {
      return fault(404, "unknown_path", `There is no ${pathname} here.`, "The page is at /.")
    }
    const zipped = file.gzip !== null && /\bgzip\b/.test(String(request.headers["accept-encoding"] ?? ""))
    return {
      status: 200,
      bytes: zipped ? file.gzip! : file.bytes,
      headers: {
        "content-type": file.type,
        "content-security-policy": policy,
        "referrer-policy": "no-referrer",
        vary: "accept-encoding",
        // Names of assets have the hash of what is in them.
        "cache-control": pathname === "/" ? "no-cache" : "public, max-age=31536000, immutable",
        ...(zipped ? { "content-encoding": "gzip" } : {})
      }
    }
  }
}
