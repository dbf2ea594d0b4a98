/** The page, built from the sources as they are. */
import { fileURLToPath } from "node:url"
import { build } from "vite"

const configFile = fileURLToPath(new URL("../../src/page/vite.config.ts", import.meta.url))

/** Builds it, and has the admin listener at `url` take it up: what is in `dist` by then may be taken away, it keeps what it read. */
export const at = async (url: string): Promise<void> => {
  do await build({ configFile })
  while ((await fetch(url)).status === 503)
}
