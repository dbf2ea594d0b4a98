import { describe, expect, it } from "vitest"
import { parse } from "../../../src/adapters/prometheus/PrometheusText.ts"

const one = (line: string) => {
  const { oddLines, samples } = parse(line)
  expect(oddLines).toBe(0)
  expect(samples.length).toBe(1)
  return { ...samples[0]!, labels: { ...samples[0]!.labels } }
}

describe("PrometheusText.parse", () => {
  it("reads a sample without labels, with a timestamp ignored", () => {
    expect(one("process_start_time_seconds 1.7e+09 1395066363000")).toEqual({
      name: "process_start_time_seconds",
      labels: {},
      value: 1.7e9
    })
  })

  it("undoes escapes in label values", () => {
    expect(one(String.raw`a{path="C:\\n",say="\"hi\"",line="x\ny"} 1`).labels).toEqual({
      path: String.raw`C:\n`,
      say: '"hi"',
      line: "x\ny"
    })
  })

  it("reads braces, commas and hashes inside label values", () => {
    expect(one('a{b="} 7, c=#{"} 2')).toEqual({ name: "a", labels: { b: "} 7, c=#{" }, value: 2 })
  })

  it("takes spaces around labels, an empty set, and a comma at the end", () => {
    expect(one("a{ }  3").value).toBe(3)
    expect(one('a{ b = "1" , c="2", } 4').labels).toEqual({ b: "1", c: "2" })
    expect(one('a{b="1"}5').value).toBe(5)
  })

  it("reads the special numbers", () => {
    expect(["+Inf", "-Inf", "NaN", "0.5", "-3", "1e-3", ".5", "5."].map((text) => one(`a ${text}`).value)).toEqual([
      Infinity,
      -Infinity,
      Number.NaN,
      0.5,
      -3,
      0.001,
      0.5,
      5
    ])
  })

  it("keeps a label named like a property of every object", () => {
    expect(one('a{__proto__="x",constructor="y"} 1').labels["constructor"]).toBe("y")
  })

  it("keeps only the names asked for, also behind spaces", () => {
    const text = 'a 1\nb{x="y"} 2\n  a 3\n  b 4\nab 5\n'
    expect(parse(text, (name) => name === "a").samples.map(({ value }) => value)).toEqual([1, 3])
  })

  it("skips comments and blank lines, and counts odd lines without losing the rest", () => {
    const { oddLines, samples } = parse('# HELP a b\n\n# TYPE a gauge\na 1\r\nb{x=} 2\nc 0x1f\nd{e="f" 3\n9z 1\ng\nh 2')
    expect(samples.map((sample) => [sample.name, sample.value])).toEqual([
      ["a", 1],
      ["h", 2]
    ])
    expect(oddLines).toBe(5)
  })
})
