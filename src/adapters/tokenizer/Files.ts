/**
 * Files: a model's tokenizer as its folder holds it.
 *
 * `tokenizer.json` (or `tokenizer.json.br`, Brotli) must be there; `tokenizer_config.json` and `chat_template.jinja`
 * may be. Rejects with what is missing or broken.
 */
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import { brotliDecompress } from "node:zlib"

type Json = Readonly<Record<string, unknown>>

export interface Files {
  readonly tokenizer: Json
  readonly config: Json
  /** Text of `chat_template.jinja`, or null. */
  readonly template: string | null
}

const decompress = promisify(brotliDecompress)

/** Text of a file, plain or with `.br`; null when neither is there. */
const readText = async (dir: string, name: string): Promise<string | null> => {
  for (const suffix of ["", ".br"]) {
    try {
      const bytes = await readFile(join(dir, name + suffix))
      return (suffix === "" ? bytes : await decompress(bytes)).toString("utf8")
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause
    }
  }
  return null
}

const parse = (dir: string, name: string, text: string): Json => {
  try {
    return JSON.parse(text) as Json
  } catch (cause) {
    throw new Error(`${join(dir, name)} is no JSON: ${(cause as Error).message} Copy it again from the model.`)
  }
}

export const read = async (dir: string): Promise<Files> => {
  const [tokenizer, config, template] = await Promise.all([
    readText(dir, "tokenizer.json"),
    readText(dir, "tokenizer_config.json"),
    readText(dir, "chat_template.jinja")
  ])
  if (tokenizer === null)
    throw new Error(`${dir} holds no tokenizer.json. Give the folder that the engine loads the model from.`)
  return {
    tokenizer: parse(dir, "tokenizer.json", tokenizer),
    config: config === null ? {} : parse(dir, "tokenizer_config.json", config),
    template
  }
}
