import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, describe, expect, it } from "vitest"
import * as RotatingFile from "../../../src/adapters/files/RotatingFile.ts"

const root = mkdtempSync(join(tmpdir(), "warmpath-rotating-"))
afterAll(() => rmSync(root, { recursive: true }))

let folders = 0
const folder = (): string => {
  const path = join(root, `${folders++}`)
  mkdirSync(path)
  return path
}

const make = (file: string, options: Partial<RotatingFile.Options> = {}) => {
  const told: Array<string> = []
  const made = RotatingFile.make({
    ...{ file, bytesMax: 64 * 1024, kept: 8, waitingBytesMax: 1 << 20, retryMs: 20 },
    changed: (why) => void told.push(why),
    ...options
  })
  return { ...made, told }
}

const until = async (is: () => boolean): Promise<void> => {
  while (!is()) await sleep(2)
}

/** Some KiB each, all different. */
const lines = (from: number, count: number): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, i) => `${from + i} ${"x".repeat(2_000)}`)

/** The numbers in a file and those set aside, the oldest first. */
const numbersIn = (path: string): ReadonlyArray<number> => {
  const parts = readdirSync(path).sort((a, b) => b.localeCompare(a, "en", { numeric: true }))
  const text = parts.map((name) => readFileSync(join(path, name), "utf8"))
  return text
    .join("")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => Number.parseInt(line, 10))
}

describe("RotatingFile", () => {
  it("sets the file aside when it is large, and keeps the newest few", async () => {
    const path = folder()
    const { close, counts, put } = make(join(path, "receipts.jsonl"), { kept: 2 })
    for (let from = 0; from < 200; from += 20) {
      put(lines(from, 20))
      await until(() => counts().written === from + 20)
    }
    await close()
    expect(readdirSync(path).sort()).toEqual(["receipts.jsonl", "receipts.jsonl.1", "receipts.jsonl.2"])
    const numbers = numbersIn(path)
    expect(numbers).toEqual(numbers.map((_, i) => 200 - numbers.length + i))
    expect(numbers.length).toBeGreaterThan(64)
    expect(numbers.length).toBeLessThan(200)
    expect(counts()).toEqual({ written: 200, dropped: 0 })
  })

  it("writes all that waits when it is closed, and goes on in the same file afterwards", async () => {
    const path = folder()
    const file = join(path, "receipts.jsonl")
    const first = make(file)
    first.put(lines(0, 50))
    await first.close()
    expect(first.counts()).toEqual({ written: 50, dropped: 0 })
    const second = make(file)
    second.put(lines(50, 50))
    await second.close()
    expect(numbersIn(path)).toEqual(Array.from({ length: 100 }, (_, i) => i))
  })

  it("drops the oldest when the disk is slower than what comes, and counts them", async () => {
    const path = folder()
    const { close, counts, put } = make(join(path, "receipts.jsonl"), { waitingBytesMax: 20_000 })
    // The file is not even open yet.
    put(lines(0, 100))
    await close()
    const { dropped, written } = counts()
    expect(dropped).toBeGreaterThan(50)
    expect(written + dropped).toBe(100)
    expect(numbersIn(path)).toEqual(Array.from({ length: written }, (_, i) => dropped + i))
  })

  it("says once why it cannot write, and goes on when it can", async () => {
    const path = folder()
    const file = join(path, "in", "receipts.jsonl")
    mkdirSync(join(path, "in"))
    const { close, counts, put, told } = make(file)
    put(lines(0, 1))
    await until(() => counts().written === 1)
    // Where the folder was there is a file: the next part cannot be begun.
    renameSync(join(path, "in"), join(path, "was"))
    writeFileSync(join(path, "in"), "")
    put(lines(1, 40))
    await until(() => told.length > 0)
    put(lines(100, 5))
    await sleep(100)
    expect(told).toEqual([expect.stringMatching(/ENOTDIR|EEXIST/)])
    rmSync(join(path, "in"))
    await until(() => told.length > 1)
    await close()
    expect(told[1]).toBe("")
    expect(numbersIn(join(path, "in")).slice(-5)).toEqual([100, 101, 102, 103, 104])
    const { dropped, written } = counts()
    expect(written + dropped).toBe(46)
  })

  it("begins a new line after one that broke off", async () => {
    const path = folder()
    const file = join(path, "receipts.jsonl")
    appendFileSync(file, '0 whole\n{"half": ')
    const { close, put } = make(file)
    put(["1 whole"])
    await close()
    expect(readFileSync(file, "utf8")).toBe('0 whole\n{"half": \n1 whole\n')
  })

  it("loses what waits rather than never ending, when it is closed while nothing can be written", async () => {
    const path = folder()
    writeFileSync(join(path, "in"), "")
    const { close, counts, put, told } = make(join(path, "in", "receipts.jsonl"))
    await until(() => told.length > 0)
    put(lines(0, 3))
    await close()
    expect(counts()).toEqual({ written: 0, dropped: 3 })
  })

  it("says beforehand what is wrong with a file, and what to do", () => {
    const path = folder()
    expect(RotatingFile.problem(join(path, "receipts.jsonl"))).toBeNull()
    expect(RotatingFile.problem(join(path, "no", "receipts.jsonl"))).toMatch(
      /There is no folder .*\/no for .*: make it/
    )
    expect(RotatingFile.problem(path)).toMatch(/is a folder: name a file in it/)
    expect(RotatingFile.problem("/dev/null")).toMatch(/\/dev\/null is not a file/)
    writeFileSync(join(path, "file"), "")
    expect(RotatingFile.problem(join(path, "file", "receipts.jsonl"))).toMatch(/cannot be written \(ENOTDIR/)
  })
})
