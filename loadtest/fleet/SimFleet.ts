/**
 * A fleet of simulated engines in this process, for tests and the demo.
 *
 * `start` takes any part of `SimOptions`; the rest has defaults. Ports are chosen by the system unless `port` is given.
 */
import * as Model from "./Model.ts"
import { SimEngine } from "./SimEngine.ts"
import { defaults, problem, type SimOptions } from "./SimOptions.ts"

export interface SimFleet {
  /** Base URLs, one an engine, without a trailing slash. */
  readonly urls: ReadonlyArray<string>
  readonly engines: ReadonlyArray<SimEngine>
  /** Cuts every connection and frees every port. */
  readonly close: () => Promise<void>
}

export const start = async (options: Partial<SimOptions> = {}): Promise<SimFleet> => {
  const full: SimOptions = { ...defaults, ...options }
  const wrong = problem(full)
  if (wrong !== null) throw new Error(wrong)
  const model = await Model.load(full.tokenizer)
  const engines: Array<SimEngine> = []
  const close = async () => {
    await Promise.all(engines.map((engine) => engine.close()))
  }
  try {
    for (let index = 0; index < full.engines; index++) {
      engines.push(new SimEngine(full, model, index, engines))
      await engines[index]!.start()
    }
  } catch (cause) {
    await close()
    throw cause
  }
  return { urls: engines.map((engine) => engine.url), engines, close }
}
