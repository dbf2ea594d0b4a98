/**
 * Compiles `src/hot/wasm/xxh3.as` into the text of `src/hot/Xxh3Wasm.ts`.
 *
 * Run as a program (`node test/support/Xxh3Build.ts`) it rewrites that file; the test of `BlockHash` calls `build` and
 * compares.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { main } from "assemblyscript/asc"

const source = new URL("../../src/hot/wasm/xxh3.as", import.meta.url)
const target = new URL("../../src/hot/Xxh3Wasm.ts", import.meta.url)

/** The generated module, as text. Rejects with the compiler's own words when the source does not compile. */
export const build = async (): Promise<string> => {
  const text = readFileSync(source, "utf8")
  let binary = new Uint8Array()
  const options = "-O3 --noAssert --runtime stub --use abort= --outFile xxh3.wasm --memoryBase 1024".split(" ")
  const { error, stderr } = await main(["xxh3.ts", ...options], {
    readFile: (name: string) => (name === "xxh3.ts" ? text : null),
    writeFile: (_name: string, contents: string | Uint8Array) => {
      if (typeof contents !== "string") binary = Uint8Array.from(contents)
    },
    listFiles: () => []
  })
  if (error !== null) throw new Error(`src/hot/wasm/xxh3.as does not compile: ${error.message}\n${stderr.toString()}`)
  const encoded = Buffer.from(binary).toString("base64")
  const lines = encoded.match(/.{1,112}/g) ?? []
  return [
    "/** XXH3-64 as WebAssembly, base64. Generated from `wasm/xxh3.as` by `test/support/Xxh3Build.ts`; do not edit. */",
    `export const xxh3Wasm =\n  ${lines.map((line) => `"${line}"`).join(" +\n  ")}`,
    ""
  ].join("\n")
}

/** What is committed. */
export const committed = (): string => readFileSync(target, "utf8")

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(target, await build())
