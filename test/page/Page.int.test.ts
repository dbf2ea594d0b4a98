import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import axe from "axe-core"
import type { Browser, Page } from "playwright-core"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import * as SimFleet from "../../loadtest/fleet/SimFleet.ts"
import * as Chromium from "../../loadtest/servers/Chromium.ts"
import type { Receipt } from "../../src/domain/Receipt.ts"
import * as LiveRig from "../support/LiveRig.ts"
import * as TestRouter from "../support/TestRouter.ts"
import * as Built from "./Built.ts"

const bin = fileURLToPath(new URL("../../src/bin.ts", import.meta.url))

interface Opened {
  readonly page: Page
  /** What it said that is no good, and hosts beside its own that it asked. */
  readonly wrong: Array<string>
}

let browser: Browser
let fleet: SimFleet.SimFleet
let router: TestRouter.TestRouter
let opened: Array<Opened> = []

const open = async (
  url: string,
  { hash = "", height = 1_000, scheme = "light" as "light" | "dark", width = 1_440 } = {}
): Promise<Opened> => {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme: scheme })
  const wrong: Array<string> = []
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") wrong.push(message.text())
  })
  page.on("pageerror", (error) => wrong.push(String(error)))
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== url) wrong.push(`asked ${request.url()}`)
  })
  const one = { page, wrong }
  opened.push(one)
  await page.goto(`${url}/${hash}`)
  return one
}

