import { describe, expect, it } from "vitest"
import { canonical, models, route, type Served } from "../../actors/FleetRoutes.ts"
import type { ServedModel } from "../../src/domain/Worker.ts"
import { facts, model } from "../support/FakeEngine.ts"

const served = (slot: number, list: ReadonlyArray<ServedModel>, more: Partial<Served> = {}): Served => ({
  slots: [slot],
  state: "ready",
  facts: facts({ models: list }),
  takes: true,
  lastResort: false,
  ...more
})
const none = new Map<string, string>()

describe("FleetRoutes", () => {
  it("marks the workers that serve a model, by slot, and no other", () => {
    const workers = [served(0, [model("x")]), served(2, [model("y")]), served(3, [model("y"), model("x")])]
    expect([...route(workers, none, 5, "y")!.eligible]).toEqual([0, 0, 1, 1, 0])
    expect(route(workers, none, 5, "y")!.eligibleCount).toBe(2)
  })

  it("knows no route for a model that nobody serves", () => {
    expect(route([served(0, [model("x")])], none, 1, "y")).toBeUndefined()
    expect(route([{ ...served(0, []), facts: null }], none, 1, "x")).toBeUndefined()
  })

  it("says in which states the workers are when none may take a request", () => {
    const down = { takes: false } as const
    const workers = [
      served(0, [model("x")], { ...down, state: "open" }),
      served(1, [model("x")], { ...down, state: "draining" }),
      served(2, [model("x")], { ...down, state: "open" })
    ]
    expect(route(workers, none, 3, "x")).toMatchObject({ eligibleCount: 0, workers: 3, states: "2 open, 1 draining" })
  })

  it("gives two names of one model on one worker one canonical name, by their root", () => {
    const list = [model("a", { root: "/m" }), model("b", { root: "/m" }), model("other", { root: "/o" })]
    expect(["a", "b", "other"].map((name) => route([served(0, list)], none, 1, name)!.model)).toEqual([
      "a",
      "a",
      "other"
    ])
    expect(canonical(facts({ models: list }))).toBe("a")
  })

  it("names an adapter and the base whose blocks it shares nothing with", () => {
    const list = [model("base", { root: "/m" }), model("poet", { parent: "base", root: "/poet" })]
    expect(route([served(0, list)], none, 1, "poet")).toMatchObject({ model: "base", lora: "poet", served: "poet" })
  })

  it("takes an alias for the served name, before a model of the same name", () => {
    const aliases = new Map([["gpt", "qwen"]])
    const workers = [served(0, [model("qwen")]), served(1, [model("gpt")])]
    const found = route(workers, aliases, 2, "gpt")!
    expect([found.model, found.served, [...found.eligible]]).toEqual(["qwen", "qwen", [1, 0]])
  })

  it("answers with the shortest context of those that tell one", () => {
    const workers = [
      served(0, [model("x", { maxModelLen: null })]),
      served(1, [model("x", { maxModelLen: 8_192 })]),
      served(2, [model("x", { maxModelLen: 4_096 })])
    ]
    expect(route(workers, none, 3, "x")!.maxModelLen).toBe(4_096)
    expect(models(workers, none)).toEqual([model("x", { maxModelLen: 4_096 })])
  })

  it("falls back to workers that err yet answer only when no other is left", () => {
    const last = served(0, [model("x")], { state: "open", takes: false, lastResort: true })
    expect([...route([last, served(1, [model("x")])], none, 2, "x")!.eligible]).toEqual([0, 1])
    expect([...route([last], none, 2, "x")!.eligible]).toEqual([1, 0])
  })

  it("lists each model once, then aliases of those there are, without workers on their way out", () => {
    const workers = [
      served(0, [model("x")]),
      served(1, [model("x"), model("y")]),
      served(2, [model("z")], { state: "draining", takes: false })
    ]
    const aliases = new Map([
      ["short", "y"],
      ["lost", "nowhere"],
      ["x", "y"]
    ])
    expect(models(workers, aliases).map(({ id }) => id)).toEqual(["x", "y", "short"])
  })
})
