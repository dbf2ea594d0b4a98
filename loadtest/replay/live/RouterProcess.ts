/**
 * One real router in a process of its own, that chooses workers by a strategy named on the command line and keeps the time
 * of the trace. Prints its addresses once every worker can take a request; answers `"predictions"` on its channel.
 *
 *   node RouterProcess.ts --strategy NAME --speed N --block-size N --capacity-tokens N --seed N --worker URL … [--nats URL]
 */
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import { Effect, Layer, Logger, Result } from "effect"
import { Ledger } from "../../../actors/Ledger.ts"
import * as Config from "../../../src/Config.ts"
import * as Router from "../../../src/Router.ts"
import * as Contenders from "./Contenders.ts"
import type * as TraceTime from "./TraceTime.ts"
import { ledger } from "./TraceTime.ts"

const { values } = parseArgs({
  options: {
    strategy: { type: "string", default: "" },
    speed: { type: "string", default: "1" },
    "block-size": { type: "string", default: "16" },
    "capacity-tokens": { type: "string", default: "0" },
    seed: { type: "string", default: "1" },
    nats: { type: "string", default: "" },
    worker: { type: "string", multiple: true, default: [] }
  }
})

const speed = Number(values.speed)
const strategy = Contenders.byName(values.strategy)
const workers = values.worker.length
/** Where a strategy reads no metrics workers are probed all the same. */
const probeMs = 2_000
const config = Result.getOrThrow(
  Config.decode({
    flags: {
      workers: values.worker.join(","),
      workersMax: workers,
      host: "127.0.0.1",
      port: 0,
      adminPort: 0,
      nats: values.nats,
      // Load is read by whoever probes.
      probeIntervalMs: Math.max(10, Math.round((strategy.scrapeMs ?? probeMs) / speed))
    }
  })
)

const predictions: TraceTime.Predictions = { predicted: 0, tooMany: 0, tooFew: 0 }
process.on("message", (asked) => {
  if (asked === "predictions") process.send?.({ predictions })
})

const chosen = strategy.ledger({
  workers,
  blockSize: Number(values["block-size"]),
  capacityTokens: Number(values["capacity-tokens"]),
  seed: Number(values.seed),
  truth: {
    asked: () => {
      throw new Error(`${strategy.name} is a bound: no router in the world can know what it does.`)
    },
    ttftMs: () => Number.NaN
  }
})

const program = Effect.gen(function* () {
  const router = yield* Router.start(config, "", {
    ledger: Layer.succeed(Ledger, ledger(chosen, speed, predictions))
  })
  while (router.able() < workers) yield* Effect.promise(() => sleep(10))
  console.log(`router ${router.url} admin ${router.adminUrl}`)
  return yield* Effect.never
})
Effect.runFork(Effect.scoped(program).pipe(Effect.provideService(Logger.LogToStderr, true)))
