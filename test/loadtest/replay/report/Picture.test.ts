import { describe, expect, it } from "vitest"
import * as Chart from "../../../../loadtest/replay/report/Chart.ts"
import * as Labels from "../../../../loadtest/replay/report/Labels.ts"
import * as Picture from "../../../../loadtest/replay/report/Picture.ts"
import * as Summary from "../../../../loadtest/replay/report/Summary.ts"
import { document, type Made } from "../../../support/ReplayResults.ts"

const few: ReadonlyArray<Made> = [
  { strategy: "ours", kind: "ours", medianMs: 400, hitRate: 0.4 },
  { strategy: "a<b & c", kind: "rival", medianMs: 500, hitRate: 0.4 },
  { strategy: "pooled", kind: "bound", medianMs: 300, hitRate: 0.5 }
]
const many = [
  ...few,
  ...Array.from({ length: 20 }, (_, i): Made => {
    return { strategy: `rival ${i}`, kind: "rival", medianMs: 600 + 100 * i, hitRate: 0.3 }
  })
]

/** Elements that are never closed. */
const bare = new Set(["!doctype", "meta"])

/** Elements left open or closed in the wrong place: none in well-formed markup. */
const misplaced = (markup: string): ReadonlyArray<string> => {
  const open: Array<string> = []
  const wrong: Array<string> = []
  for (const [, closing, name, ends] of markup.matchAll(/<(\/?)([!a-z0-9]+)(?:\s+[-\w]+(?:="[^"<]*")?)*\s*(\/?)>/g)) {
    if (bare.has(name!) || ends === "/") continue
    if (closing === "") open.push(name!)
    else if (open.pop() !== name) wrong.push(name!)
  }
  return [...wrong, ...open]
}

const idsOf = (markup: string) => [...markup.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id)

describe("a replay's picture", () => {
  const page = Picture.html(document(many, [1, 2]))

  it("is well-formed, whatever strategies are called", () => {
    for (const markup of [page, Picture.svg(document(few))]) {
      expect(misplaced(markup)).toEqual([])
      // Every angle bracket is part of an element.
      expect(markup.replaceAll(/<\/?[!a-z0-9]+(?:\s+[-\w]+(?:="[^"<]*")?)*\s*\/?>/g, "")).not.toContain("<")
      expect(markup).toContain("a&lt;b &amp; c")
    }
  })

  it("shows what there is where workers are not known, or no request was answered", () => {
    const ours: Made = { strategy: "ours", kind: "ours", medianMs: 400, hitRate: 0.4 }
    const unknown = { ...document([ours], [1], 0), how: "live" as const }
    const failed = document([ours], [1], 4, 0)
    for (const each of [unknown, failed]) {
      const markup = Picture.html(each) + Picture.svg(each)
      expect(misplaced(Picture.html(each))).toEqual([])
      expect(markup).not.toMatch(/NaN|Infinity|undefined/)
    }
    expect(Picture.html(unknown)).not.toContain("Load per worker")
  })

  it("needs nothing but itself", () => {
    expect(page.replaceAll('xmlns="http://www.w3.org/2000/svg"', "")).not.toMatch(
      /https?:|<script|<link|<img|@import|url\(/
    )
  })

  it("has no figure that is not a number", () => {
    for (const made of [document(many), document(few.slice(0, 1)), document(few, [1], 1, 3)]) {
      expect(Picture.html(made)).not.toMatch(/NaN|Infinity|undefined|null/)
    }
  })

  it("shows figures of every strategy as a table, too", () => {
    expect(page.match(/<th scope="row">/g)).toHaveLength(many.length)
  })

  it("says in words what each chart shows", () => {
    const ids = idsOf(page)
    expect(new Set(ids).size).toBe(ids.length)
    const labelled = [...page.matchAll(/aria-labelledby="([^"]+)"/g)].flatMap(([, both]) => both!.split(" "))
    expect(labelled.length).toBeGreaterThan(8)
    for (const id of labelled) expect(ids).toContain(id)
  })

  it("follows the reader's choice of light or dark", () => {
    expect(page).toContain("@media (prefers-color-scheme: dark)")
    expect(Picture.svg(document(few))).toContain("@media (prefers-color-scheme: dark)")
  })

  it("draws a curve for each strategy, and gives no two of those with a colour the same one", () => {
    const rows = Summary.rows(document(many))
    const lines = Chart.lines(rows)
    expect(lines.map(({ row }) => row.name).sort()).toEqual(many.map(({ strategy }) => strategy).sort())
    const styles = lines.map(({ style }) => style).filter((style) => style !== "rest")
    expect(new Set(styles).size).toBe(styles.length)
    expect(lines.at(-1)?.row.kind).toBe("ours")
  })

  it("shows the workers of ours beside those of the best rival", () => {
    expect(Chart.pair(Summary.rows(document(many))).map(({ name }) => name)).toEqual(["ours", "a<b & c"])
  })

  it("can be drawn of one strategy alone", () => {
    expect(misplaced(Picture.html(document(few.slice(0, 1))))).toEqual([])
  })
})

describe("names beside curves", () => {
  const flat = (name: string, y: number): Labels.Curve => ({
    name,
    style: name,
    points: Array.from({ length: 50 }, (_, i) => [60 + i * 8, y] as const)
  })

  it("are left out where there is no room, rather than put over another curve", () => {
    const [tight, loose] = [
      [100, 108, 116],
      [60, 140, 220]
    ].map((ys) => ys.map((y, i) => flat(`curve${i}`, y)))
    expect(Labels.beside(loose!, loose!, Labels.near).match(/<text/g)).toHaveLength(3)
    const texts = Labels.beside(tight!, tight!, Labels.near)
    // The one in the middle has a neighbour on either side.
    expect(texts).not.toContain("curve1")
  })
})
