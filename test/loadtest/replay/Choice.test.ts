import { describe, expect, it } from "vitest"
import * as Choice from "../../../loadtest/replay/Choice.ts"
import { strategies } from "../../../loadtest/replay/Strategies.ts"

describe("policies of a replay", () => {
  it("are ours, rivals and a bound, unless named", () => {
    const kinds = Choice.of([]).map(({ kind }) => kind)
    expect(kinds[0]).toBe("ours")
    expect(kinds.at(-1)).toBe("bound")
    expect(kinds.filter((kind) => kind === "rival").length).toBeGreaterThan(2)
  })

  it("come in the order they are named in, once each", () => {
    const names = (of: ReadonlyArray<string>) => Choice.of(of).map(({ name }) => name)
    expect(names(["round-robin", "warmpath", "round-robin"])).toEqual(["round-robin", "warmpath"])
    expect(names(["all"])).toEqual(strategies.map(({ name }) => name))
    expect(names(["greedy-ttft", "all"])).toHaveLength(strategies.length)
  })

  it("have names of their own, and each says what it does", () => {
    expect(new Set(strategies.map(({ name }) => name)).size).toBe(strategies.length)
    const lines = Choice.list().split("\n")
    strategies.forEach(({ about, name }, i) => {
      expect(lines[i]?.startsWith(`${name} `)).toBe(true)
      expect(lines[i]?.endsWith(` ${about}`)).toBe(true)
    })
  })

  it("that are not known are named, and those that are", () => {
    expect(() => Choice.of(["warmpaths"])).toThrow(/no policy "warmpaths".*round-robin.*pooled-cache/)
  })
})
