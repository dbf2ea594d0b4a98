/**
 * Stage: fresh engines and a router in front of them, in processes of their own, for as long as somebody uses them. Or
 * several routers that share what they know, behind a balancer that deals them connections in turn.
 */
import * as Balancer from "../../cluster/Balancer.ts"
import * as Measured from "../../proxies/Measured.ts"
import type { Fleet } from "../Profiles.ts"
import type { Strategy } from "../Strategy.ts"
import type { Predictions } from "./TraceTime.ts"

export interface StageOptions {
  readonly strategy: Strategy
  readonly fleet: Fleet
  readonly blockSize: number
  readonly speed: number
  readonly seed: number
  /** Routers; more than one need `nats`, a server that nobody else uses. */
  readonly replicas: number
  readonly nats: string | null
}

export interface Stage {
  readonly url: string
  readonly model: string
  /** Ids, as the router names them. */
  readonly workers: ReadonlyArray<string>
  readonly predictions: () => Promise<Predictions>
  /** CPU time so far of the engines together, and of the routers; microseconds. */
  readonly cpuUs: () => Promise<{ readonly engines: number; readonly router: number }>
}

/** Engines that share a process, and so a core. */
const perProcess = 4
const model = "trace"
/** Few records instead of one a token: what is measured is the first one. */
const streamInterval = 32

const bin = Measured.path("../../src/bin.ts")
const routerProcess = Measured.path("../replay/live/RouterProcess.ts")

const engineArgs = (engines: number, { blockSize, fleet, seed, speed }: StageOptions): ReadonlyArray<string> => {
  const { blocks, maxRunning, pinsMax, rates, stepTokens } = fleet
  const flags = {
    "--engines": engines,
    "--port": 0,
    "--model": model,
    "--block-size": blockSize,
    "--blocks": blocks,
    "--running-blocks": pinsMax,
    "--max-model-len": pinsMax * blockSize,
    "--speed": speed,
    "--floor-ms": rates.floorMs,
    "--overhead-ms": rates.overheadMs,
    "--token-us": rates.tokenUs,
    "--attention-ns": rates.attentionNs,
    "--kv-read-ns": rates.kvReadNs,
    "--step-tokens": stepTokens,
    "--max-running": maxRunning,
    "--stream-interval": streamInterval,
    "--seed": seed
  }
  return ["sim-engine", ...Object.entries(flags).flatMap(([flag, value]) => [flag, String(value)])]
}

/** The addresses in what `sim-engine` prints. */
const urlsOf = async (engines: Measured.Measured): Promise<ReadonlyArray<string>> => {
  const [, shown] = await engines.says(/warmpath serve ((?:--worker \S+ ?)+)\n/)
  return [...shown!.matchAll(/--worker (\S+)/g)].map(([, url]) => url!)
}

const cpuUsOf = async (of: ReadonlyArray<Measured.Measured>): Promise<number> =>
  (await Promise.all(of.map((each) => each.cpuUs()))).reduce((sum, us) => sum + us, 0)

const predictionsOf = (router: Measured.Measured): Promise<Predictions> =>
  new Promise((resolve) => {
    const hear = (message: { readonly predictions?: Predictions }): void => {
      if (message.predictions === undefined) return
      router.process.off("message", hear)
      resolve(message.predictions)
    }
    router.process.on("message", hear)
    router.process.send("predictions")
  })

/** Lends them to `work`, and stops them, whatever happens. */
export const use = async <A>(options: StageOptions, work: (stage: Stage) => Promise<A>): Promise<A> => {
  const { blockSize, fleet, nats, replicas, seed, speed, strategy } = options
  const started: Array<Measured.Measured> = []
  let balancer: Balancer.Balancer | null = null
  const start = (program: string, args: ReadonlyArray<string>): Measured.Measured => {
    const measured = Measured.start(program, args)
    started.push(measured)
    return measured
  }
  try {
    const engines: Array<Measured.Measured> = []
    for (let left = fleet.workers; left > 0; left -= perProcess) {
      engines.push(start(bin, engineArgs(Math.min(left, perProcess), options)))
    }
    const urls = (await Promise.all(engines.map(urlsOf))).flat()
    const routers = Array.from({ length: replicas }, () =>
      start(routerProcess, [
        ...["--strategy", strategy.name, "--speed", String(speed), "--block-size", String(blockSize)],
        ...["--capacity-tokens", String(fleet.blocks * blockSize), "--seed", String(seed)],
        ...(nats === null ? [] : ["--nats", nats]),
        ...urls.flatMap((url) => ["--worker", url])
      ])
    )
    const routerUrls = await Promise.all(routers.map(async (each) => (await each.says(/router (\S+) admin/))[1]!))
    balancer = replicas === 1 ? null : await Balancer.start(() => routerUrls)
    return await work({
      url: balancer?.url ?? routerUrls[0]!,
      model,
      workers: urls.map((each) => new URL(each).host),
      predictions: async () => {
        const all = await Promise.all(routers.map(predictionsOf))
        const sum = (of: keyof Predictions) => all.reduce((total, each) => total + each[of], 0)
        return { predicted: sum("predicted"), tooMany: sum("tooMany"), tooFew: sum("tooFew") }
      },
      cpuUs: async () => ({ engines: await cpuUsOf(engines), router: await cpuUsOf(routers) })
    })
  } finally {
    await balancer?.close()
    await Promise.all(started.map((each) => each.stop()))
  }
}
