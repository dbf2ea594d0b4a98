/**
 * Finds a model's tokenizer files on this machine, so that nobody has to say where they are: the folder the engine
 * loaded the model from, or the hub cache the engine's own download left behind.
 */
import { existsSync, readFileSync } from "node:fs"
import { isAbsolute, join } from "node:path"

const files = ["tokenizer.json", "tokenizer.json.br"]

/** True when the folder holds a tokenizer this router can read. */
const isTokenizerDir = (dir: string): boolean => files.some((file) => existsSync(join(dir, file)))

/**
 * Folder with `tokenizer.json` for a model, or null.
 *
 * `root` is what the engine says it loaded: a path, or a hub name such as `Qwen/Qwen3-8B`. `hubCache` is the folder
 * that holds `models--org--name/snapshots/…` (layout: huggingface_hub, "Manage your cache").
 */
export const findTokenizer = (root: string | null, hubCache: string): string | null => {
  if (root === null || root === "") return null
  if (isAbsolute(root)) return isTokenizerDir(root) ? root : null
  const home = join(hubCache, `models--${root.replaceAll("/", "--")}`)
  const ref = join(home, "refs", "main")
  if (root.includes("..") || !existsSync(ref)) return null
  const snapshot = join(home, "snapshots", readFileSync(ref, "utf8").trim())
  return isTokenizerDir(snapshot) ? snapshot : null
}
