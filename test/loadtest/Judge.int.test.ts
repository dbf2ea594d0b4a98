import { execFile } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, describe, expect, it } from "vitest"
import * as Goals from "../../loadtest/judge/Goals.ts"

const bench = fileURLToPath(new URL("../../loadtest/Judge.bench.ts", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "judge-"))
afterAll(() => rmSync(folder, { recursive: true }))

const run = (...args: ReadonlyArray<string>) =>
  new Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>((resolve) => {
    const child = execFile(
      process.execPath,
      [bench, ...args],
      { env: { ...process.env, NO_COLOR: "1" } },
      (_, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr })
    )
  })

describe("The judge", () => {
  it("shows every goal with a figure and a verdict, and writes the same down", { timeout: 300_000 }, async () => {
    const out = join(folder, "judge.md")
    const { code, stdout } = await run("--tiny", "--out", out)
    const rows = stdout.split("\n").filter((line) => /^│ R\d/.test(line))
    expect(rows).toHaveLength(Goals.goals.length)
    for (const [at, goal] of Goals.goals.entries()) {
      const [, id, what, , ours, verdict] = rows[at]!.split("│").map((cell) => cell.trim())
      expect([id, what]).toEqual([goal.id, goal.what])
      expect(ours).toMatch(/^(< )?\d+\.\d{3}$/)
      expect(["met", "missed"]).toContain(verdict)
    }
    // Tiny traffic decides nothing; the exit code says what the table says.
    expect(code).toBe(rows.some((row) => row.includes("missed")) ? 1 : 0)
    const written = readFileSync(out, "utf8")
    expect(written.split("\n").filter((line) => /^\| R\d/.test(line))).toHaveLength(Goals.goals.length)
    expect(written).toMatch(/commit \w+[\s\S]+Command: `npm run judge -- --tiny --out /)
  })

  it("judges only the goals it is asked for", { timeout: 120_000 }, async () => {
    const { code, stdout } = await run("--tiny", "--only", "r8,R9")
    expect([...stdout.matchAll(/^│ (R\d)/gm)].map(([, id]) => id)).toEqual(["R8", "R8", "R9", "R9", "R9", "R9", "R9"])
    expect(code).toBe(stdout.includes("missed") ? 1 : 0)
  })

  it("says where it looked for traces and how to get them", async () => {
    const { code, stderr } = await run("--traces", folder)
    expect(code).toBe(2)
    expect(stderr).toContain(`${folder} lacks mooncake_conversation_trace.jsonl.gz, toolagent_like_dev.jsonl.gz`)
    expect(stderr).toContain("loadtest/traces")
  })

  it("refuses what it does not know, with what there is", async () => {
    const [goal, seeds, flag] = await Promise.all([run("--only", "R11"), run("--seeds", "0"), run("--sedes", "3")])
    expect(goal).toMatchObject({ code: 2, stderr: expect.stringContaining('There is no goal "R11"; there are R1, R2') })
    expect(seeds).toMatchObject({ code: 2, stderr: expect.stringContaining('--seeds is "0"') })
    expect(flag).toMatchObject({ code: 2, stderr: expect.stringContaining("--sedes") })
  })
})
