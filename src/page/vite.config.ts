import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import { defineConfig, type Plugin } from "vite"

const outDir = fileURLToPath(new URL("../../dist/page", import.meta.url))

/** Beside each file the same by gzip, so that nothing is compressed when it is asked for. */
const zipped: Plugin = {
  name: "zipped",
  closeBundle: () => {
    for (const name of readdirSync(outDir, { recursive: true, encoding: "utf8" })) {
      if (!/\.(html|js|css|svg)$/.test(name)) continue
      const path = join(outDir, name)
      writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }))
    }
  }
}

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  // JSX without a plugin: the compiler knows preact's.
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir,
    emptyOutDir: true,
    target: ["chrome123", "firefox120", "safari17.5"],
    // The policy of the page allows no inline module loader; there is one module.
    modulePreload: false,
    assetsInlineLimit: 0,
    reportCompressedSize: false
  },
  plugins: [zipped],
  logLevel: "warn"
})
