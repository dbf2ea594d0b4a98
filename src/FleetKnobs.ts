/** FleetKnobs: what the configuration says about workers, as the fleet wants it. */
import type { Knobs } from "../actors/Fleet.ts"
import type { Config } from "./Config.ts"

export const of = (config: Config): Knobs => ({
  workersMax: config.workersMax,
  probeIntervalMs: config.probeIntervalMs,
  probeTimeoutMs: config.probeTimeoutMs,
  discoverTimeoutMs: config.discoverTimeoutMs,
  discoverIntervalMs: config.discoverIntervalMs,
  joinRetryMsMin: config.joinRetryMsMin,
  joinRetryMsMax: config.joinRetryMsMax,
  drainMs: config.workerDrainMs,
  breaker: {
    failuresMax: config.breakerFailures,
    failureShareMax: config.breakerFailureShare,
    windowRequestsMin: config.breakerWindowRequestsMin,
    windowMs: config.breakerWindowMs,
    openMsMin: config.breakerOpenMsMin,
    openMsMax: config.breakerOpenMsMax
  }
})
