import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import type { IncomingMessage } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as AdminPage from "../../src/http/AdminPage.ts"
import type { Reply } from "../../src/http/AdminReply.ts"

const script = "const a = 1\n".repeat(50)
let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "page-"))
  await mkdir(join(folder, "page/assets"), { recursive: true })
  await writeFile(join(folder, "secret.js"), "secret")
})
afterEach(() => rm(folder, { recursive: true }))

const build = async (): Promise<void> => {
  await writeFile(join(folder, "page/index.html"), "<p>page</p>")
  await writeFile(join(folder, "page/assets/index-1.js"), script)
  await writeFile(join(folder, "page/assets/index-1.js.gz"), gzipSync(script))
}

describe("the files of the page", () => {
  const room = () => AdminPage.make([join(folder, "page")])
  const ask = (answers: ReturnType<typeof room>, path: string, encoding = "", method = "GET"): Reply => {
    const request = { method, headers: { "accept-encoding": encoding } } as unknown as IncomingMessage
    return answers(request, new URL(`http://admin${path}`), []) as Reply
  }

  it("are taken up once they are built, and until then the answer says how", async () => {
    const answers = room()
    expect(ask(answers, "/")).toMatchObject({ status: 503, text: expect.stringContaining("npm run build:page") })
    await build()
    expect(ask(answers, "/")).toMatchObject({ status: 200, bytes: Buffer.from("<p>page</p>") })
  })

  it("come with a policy that lets in nothing from elsewhere, and are kept for ever but for the first", async () => {
    await build()
    const answers = room()
    const headers = (path: string) => (ask(answers, path) as { headers: Record<string, string> }).headers
    expect(headers("/")).toMatchObject({ "content-type": "text/html; charset=utf-8", "cache-control": "no-cache" })
    expect(headers("/")["content-security-policy"]).toContain("default-src 'none'; script-src 'self'")
    expect(headers("/assets/index-1.js")["cache-control"]).toContain("immutable")
  })

  it("come by gzip to who takes it", async () => {
    await build()
    const answers = room()
    expect(ask(answers, "/assets/index-1.js", "gzip, br")).toMatchObject({
      bytes: gzipSync(script),
      headers: { "content-encoding": "gzip" }
    })
    expect(ask(answers, "/assets/index-1.js")).toMatchObject({ bytes: Buffer.from(script) })
  })

  it("are all there is: no path leads out of their folder", async () => {
    await build()
    const answers = room()
    for (const path of [
      "/assets/../secret.js",
      "/assets/..%2fsecret.js",
      "/assets/%2e%2e/%2e%2e/secret.js",
      "/assets/..%5c..%5csecret.js",
      "//secret.js",
      "/assets",
      "/assets/",
      "/index.html",
      "/assets/index-1.js.gz"
    ]) {
      expect(ask(answers, path), path).toMatchObject({ status: 404 })
    }
    expect(ask(answers, "/", "", "POST")).toMatchObject({ status: 405 })
  })
})
