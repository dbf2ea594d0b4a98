/** Engines that publish what was made before, over real sockets, and no faster than it is read. */
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises"
import { EventPublisher } from "../fleet/EventPublisher.ts"
import { Faults } from "../fleet/Faults.ts"
import { publishers, type Stream } from "../micro/IngestWorkload.ts"
import { type Engine, nowMs } from "./Words.ts"

export interface Engines {
  readonly list: ReadonlyArray<Engine>
  /** Publishes up to a batch of the stream. `read`: how many batches the slowest reader has. */
  readonly publish: (to: number, read: () => number) => Promise<void>
  /** The same at so many batches a second. Answers when each was published, by engine. */
  readonly pace: (to: number, rate: number) => Promise<ReadonlyArray<Float64Array>>
  readonly close: () => void
}

/** Published and not read yet: less than any queue on the way holds, and enough that none runs dry. */
const aheadMax = 4_000
const aheadBytesMax = 4 * 1024 * 1024
/** Between two turns of the event loop, which the sockets need. */
const slice = 64
/** As vLLM's `buffer_steps`. */
const bufferSteps = 10_000

export const start = async ({ payloads }: Stream, names: ReadonlyArray<string>): Promise<Engines> => {
  let payload = payloads[0]!
  const all = names.map(
    (_, i) =>
      new EventPublisher(
        { host: "127.0.0.1", topic: "kv", replay: true, replayLayout: "topic", bufferSteps, encode: () => payload },
        new Faults(i)
      )
  )
  for (const publisher of all) await publisher.open({ events: null, replay: null }, false)
  const bytes = payloads.reduce((sum, { length }) => sum + length, 0)
  const ahead = Math.min(aheadMax, Math.max(2 * publishers, Math.floor((aheadBytesMax * payloads.length) / bytes)))
  let at = 0
  const next = (): number => {
    payload = payloads[at]!
    const engine = at++ % publishers
    all[engine]!.publish([])
    return engine
  }
  return {
    list: all.map(({ endpoint, replayEndpoint }, i) => ({
      name: names[i]!,
      endpoint,
      replayEndpoint: replayEndpoint!
    })),
    publish: async (to, read) => {
      while (at < to) {
        while (at - read() >= ahead) await sleep(1)
        next()
        if (at % slice === 0) await turn()
      }
    },
    pace: async (to, rate) => {
      const times = all.map((): Array<number> => [])
      const from = at
      for (const startedMs = nowMs(); at < to; ) {
        const due = Math.min(to, from + ((nowMs() - startedMs) * rate) / 1_000)
        while (at < due) {
          const sentMs = nowMs()
          times[next()]!.push(sentMs)
        }
        await sleep(1)
      }
      return times.map((each) => Float64Array.from(each))
    },
    close: () => {
      for (const publisher of all) publisher.close()
    }
  }
}
