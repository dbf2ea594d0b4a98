import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { findTokenizer } from "../../../src/adapters/tokenizer/Find.ts"

const dir = mkdtempSync(join(tmpdir(), "warmpath-find-"))
afterAll(() => rmSync(dir, { recursive: true }))
const snapshot = join(dir, "models--Qwen--Qwen3-8B", "snapshots", "abc")
mkdirSync(snapshot, { recursive: true })
mkdirSync(join(dir, "models--Qwen--Qwen3-8B", "refs"))
writeFileSync(join(dir, "models--Qwen--Qwen3-8B", "refs", "main"), "abc\n")
writeFileSync(join(snapshot, "tokenizer.json"), "{}")

describe("findTokenizer", () => {
  it("looks in the folder the engine loaded the model from", () => {
    expect(findTokenizer(snapshot, "/nowhere")).toBe(snapshot)
    expect(findTokenizer(dir, "/nowhere")).toBe(null)
  })
  it("looks in the hub cache for a model known by name", () => {
    expect(findTokenizer("Qwen/Qwen3-8B", dir)).toBe(snapshot)
  })
  it("finds nothing for a model that is not here, or a name that leaves the cache", () => {
    for (const root of [null, "", "Qwen/other", "../models--Qwen--Qwen3-8B"])
      expect(findTokenizer(root, dir)).toBe(null)
  })
})
