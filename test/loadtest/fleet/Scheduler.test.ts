import { describe, expect, it } from "vitest"
import { Scheduler, type SchedulerOptions } from "../../../loadtest/fleet/Scheduler.ts"
import type { Job, Task } from "../../../loadtest/fleet/Task.ts"
import * as TimeModel from "../../../loadtest/fleet/TimeModel.ts"
import * as Random from "../../../loadtest/Random.ts"

interface NamedJob extends Job<string> {
  readonly name: string
}

/** Keys that lie below the device. */
type Below = ReadonlySet<string>

/** Ten milliseconds a step and one a prompt token, nothing else. */
const rates: TimeModel.Rates = { floorMs: 10, overheadMs: 0, tokenUs: 1000, attentionNs: 0, kvReadNs: 0 }
const options: SchedulerOptions = { blocks: 64, blockSize: 4, rates, stepTokens: 32, maxRunning: 8 }

const job = (name: string, promptTokens: number, outputTokens: number, family = name): NamedJob => ({
  name,
  promptTokens,
  outputTokens,
  // Blocks of the prompt belong to the family, those the answer reaches into to the request alone.
  key: (index) => ((index + 1) * 4 <= promptTokens ? `${family}:${index}` : `${name}!${index}`)
})

const harness = (changes: Partial<SchedulerOptions> = {}, below: Below = new Set()) => {
  const tokens: Array<string> = []
  const events: Array<string> = []
  /** A naive follower of the events: copies by key. */
  const followed = new Map<string, number>()
  const scheduler = new Scheduler<string, NamedJob>(
    { ...options, ...changes },
    {
      stored: (task, from, to) => {
        for (const key of task.keys.slice(from, to)) {
          events.push(`+${key}`)
          followed.set(key, (followed.get(key) ?? 0) + 1)
        }
      },
      removed: (key) => {
        events.push(`-${key}`)
        const left = followed.get(key)! - 1
        if (left === 0) followed.delete(key)
        else followed.set(key, left)
      },
      loadable: (key) => below.has(key),
      token: (task, now) => tokens.push(`${task.job.name}${task.generated}@${now}`)
    }
  )
  return { scheduler, tokens, events, followed }
}

describe("TimeModel", () => {
  it("gives the throughput of the profile it stands for", () => {
    const prefill = (tokens: number) =>
      TimeModel.stepMs(TimeModel.llama70, {
        prefillTokens: tokens,
        prefillContext: TimeModel.attended(0, tokens),
        decodes: 0,
        decodeContext: 0
      })
    expect(8192 / prefill(8192)).toBeGreaterThan(12.5)
    expect(8192 / prefill(8192)).toBeLessThan(15.5)
    // Thirty decodes of 10 000 tokens each: 28 ms a step.
    const decode = { prefillTokens: 0, prefillContext: 0, decodes: 30, decodeContext: 300_000 }
    expect(TimeModel.stepMs(TimeModel.llama70, decode)).toBeCloseTo(27.9, 1)
    expect(TimeModel.stepMs(TimeModel.scaled(TimeModel.llama70, 10), decode)).toBeCloseTo(2.79, 2)
  })

  it("counts each token's context once", () => {
    expect(TimeModel.attended(0, 3)).toBe(1 + 2 + 3)
    expect(TimeModel.attended(10, 2)).toBe(11 + 12)
  })
})