const shared = "You answer questions about the trains of a small country. ".repeat(40)
const ask = async (id: string, question = id): Promise<void> => {
  const answer = await fetch(`${router.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-request-id": id },
    body: JSON.stringify({
      model: "m",
      messages: [
        { role: "system", content: shared },
        { role: "user", content: question }
      ],
      stream: true,
      max_tokens: 4
    })
  })
  await answer.text()
}

/** What a person with a screen reader, or without a mouse, would trip over. */
const barriers = async (page: Page): Promise<ReadonlyArray<string>> => {
  // The page allows no script of others': this one comes by the debugger, not by the page.
  await page.evaluate(axe.source)
  return page.evaluate(async () => {
    const { violations } = await (globalThis as unknown as { axe: typeof axe }).axe.run()
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .flatMap(({ id, nodes }) => nodes.map(({ html, target }) => `${id}: ${target} ${html.slice(0, 120)}`))
  })
}

const focused = (page: Page): Promise<unknown> => page.evaluate("document.activeElement.textContent")
const level = (page: Page): Promise<unknown> => page.evaluate("document.activeElement.ariaLevel")

beforeAll(async () => {
  browser = await Chromium.launch()
  fleet = await SimFleet.start({ engines: 4, models: ["m"], speed: 8 })
  router = await TestRouter.start({ workers: fleet.urls.join(",") })
  await Built.at(router.adminUrl)
  for (let i = 0; i < 6; i++) await ask(`first-${i}`)
}, 600_000)

afterEach(async () => {
  for (const { page } of opened) await page.close()
  opened = []
})

afterAll(async () => {
  await browser?.close()
  await router?.close()
  await fleet?.close()
})

describe("the page of a router", () => {
  it("shows its workers and their requests, from its own host alone and without a complaint", async () => {
    const { page, wrong } = await open(router.adminUrl)
    await page.locator("tr[data-index]").nth(3).waitFor()
    for (const url of fleet.urls) await page.getByRole("link", { name: TestRouter.idOf(url), exact: true }).waitFor()
    await page.locator(".requests").getByRole("link", { name: "first-0", exact: true }).waitFor()
    expect(await page.locator("tr[data-index]").count()).toBe(4)
    expect(wrong).toEqual([])
  })

  it("follows what happens without being loaded again", async () => {
    const { page } = await open(router.adminUrl)
    await page.locator(".requests").getByRole("link", { name: "first-5", exact: true }).waitFor()
    await ask("while-open")
    await page.locator(".requests").getByRole("link", { name: "while-open", exact: true }).waitFor()
    expect(await page.evaluate("performance.getEntriesByType('navigation')[0].type")).toBe("navigate")
  })

  it("holds still while it is paused, and then shows what came meanwhile", async () => {
    const { page } = await open(router.adminUrl)
    await page.locator(".requests").getByRole("link", { name: "first-5", exact: true }).waitFor()
    await page.getByRole("button", { name: "Pause" }).click()
    await ask("meanwhile")
    await page.getByText("1 new").waitFor()
    expect(await page.getByRole("link", { name: "meanwhile", exact: true }).count()).toBe(0)
    await page.getByRole("button", { name: "Go on" }).click()
    await page.getByRole("link", { name: "meanwhile", exact: true }).waitFor()
  })

  it("says why a request went where it went by one click, in the words of its receipt, at an address to share", async () => {
    const { page, wrong } = await open(router.adminUrl)
    await page.locator(".requests").getByRole("link", { name: "first-5", exact: true }).click()
    const why = page.getByRole("complementary")
    const receipt = (await (await fetch(`${router.adminUrl}/admin/receipts/first-5`)).json()) as Receipt
    const { candidates, worker } = receipt.tries[0]!
    await why.getByRole("heading", { name: `Why ${worker}?` }).waitFor()
    expect(candidates.length).toBe(4)
    const told = await why.locator(".costs li").allInnerTexts()
    for (const [i, candidate] of candidates.entries()) {
      expect(told[i]).toContain(candidate.worker)
      expect(told[i]).toContain(candidate.lost === null ? "chosen" : `lost: ${candidate.lost}`)
    }
    const again = await open(router.adminUrl, { hash: new URL(page.url()).hash })
    await again.page.getByRole("heading", { name: `Why ${worker}?` }).waitFor()
    expect([...wrong, ...again.wrong]).toEqual([])
  })

  it("answers why this worker as the command line and the admin API do", async () => {
    const receipt = (await (await fetch(`${router.adminUrl}/admin/receipts/first-4`)).json()) as Receipt
    const { candidates, worker } = receipt.tries[0]!
    const { stdout } = await promisify(execFile)(process.execPath, [
      bin,
      "explain",
      "first-4",
      "--admin",
      router.adminUrl
    ])
    // That of costs has nine columns, the one of what each holds has more.
    const rows = stdout.split("\n").flatMap((row) => (row.split("│").length === 11 ? [row.split("│")] : []))
    const { page } = await open(router.adminUrl, { hash: "#/receipts/first-4" })
    await page.getByRole("heading", { name: `Why ${worker}?` }).waitFor()
    const cards = await page.locator(".costs li").allInnerTexts()
    expect(stdout).toContain(`To ${worker}: answered 200`)
    expect(candidates.filter(({ lost }) => lost === null).map((each) => each.worker)).toEqual([worker])
    for (const [i, { lost, worker }] of candidates.entries()) {
      const cells = rows[i + 1]!.map((cell) => cell.trim())
      expect([cells[1], cells[2], cells.at(-2)]).toEqual([lost === null ? "▶" : "", worker, lost ?? "chosen"])
      const [name, verdict] = [cards[i]!.split("\n")[0], cards[i]!.trim().split("\n").at(-1)]
      expect([name, verdict]).toEqual([worker, lost === null ? "✓ chosen" : `lost: ${lost}`])
    }
    expect([rows.length - 1, cards.length]).toEqual([candidates.length, candidates.length])
  })

  it("tells of a request that was held back how long, and does not call it work of the router", async () => {
    const { page } = await open(router.adminUrl)
    const path = "/admin/receipts/first-3"
    const receipt = (await (await fetch(`${router.adminUrl}${path}`)).json()) as Receipt
    const phases = { ...receipt.phases, receive: 0, hash: 0, match: 1, place: 301, book: 0, forward: 98, settle: 0 }
    await page.route(`**${path}`, (route) =>
      route.fulfill({ json: { ...receipt, phases, waitedMs: 300, totalMs: 400 } })
    )
    await page.getByRole("searchbox", { name: "Request id" }).fill("first-3")
    await page.keyboard.press("Enter")
    await page
      .getByText("The router took 2\u202fms of 400\u202fms, and held it for 300\u202fms until its turn came")
      .waitFor()
    await page.getByText("which worker, 300\u202fms of it waiting").waitFor()
  })

  it("finds a request by its id, and says what to do where it is not here", async () => {
    const { page } = await open(router.adminUrl)
    await page.getByRole("searchbox", { name: "Request id" }).fill("first-2")
    await page.keyboard.press("Enter")
    await page.getByRole("heading", { name: /^Why 127/ }).waitFor()
    await page.getByRole("searchbox", { name: "Request id" }).fill("nobody's")
    await page.getByRole("button", { name: "Why?" }).click()
    await page.getByText("There is no receipt").waitFor()
  })

  it("tells of a worker what the router knows of it", async () => {
    const { page } = await open(router.adminUrl)
    const id = TestRouter.idOf(fleet.urls[1]!)
    await page.getByRole("link", { name: id, exact: true }).first().click()
    const panel = page.getByRole("complementary")
    await panel.getByRole("heading", { name: id }).waitFor()
    await panel.getByText("Its cache, as the router sees it").waitFor()
    expect(await panel.innerText()).toContain(fleet.urls[1])
  })

  it("shows the prefix that requests share, with who holds it, as a tree that arrows go through", async () => {
    // They go on together for a second stretch, in two ways.
    for (let i = 0; i < 4; i++) await ask(`tree-${i}`, `${"Of the north, then. ".repeat(20)} ${i}`)
    const { page } = await open(router.adminUrl)
    const items = page.getByRole("treeitem")
    // Asked for every few seconds.
    await page.locator('[role="treeitem"][aria-expanded]').first().waitFor()
    expect(await items.first().innerText()).toMatch(/tokens, shared by \d+ of \d+ requests/)
    expect(await items.first().innerText()).toContain("127.0.0.1:")
    await items.first().focus()
    // Shut and opened again: the same number.
    await page.keyboard.press("Home")
    const isOpen = (await items.first().getAttribute("aria-expanded")) === "true"
    if (isOpen) await page.keyboard.press("ArrowLeft")
    expect(await items.first().getAttribute("aria-expanded")).toBe("false")
    const shut = await items.count()
    await page.keyboard.press("ArrowRight")
    await expect.poll(() => items.count()).toBeGreaterThan(shut)
    await page.keyboard.press("ArrowRight")
    await expect.poll(() => level(page)).toBe("2")
    await page.keyboard.press("ArrowLeft")
    await expect.poll(() => level(page)).toBe("1")
  })

  it("can be used by the keyboard alone: along the workers, into one, and back to where one was", async () => {
    const { page } = await open(router.adminUrl)
    await page.locator("tr[data-index]").nth(3).waitFor()
    await page.locator("tr[data-index] a").first().focus()
    await page.keyboard.press("ArrowDown")
    const second = await page.locator("tr[data-index] a").nth(1).innerText()
    await expect.poll(() => focused(page)).toBe(second)
    await page.keyboard.press("Enter")
    await page.getByRole("complementary").getByRole("heading", { name: second }).waitFor()
    await page.keyboard.press("Escape")
    await expect.poll(() => page.getByRole("complementary").count()).toBe(0)
    await expect.poll(() => focused(page)).toBe(second)
  })

  it.each(["light", "dark"] as const)("has no barrier that is serious, in %s, wide and narrow", async (scheme) => {
    for (const width of [1_440, 390]) {
      const { page, wrong } = await open(router.adminUrl, { scheme, width })
      await page.locator("tr[data-index]").nth(3).waitFor()
      await page.getByRole("treeitem").first().waitFor()
      expect(await barriers(page)).toEqual([])
      await page.evaluate("location.hash = '#/receipts/first-5'")
      await page.locator(".costs li").nth(3).waitFor()
      expect(await barriers(page)).toEqual([])
      // Nothing sticks out to the side.
      expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(width)
      expect(wrong).toEqual([])
    }
  })
})

describe("the page of a fleet", () => {
  it("of 64 workers is there with its first rows within seconds", async () => {
    const rig = await LiveRig.start(Array.from({ length: 64 }, (_, i) => LiveRig.worker(i + 1)))
    await Built.at(rig.url)
    const { page, wrong } = await open(rig.url)
    await page.locator("tr[data-index]").first().waitFor()
    const [loadMs, rowsMs] = await page.evaluate<[number, number]>(
      "[performance.getEntriesByType('navigation')[0].loadEventEnd, performance.now()]"
    )
    console.info(`64 workers: load event after ${loadMs.toFixed(0)} ms, rows seen after ${rowsMs.toFixed(0)} ms`)
    // As loaded as a machine for tests may be; measured by loadtest/Page.bench.ts.
    expect(loadMs).toBeLessThan(20_000)
    expect(wrong).toEqual([])
    await rig.close()
  })

  it("of 1 000 workers makes no more rows than are in sight, and finds any of them", async () => {
    const all = Array.from({ length: 1_000 }, (_, i) => LiveRig.worker(i + 1))
    const rig = await LiveRig.start(all)
    await Built.at(rig.url)
    const { page } = await open(rig.url)
    await page.locator("tr[data-index]").first().waitFor()
    expect(await page.locator("tr[data-index]").count()).toBeLessThan(50)
    expect(await page.evaluate("document.querySelectorAll('*').length")).toBeLessThan(1_500)
    await page.locator("tr[data-index] a").first().focus()
    await page.keyboard.press("End")
    await expect.poll(() => focused(page)).toBe("gpu-1000")
    expect(await page.locator("tr[data-index]").count()).toBeLessThan(50)
    await page.getByRole("searchbox", { name: "Find workers" }).fill("gpu-77")
    await page.getByRole("link", { name: "gpu-777", exact: true }).waitFor()
    expect(await page.locator("tr[data-index]").count()).toBe(11)
    // One of them stops taking work.
    rig.workers = all.map((each) => (each.id === "gpu-777" ? { ...each, state: "open", why: "it refuses" } : each))
    await page.locator("tr", { hasText: "gpu-777" }).getByText("open").waitFor()
    expect(await page.getByRole("img", { name: /^1\D000 workers/ }).getAttribute("aria-label")).toContain("1 open")
    await rig.close()
  })

  it("says of a request that nobody took why, and of one that went elsewhere each try", async () => {
    const rig = await LiveRig.start([LiveRig.worker(1)])
    await Built.at(rig.url)
    const receipt = (await (await fetch(`${router.adminUrl}/admin/receipts/first-5`)).json()) as Receipt
    const [step] = receipt.tries
    const failed = { ...step!, worker: "gpu-7", end: "failed before its first byte: refused", firstByteMs: null }
    rig.receipts.set("twice", { ...receipt, id: "twice", tries: [failed, { ...step!, worker: "gpu-8" }] })
    const none = { receive: 0.1, hash: 0.1, match: null, place: null, book: null, forward: null, settle: null }
    const untaken = { ...receipt, tries: [], phases: none, regret: null, ttftMs: null, outputTokens: null }
    rig.receipts.set("untaken", { ...untaken, id: "untaken", outcome: "missing", status: 503, missing: "2 open" })
    const { page, wrong } = await open(rig.url, { hash: "#/receipts/untaken" })
    await page.getByRole("heading", { name: "No worker took it" }).waitFor()
    await page.getByText("No worker could take it: 2 open.").waitFor()
    await page.evaluate("location.hash = '#/receipts/twice'")
    await page.getByRole("heading", { name: "Why gpu-8?" }).waitFor()
    await page.getByRole("heading", { name: /Try 1: gpu-7 .* failed before its first byte: refused/ }).waitFor()
    await page.getByRole("heading", { name: /Try 2: gpu-8/ }).waitFor()
    expect(await barriers(page)).toEqual([])
    expect(wrong).toEqual([])
    await rig.close()
  })

  it("without a worker says how to list one", async () => {
    const rig = await LiveRig.start([])
    await Built.at(rig.url)
    const { page } = await open(rig.url)
    await page.getByText("No worker is listed.").waitFor()
    await page.getByText("No request yet.").waitFor()
    await page.getByText("No two recent requests began alike.").waitFor()
    expect(await barriers(page)).toEqual([])
    await rig.close()
  })

  it("says when the router is away, and goes on by itself when it is back", async () => {
    const first = await LiveRig.start([LiveRig.worker(1)])
    await Built.at(first.url)
    const { page } = await open(first.url)
    await page.getByRole("link", { name: "gpu-1", exact: true }).waitFor()
    await first.close()
    await page.getByRole("alert").getByText("The router does not answer.").waitFor()
    const second = await LiveRig.start([LiveRig.worker(1), LiveRig.worker(2)], first.port)
    await page.getByRole("link", { name: "gpu-2", exact: true }).waitFor()
    await expect.poll(() => page.getByRole("alert").count()).toBe(0)
    await second.close()
  })
})
