import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import type { Block, MmKey, Namer } from "../../../loadtest/fleet/CacheEvent.ts"
import * as Sglang from "../../../loadtest/fleet/sglang/BlockHash.ts"
import * as Vllm from "../../../loadtest/fleet/vllm/BlockHash.ts"

interface Chain {
  readonly name: string
  readonly tokens: ReadonlyArray<number>
  readonly blocks: ReadonlyArray<{ readonly digest: string; readonly event_int: string; readonly extra_keys: unknown }>
}
interface VllmChain extends Chain {
  readonly algorithm: string
  readonly pythonhashseed: string
  readonly block_size: number
}
interface SglangChain extends Chain {
  readonly page_size: number
  readonly cache_salt: string | null
  readonly lora_name: string | null
  readonly bigram: boolean
}

const file = new URL("../../support/vectors/vllm-block-hashes.json", import.meta.url)
const vectors = JSON.parse(readFileSync(file, "utf8")) as {
  readonly vllm: ReadonlyArray<VllmChain>
  readonly sglang: ReadonlyArray<SglangChain>
}

/** Names a chain's full blocks. */
const named = (
  name: Namer,
  tokens: ReadonlyArray<number>,
  size: number,
  facts: {
    readonly salt?: string | null
    readonly lora?: string | null
    readonly mm?: (block: number) => ReadonlyArray<MmKey>
  }
): ReadonlyArray<Block> => {
  const blocks: Array<Block> = []
  for (let i = 0; (i + 1) * size <= tokens.length; i++) {
    const block = {
      parent: blocks.at(-1) ?? null,
      tokenIds: tokens.slice(i * size, (i + 1) * size),
      salt: facts.salt ?? null,
      lora: facts.lora ?? null,
      mm: facts.mm?.(i) ?? []
    }
    blocks.push({ ...name(block), ...block })
  }
  return blocks
}

const told = (blocks: ReadonlyArray<Block>) =>
  blocks.map(({ digest, published }) => [digest.toString("hex"), published.toString()])
const golden = ({ blocks }: Chain) => blocks.map(({ digest, event_int }) => [digest, event_int])

describe("vLLM's block hashes", () => {
  // Identifiers without an offset are older than what is simulated.
  const chains = vectors.vllm.filter(({ algorithm, name }) => algorithm === "sha256_cbor" && !name.includes("legacy"))

  it.each(chains.map((chain) => [chain.name, chain] as const))("are sha256_cbor's: %s", (_name, chain) => {
    const keys = chain.blocks.map(({ extra_keys }) => (extra_keys ?? []) as ReadonlyArray<string | MmKey>)
    const texts = (i: number) => keys[i]!.filter((key) => typeof key === "string")
    // An adapter is in every block, a salt in the first only.
    const lora = chain.name.includes("lora") ? texts(0)[0]! : null
    const salt = texts(0).find((text) => text !== lora) ?? null
    const mm = (i: number) => keys[i]!.filter((key) => typeof key !== "string")
    expect(told(named(Vllm.namer(chain.pythonhashseed), chain.tokens, chain.block_size, { lora, salt, mm }))).toEqual(
      golden(chain)
    )
  })

  it("draw another root for every life without a seed", () => {
    expect(Vllm.rootDigest(null).equals(Vllm.rootDigest(null))).toBe(false)
    expect(Vllm.rootDigest("0").toString("hex")).toBe(
      "4e1195df020de59e0d65a33a4279f1183e7ae4e5d980e309f8b55adff2e61c3e"
    )
  })
})

describe("SGLang's page hashes", () => {
  const chains = vectors.sglang.filter(({ bigram }) => !bigram)

  it.each(chains.map((chain) => [chain.name, chain] as const))("equal its own: %s", (_name, chain) => {
    const facts = { salt: chain.cache_salt, lora: chain.lora_name }
    expect(told(named(Sglang.namer(true), chain.tokens, chain.page_size, facts))).toEqual(golden(chain))
  })

  it("of older versions are the same for every adapter, which the cache still keeps apart", () => {
    const tokens = Array.from({ length: 16 }, (_, i) => i)
    const [plain] = named(Sglang.namer(false), tokens, 16, {})
    const [adapted] = named(Sglang.namer(false), tokens, 16, { lora: "sql-adapter" })
    expect(adapted!.published).toBe(plain!.published)
    expect(adapted!.key).not.toBe(plain!.key)
  })
})
