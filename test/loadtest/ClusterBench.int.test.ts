import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"

const bench = fileURLToPath(new URL("../../loadtest/Cluster.bench.ts", import.meta.url))
const run = (...args: ReadonlyArray<string>): Promise<{ stdout: string }> =>
  promisify(execFile)(process.execPath, [bench, ...args])

/** Rows of a part, by name: their figures. */
const figuresOf = (part: string): ReadonlyArray<readonly [string, ReadonlyArray<number>]> =>
  part
    .split("\n")
    .filter((row) => row.startsWith("  ") && row.slice(0, 30).trim() !== "" && !row.includes("reached here"))
    .map((row) => [
      row.slice(0, 30).trim(),
      row
        .slice(30)
        .replaceAll(/(\d) (?=\d{3})/g, "$1")
        .trim()
        .split(/ +/)
        .map(Number)
    ])

describe("The bench of several replicas", () => {
  // It ends with 1 when a table does not hold what the engines' caches do.
  it("prints what events cost with NATS and without, how soon they are known, and what bookings cost", async () => {
    const { stdout } = await run("--tiny")
    const [flood, latency, link, where] = stdout.trimEnd().split("\n\n")
    const processes = ["alone", "owner", "follower", "nats-server"]
    expect(flood).toMatch(/^KV events/)
    expect(flood).not.toContain("mean nothing")
    expect(figuresOf(flood!).map(([name]) => name)).toEqual([...processes, ...processes])
    expect(flood!.match(/reached here: alone [\d .]+ batches\/s, [\d .]+ M blocks\/s; at the follower/g)).toHaveLength(
      2
    )
    expect(figuresOf(latency!).map(([name]) => name)).toEqual([
      "alone, 200 batches/s",
      "owner, 200 batches/s",
      "follower, 200 batches/s",
      "alone, 2 000 batches/s",
      "owner, 2 000 batches/s",
      "follower, 2 000 batches/s"
    ])
    expect(figuresOf(link!).map(([name]) => name)).toEqual([
      "16 blocks, flood",
      "16 blocks, 200 requests/s",
      "1 250 blocks, flood",
      "1 250 blocks, 200 requests/s"
    ])
    for (const [name, figures] of [flood, latency, link].flatMap((part) => figuresOf(part!))) {
      // The server's time is told in hundredths of a second, and by Linux only.
      if (name === "nats-server") continue
      for (const figure of figures) expect(figure, name).toBeGreaterThanOrEqual(0)
    }
    for (const [name, [p50, p99]] of figuresOf(latency!)) {
      expect(p50, name).toBeGreaterThan(0)
      expect(p99, name).toBeGreaterThanOrEqual(p50!)
    }
    expect(where).toMatch(/^Machine: .+ Commit: .+\.\nCommand: `node loadtest\/Cluster\.bench\.ts --tiny`$/)
  })

  it("says with --help what it does", async () => {
    expect((await run("--help")).stdout).toMatch(/^Usage: node loadtest\/Cluster\.bench\.ts/)
  })
})
