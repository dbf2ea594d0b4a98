import { describe, expect, it } from "vitest"
import * as RateModel from "../../src/hot/RateModel.ts"

interface Engine {
  readonly requestMs: number
  readonly tokenMs: number
  readonly pairMs: number
}

/** The priors, made `factor` times slower. */
const engine = (factor: number): Engine => ({
  requestMs: 20 * factor,
  tokenMs: 0.05 * factor,
  pairMs: 1.5e-6 * factor
})

const trueMs = (e: Engine, prompt: number, uncached: number): number =>
  e.requestMs + e.tokenMs * uncached + e.pairMs * RateModel.attentionPairs(prompt, uncached)

const lcg = (seed: number): (() => number) => {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** Requests like a chat service's: 100 to 30 000 tokens, log-uniform, some of them mostly cached. */
const request = (random: () => number): readonly [prompt: number, uncached: number] => {
  const prompt = Math.round(100 * 300 ** random())
  return [prompt, Math.max(1, Math.round(prompt * (random() < 0.5 ? 1 : random())))]
}

const drive = (model: RateModel.RateModel, slot: number, e: Engine, count: number, random: () => number): void => {
  for (let i = 0; i < count; i++) {
    const [prompt, uncached] = request(random)
    const noise = Math.exp((random() + random() + random() - 1.5) * 0.4) // About ± 20 %.
    const ms = trueMs(e, prompt, uncached) * noise
    RateModel.learn(model, slot, 1, uncached, RateModel.attentionPairs(prompt, uncached), 0, 0, ms, 0)
  }
}

/** Mean |ln(predicted / true)| over fresh requests: 0.1 is about 10 %. */
const errorOf = (model: RateModel.RateModel, slot: number, e: Engine): number => {
  const random = lcg(99)
  let sum = 0
  for (let i = 0; i < 200; i++) {
    const [prompt, uncached] = request(random)
    sum += Math.abs(Math.log(RateModel.prefillMs(model, slot, prompt, uncached) / trueMs(e, prompt, uncached)))
  }
  return sum / 200
}

describe("RateModel", () => {
  for (const factor of [0.1, 10]) {
    it(`is within half after 5 requests and within a fifth after 20 on an engine ${factor} times the priors`, () => {
      for (let seed = 1; seed <= 20; seed++) {
        const model = RateModel.make(4)
        const random = lcg(seed)
        expect(errorOf(model, 0, engine(factor))).toBeGreaterThan(2)
        drive(model, 0, engine(factor), 5, random)
        expect(errorOf(model, 0, engine(factor))).toBeLessThan(Math.log(1.5))
        drive(model, 0, engine(factor), 15, random)
        expect(errorOf(model, 0, engine(factor))).toBeLessThan(Math.log(1.2))
      }
    })
  }

  it("learns an engine of another shape, where attention weighs far more", () => {
    const heavy = { requestMs: 5, tokenMs: 0.02, pairMs: 1e-5 }
    for (let seed = 1; seed <= 5; seed++) {
      const model = RateModel.make(1)
      drive(model, 0, heavy, 300, lcg(seed))
      expect(errorOf(model, 0, heavy)).toBeLessThan(0.2)
    }
  })

  it("follows an engine that becomes four times slower within 40 requests", () => {
    const model = RateModel.make(1)
    const random = lcg(3)
    drive(model, 0, engine(1), 200, random)
    drive(model, 0, engine(4), 40, random)
    expect(errorOf(model, 0, engine(4))).toBeLessThan(0.25)
  })

  it("is moved little by one stuck request", () => {
    const model = RateModel.make(1)
    drive(model, 0, engine(1), 100, lcg(3))
    const before = RateModel.prefillMs(model, 0, 2000, 2000)
    RateModel.learn(model, 0, 1, 2000, RateModel.attentionPairs(2000, 2000), 0, 0, 600_000, 0)
    expect(RateModel.prefillMs(model, 0, 2000, 2000) / before).toBeLessThan(1.15)
  })

  it("predicts an unknown worker by the fleet, and lets each worker differ", () => {
    const model = RateModel.make(3)
    const random = lcg(5)
    for (let i = 0; i < 40; i++) {
      drive(model, 0, engine(1), 1, random)
      drive(model, 1, engine(3), 1, random)
    }
    expect(errorOf(model, 0, engine(1))).toBeLessThan(0.15)
    expect(errorOf(model, 1, engine(3))).toBeLessThan(0.15)
    const fresh = RateModel.prefillMs(model, 2, 2000, 2000)
    expect(fresh).toBe(RateModel.prefillMs(model, model.workersMax, 2000, 2000))
    expect(fresh).toBeGreaterThan(RateModel.prefillMs(model, 0, 2000, 2000))
    expect(fresh).toBeLessThan(RateModel.prefillMs(model, 1, 2000, 2000))
    RateModel.reset(model, 1)
    expect(RateModel.prefillMs(model, 1, 2000, 2000)).toBe(fresh)
  })

  it("predicts equal workers alike, however their luck differs", () => {
    const model = RateModel.make(8)
    const random = lcg(6)
    for (let i = 0; i < 400; i++) drive(model, i % 8, engine(2), 1, random)
    const predicted = Array.from({ length: 8 }, (_, slot) => RateModel.prefillMs(model, slot, 4000, 4000))
    expect(new Set(predicted).size).toBe(1)
  })

  it("asks a worker that was slow again when nothing was heard of it for a minute", () => {
    const model = RateModel.make(2)
    const random = lcg(4)
    drive(model, 0, engine(1), 30, random)
    drive(model, 1, engine(8), 10, random)
    const fleetMs = (): number => RateModel.prefillMs(model, 2, 2000, 2000)
    expect(RateModel.prefillMs(model, 1, 2000, 2000)).toBeGreaterThan(1.5 * fleetMs())
    for (let i = 0; i < 2; i++) RateModel.learn(model, 0, 1, 100, 5000, 0, 0, 25, 59_000)
    expect(RateModel.prefillMs(model, 1, 2000, 2000)).toBeGreaterThan(1.5 * fleetMs())
    for (let i = 0; i < 2; i++) RateModel.learn(model, 0, 1, 100, 5000, 0, 0, 25, 61_000)
    expect(RateModel.prefillMs(model, 1, 2000, 2000)).toBe(fleetMs())
  })

  it("learns the decode pace and what active context adds to it", () => {
    const model = RateModel.make(1)
    const random = lcg(8)
    for (let i = 0; i < 200; i++) {
      const tokens = 10 + Math.floor(random() * 400)
      const active = Math.floor(random() * 300_000)
      RateModel.learn(model, 0, 0, 0, 0, tokens, active, tokens * (4 + 1e-5 * active), 0)
    }
    for (const active of [0, 100_000, 300_000]) {
      const paceMs = RateModel.decodeFloorMs(model, 0) + RateModel.decodeContextMs(model, 0) * active
      expect(Math.abs(Math.log(paceMs / (4 + 1e-5 * active)))).toBeLessThan(0.15)
    }
  })

  it("learns nothing from times that cannot be", () => {
    const model = RateModel.make(1)
    for (const ms of [Number.NaN, -1, Infinity]) RateModel.learn(model, 0, 1, 100, 5000, 0, 0, ms, 0)
    expect(model.prefills[0]).toBe(0)
    for (let i = 0; i < 500; i++) RateModel.learn(model, 0, 1, 100, 5000, 0, 0, i % 2 === 0 ? 0 : 1e12, 0)
    expect([...model.theta].every((value) => Number.isFinite(value) && value > 0)).toBe(true)
  })

  it("is as far off as its observations are said to be, for replays that ask what wrong rates cost", () => {
    const model = RateModel.make(1, 2)
    drive(model, 0, engine(1), 200, lcg(1))
    expect(errorOf(model, 0, engine(2))).toBeLessThan(0.2)
    expect(errorOf(model, 0, engine(1))).toBeGreaterThan(0.5)
  })
})
