/** A router that is told to end hands over what it reads before it has ended. */
import { afterEach, describe, expect, it, vi } from "vitest"
import * as Agree from "./cluster/Agree.ts"
import * as Cluster from "./cluster/Cluster.ts"

interface Shown {
  readonly members: ReadonlyArray<{ readonly id: string }>
  readonly publishers: ReadonlyArray<{ readonly name: string; readonly owner: string; readonly role: string }>
}

const shown = async ({ adminUrl }: Cluster.Replica) =>
  (await (await fetch(`${adminUrl}/admin/cluster`)).json()) as Shown
const roles = async (replica: Cluster.Replica) => (await shown(replica)).publishers.map(({ role }) => role)
const soon = (look: () => Promise<void>) => vi.waitFor(look, { timeout: 30_000, interval: 20 })

/** A long answer, its first bytes read; `rest` is done when it has ended, and answers all of it. */
const stream = async ({ url }: Cluster.Replica, content: string, maxTokens: number) => {
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model: Cluster.model,
      stream: true,
      max_tokens: maxTokens,
      messages: [{ role: "user", content }]
    })
  })
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
  let text = (await reader.read()).value ?? ""
  let ended = false
  const rest = async (): Promise<string> => {
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value
    ended = true
    return text
  }
  return { rest: rest(), ended: () => ended }
}

describe("a router that ends in order", () => {
  let cluster: Cluster.Cluster | null = null
  afterEach(() => cluster?.close())

  it("hands over every engine at once, while requests in flight on it go on to their ends", async () => {
    cluster = await Cluster.start({ engines: { engines: 4, speed: 1, outputTokens: 2_000 }, routers: 2 })
    const { engines, replicas } = cluster
    const [staying, leaving] = [replicas[0]!, replicas[1]!]
    // The first had all; the second takes its share some seconds after it is ready.
    await soon(async () => {
      expect(await roles(leaving)).toContain("owner")
      expect((await roles(leaving)).length).toBe(engines.length)
    })
    const answer = await stream(leaving, "Tell me a story.", 160)
    const beganMs = performance.now()
    leaving.killedMs = beganMs
    leaving.process.process.kill("SIGTERM")
    await soon(async () => expect(await roles(staying)).toEqual(engines.map(() => "owner")))
    console.log(`handed over in ${Math.round(performance.now() - beganMs)} ms`)
    expect(answer.ended()).toBe(false)
    // It is still there, and hears of the log what the other reads now.
    expect(new Set(await roles(leaving))).toEqual(new Set(["follower"]))
    expect((await answer.rest).endsWith("data: [DONE]\n\n")).toBe(true)
    expect(await leaving.process.ended).toBe(0)
    await soon(async () => expect((await shown(staying)).members.map(({ id }) => id)).toEqual([staying.id]))
    expect(staying.process.output()).toContain(`Replica "${leaving.id}" has left`)
    expect(staying.process.output()).not.toMatch(/taken for dead|degraded/)
    const other = await stream(staying, "And another one.", 8)
    expect(await other.rest).toContain("data: [DONE]")
    expect(await Agree.settle(cluster, 10_000)).toEqual([])
  })
})
