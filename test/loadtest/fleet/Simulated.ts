/** Engines of a test, closed after it, and what its tests say to them. */
import { afterEach, expect, vi } from "vitest"
import type { FaultSpec } from "../../../loadtest/fleet/Faults.ts"
import type { Json } from "../../../loadtest/fleet/Model.ts"
import type { SimEngine } from "../../../loadtest/fleet/SimEngine.ts"
import * as SimFleet from "../../../loadtest/fleet/SimFleet.ts"
import type { SimOptions } from "../../../loadtest/fleet/SimOptions.ts"
import { type Batch, EventFollower, type Followed, replay } from "../../support/EventFollower.ts"
import { qwen3 } from "../../support/SimModel.ts"

const open: Array<() => unknown> = []

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

export const start = async (options: Partial<SimOptions> = {}): Promise<SimEngine> => {
  const fleet = await SimFleet.start({ tokenizer: qwen3, speed: 50, blocks: 64, outputTokens: 10, ...options })
  open.push(fleet.close)
  return fleet.engines[0]!
}

export const post = (engine: SimEngine, path: string, body: object, headers: Record<string, string> = {}) =>
  fetch(`${engine.url}${path}`, { method: "POST", body: JSON.stringify(body), headers })

export const json = async (response: Promise<Response>): Promise<Json> => (await (await response).json()) as Json

/** How many tokens of a completion's prompt were cached, by its usage; -1 where it should say and does not. */
export const complete = async (
  engine: SimEngine,
  prompt: ReadonlyArray<number> | string,
  extra: object = {},
  headers: Record<string, string> = {}
): Promise<number> => {
  const response = await post(engine, "/v1/completions", { prompt, max_tokens: 3, ...extra }, headers)
  const { usage } = (await response.json()) as { usage: { prompt_tokens_details: { cached_tokens: number } | null } }
  expect(response.status).toBe(200)
  // SGLang says nothing where nothing was.
  return usage.prompt_tokens_details?.cached_tokens ?? (engine.options.dialect === "sglang" ? 0 : -1)
}

/** `count` tokens that no other call makes. */
let fresh = 0
export const another = (count: number): ReadonlyArray<number> => {
  fresh++
  return Array.from({ length: count }, (_, i) => 1000 + ((fresh * 31 + i * 7) % 90_000))
}

export const faults = async (engine: SimEngine, spec: FaultSpec): Promise<void> => {
  expect((await post(engine, "/sim/faults", spec)).status).toBe(200)
}

/** Every batch of a rank's life. */
export const history = async (engine: SimEngine, rank = 0): Promise<ReadonlyArray<Batch>> =>
  (await replay(engine.eventSources[rank]!.replayEndpoint!, 0)).batches

/** The batches with only some of their events. */
export const only = (batches: ReadonlyArray<Batch>, which: (event: Followed) => boolean): ReadonlyArray<Batch> =>
  batches.map((batch) => ({ ...batch, events: batch.events.filter(which) }))

/** A follower whose subscription has taken effect: subscribers miss what was published before. */
export const follow = async (engine: SimEngine): Promise<EventFollower> => {
  const follower = new EventFollower(engine.eventEndpoint, engine.options.topic)
  open.push(() => follower.close())
  await vi.waitFor(
    async () => {
      await complete(engine, another(engine.options.blockSize + 1), { max_tokens: 1 })
      expect(follower.batches.length).toBeGreaterThan(0)
    },
    { timeout: 10_000, interval: 20 }
  )
  await caughtUp(engine, follower)
  return follower
}

export const caughtUp = (engine: SimEngine, follower: EventFollower): Promise<void> =>
  vi.waitFor(() => expect(follower.batches.at(-1)!.seq).toBe(engine.state().seq - 1), { timeout: 10_000 })

export const idle = (engine: SimEngine): Promise<void> =>
  vi.waitFor(() => expect(engine.state()).toMatchObject({ running: 0, waiting: 0 }), { timeout: 10_000 })