describe("Scheduler", () => {
  it("computes a prompt in chunks of the token budget and then a token a step", () => {
    const { scheduler, tokens } = harness()
    scheduler.add(job("a", 40, 3), 0)
    scheduler.advance(0)
    expect(scheduler.nextAt).toBe(32)
    scheduler.advance(1000)
    // 32 tokens, then 8 (the floor counts), then two decodes.
    expect(tokens).toEqual(["a1@42", "a2@52", "a3@62"])
    expect([scheduler.running, scheduler.nextAt, scheduler.cache.free]).toEqual([0, Number.POSITIVE_INFINITY, 64])
  })

  it("serves first come, first served, decodes before prefill in each step", () => {
    const { scheduler, tokens } = harness({ stepTokens: 16 })
    scheduler.add(job("a", 16, 3), 0)
    scheduler.add(job("b", 16, 1), 0)
    scheduler.advance(1000)
    // Step 2: one decode of a and 15 tokens of b. Step 3: the last token of b beside a's decode.
    expect(tokens).toEqual(["a1@16", "a2@32", "a3@42", "b1@42"])
  })

  it("prefills only what is not cached, but always one block of a fully cached prompt, which makes a second copy", () => {
    const { scheduler, events } = harness()
    scheduler.add(job("a", 8, 1), 0)
    scheduler.advance(100)
    const again = scheduler.add(job("b", 8, 1, "a"), 100)
    scheduler.advance(200)
    expect(again.cachedTokens).toBe(4)
    expect(events).toEqual(["+a:0", "+a:1", "+a:1"])
    expect(scheduler.cache.copies("a:1")).toBe(2)
    const longer = scheduler.add(job("c", 9, 1, "a"), 200)
    scheduler.advance(300)
    expect(longer.cachedTokens).toBe(8)
  })

  it("makes blocks hittable chunk by chunk, while their request still runs", () => {
    const { scheduler } = harness()
    scheduler.add(job("a", 60, 50), 0)
    scheduler.advance(0)
    const late = scheduler.add(job("b", 60, 1, "a"), 5)
    scheduler.advance(32)
    // The second step holds the rest of a and had room for b: all but the last block of a's prompt were there.
    expect(late.cachedTokens).toBe(56)
  })

  it("fills blocks with generated tokens, but never with the last one, whose KV nobody computes", () => {
    const { scheduler, events } = harness()
    scheduler.add(job("a", 6, 3), 0)
    scheduler.advance(1000)
    expect(events).toEqual(["+a:0", "+a!1"])
    const other = harness()
    other.scheduler.add(job("a", 6, 2), 0)
    other.scheduler.advance(1000)
    expect(other.events).toEqual(["+a:0"])
  })

  it("holds a request back until its blocks can be had to its end, and everyone behind it", () => {
    const { scheduler, tokens } = harness({ blocks: 8 })
    scheduler.add(job("a", 16, 9), 0) // 6 blocks
    scheduler.add(job("b", 12, 1), 0) // 3 blocks: must wait
    scheduler.add(job("c", 4, 1), 0) // would fit, but is behind b
    scheduler.advance(0)
    expect([scheduler.running, scheduler.waiting]).toEqual([1, 2])
    expect(scheduler.usage).toBe(0.5) // Taken as they are needed, not at once.
    scheduler.advance(96)
    expect([scheduler.running, scheduler.waiting]).toEqual([2, 0])
    scheduler.advance(1000)
    expect(tokens.at(-1)).toBe("c1@112")
  })

  it("counts a hit on a free block as taken: it is no longer there for those who were promised blocks", () => {
    const { scheduler } = harness({ blocks: 8 })
    scheduler.add(job("x", 16, 1), 0)
    scheduler.advance(100)
    // Four blocks in the end, one for now; then four hits and one block more do not fit.
    scheduler.add(job("a", 4, 13), 100)
    scheduler.add(job("b", 17, 1, "x"), 100)
    scheduler.advance(100)
    expect([scheduler.running, scheduler.waiting]).toEqual([1, 1])
    scheduler.advance(10_000)
    expect([scheduler.running, scheduler.waiting, scheduler.cache.free]).toEqual([0, 0, 8])
  })

  it("takes back what an aborted request was promised", () => {
    const { scheduler, tokens } = harness({ blocks: 8 })
    const aborted = scheduler.add(job("a", 4, 29), 0)
    scheduler.advance(0)
    scheduler.abort(aborted)
    scheduler.advance(20)
    scheduler.add(job("b", 32, 1), 20)
    scheduler.advance(1000)
    expect(tokens).toEqual(["b1@52"])
  })

  it("frees an aborted request's blocks at once, wherever it is", () => {
    const { scheduler, tokens } = harness({ maxRunning: 1 })
    const running = scheduler.add(job("a", 8, 5), 0)
    const queued = scheduler.add(job("b", 8, 1), 0)
    scheduler.advance(0)
    expect(scheduler.abort(queued)).toBe(true)
    expect(scheduler.abort(running)).toBe(true)
    expect(scheduler.abort(running)).toBe(false)
    expect([scheduler.running, scheduler.waiting, scheduler.cache.free]).toEqual([0, 0, 64])
    scheduler.advance(1000)
    expect(tokens).toEqual([])
  })

  it("lets a listener abort another request in the middle of a step", () => {
    let victim: Task<string, NamedJob> | undefined
    const heard: Array<string> = []
    const scheduler: Scheduler<string, NamedJob> = new Scheduler(options, {
      stored: () => undefined,
      removed: () => undefined,
      token: (task) => {
        heard.push(task.job.name)
        if (victim !== undefined) scheduler.abort(victim)
      }
    })
    scheduler.add(job("a", 4, 1), 0)
    victim = scheduler.add(job("b", 4, 9), 0)
    scheduler.advance(1000)
    expect(heard).toEqual(["a"])
    expect(scheduler.cache.free).toBe(64)
  })

  it("ends the running step later by a stall, and every step later when slow", () => {
    const { scheduler, tokens } = harness()
    scheduler.add(job("a", 4, 2), 0)
    scheduler.advance(0)
    scheduler.stall(0, 500)
    scheduler.slow = 3
    scheduler.advance(10_000)
    expect(tokens).toEqual(["a1@510", "a2@540"])
  })

  it("copies blocks back that lie below the device, as hits that cost a little, as far as the prefix goes", () => {
    const { events, scheduler, tokens } = harness({ loadUs: 500 }, new Set(["a:0", "a:2", "a:4"]))
    scheduler.add(job("x", 16, 1, "a"), 0)
    scheduler.advance(100)
    // Nothing holds the second, so the hits end before it.
    expect(events).toEqual(["+a:0", "+a:1", "+a:2", "+a:3"])
    expect(tokens).toEqual(["x1@14"])
    const again = scheduler.add(job("y", 24, 1, "a"), 100)
    scheduler.advance(200)
    expect([again.cachedTokens, again.loadedTokens]).toEqual([20, 4])
    expect(events.slice(4)).toEqual(["+a:4", "+a:5"])
    // Four tokens computed: the floor. Four copied: 2 ms.
    expect(tokens.at(-1)).toBe("y1@112")
  })

  it("waits with blocks to copy back until there is room for them", () => {
    const below = new Set(["a:0", "a:1", "a:2"])
    const { scheduler } = harness({ blocks: 6 }, below)
    scheduler.add(job("x", 12, 1), 0)
    scheduler.add(job("y", 16, 1, "a"), 0)
    scheduler.advance(0)
    expect([scheduler.running, scheduler.waiting]).toEqual([1, 1])
    scheduler.advance(1000)
    expect([scheduler.running, scheduler.waiting, scheduler.cache.free]).toEqual([0, 0, 6])
  })

  it("holds each key once when told to, and evicts no block before those that follow it", () => {
    for (let seed = 1; seed <= 8; seed++) {
      const random = Random.make(seed)
      const blocks = 24 + Math.floor(random() * 40)
      const { followed, scheduler } = harness({ blocks, stepTokens: 24, unique: true })
      const tasks: Array<Task<string, NamedJob>> = []
      let now = 0
      let evictions = 0
      for (let i = 0; i < 400; i++) {
        now += random() * 60
        const before = followed.size
        scheduler.advance(now)
        if (followed.size < before) evictions++
        const prompt = 1 + Math.floor(random() * 60)
        tasks.push(
          scheduler.add(job(`s${i}`, prompt, 1 + Math.floor(random() * 20), `f${Math.floor(random() * 5)}`), now)
        )
        scheduler.advance(now)
        if (random() < 0.15) scheduler.abort(tasks[Math.floor(random() * tasks.length)]!)
        expect([...followed.values()].every((copies) => copies === 1)).toBe(true)
        for (const key of followed.keys()) {
          const [, family, index] = /^(f\d):(\d+)$/.exec(key) ?? []
          if (index !== undefined && index !== "0") expect(followed.has(`${family}:${Number(index) - 1}`)).toBe(true)
        }
      }
      scheduler.advance(now + 1e7)
      expect([scheduler.running, scheduler.waiting, scheduler.cache.free]).toEqual([0, 0, blocks])
      expect([scheduler.cache.keys, scheduler.cache.cached]).toEqual([followed.size, followed.size])
      expect(evictions).toBeGreaterThan(0)
    }
  })

  it("lets the lowest priority in first, and of those who came first", () => {
    const { scheduler, tokens } = harness({ maxRunning: 1 })
    const names = [
      ["a", 5],
      ["b", 0],
      ["c", 5],
      ["d", -1]
    ] as const
    for (const [name, priority] of names) scheduler.add({ ...job(name, 4, 1), priority }, 0)
    scheduler.advance(1000)
    expect(tokens.map((token) => token[0])).toEqual(["d", "b", "a", "c"])
  })

  it("ends every seeded run with the cache its events describe, all blocks free, and every request served", () => {
    for (let seed = 1; seed <= 8; seed++) {
      const random = Random.make(seed)
      const blocks = 24 + Math.floor(random() * 40)
      const { scheduler, followed, tokens } = harness({ blocks, stepTokens: 24 })
      const tasks: Array<Task<string, NamedJob>> = []
      let now = 0
      for (let i = 0; i < 400; i++) {
        now += random() * 60
        scheduler.advance(now)
        const prompt = 1 + Math.floor(random() * 60)
        tasks.push(
          scheduler.add(job(`s${i}`, prompt, 1 + Math.floor(random() * 20), `f${Math.floor(random() * 5)}`), now)
        )
        scheduler.advance(now)
        if (random() < 0.15) scheduler.abort(tasks[Math.floor(random() * tasks.length)]!)
        expect(scheduler.cache.free).toBeGreaterThanOrEqual(0)
      }
      scheduler.advance(now + 1e7)
      expect(tasks.every((task) => task.done)).toBe(true)
      expect([scheduler.running, scheduler.waiting, scheduler.cache.free]).toEqual([0, 0, blocks])
      expect(scheduler.cache.keys).toBe(followed.size)
      for (const [key, copies] of followed) expect(scheduler.cache.copies(key)).toBe(copies)
      expect(tokens.length).toBeGreaterThan(1000)
    }
  })
})
