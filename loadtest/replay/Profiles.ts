/** Engines that traces are replayed on: how fast they are, and how much they cache. */
import * as TimeModel from "../fleet/TimeModel.ts"

/** Engines, all alike. */
export interface Fleet {
  readonly workers: number
  /** Blocks of each one's cache, of the trace's size; running requests hold `pinsMax` of them at most. */
  readonly blocks: number
  readonly pinsMax: number
  readonly rates: TimeModel.Rates
  readonly stepTokens: number
  readonly maxRunning: number
}

export interface Profile {
  readonly about: string
  readonly rates: TimeModel.Rates
  readonly stepTokens: number
  readonly maxRunning: number
  /** Tokens in device memory: what running requests hold at most. */
  readonly deviceTokens: number
  /** Tokens cached: on the device alone, with host memory behind it, and with more of it. Hits there cost nothing. */
  readonly cacheTokens: Readonly<Record<CacheSize, number>>
}

export const cacheSizes = ["tight", "medium", "ample"] as const
export type CacheSize = (typeof cacheSizes)[number]

export const profiles = {
  llama70: {
    about: "Llama-3-70B in bf16 on four H100",
    rates: TimeModel.llama70,
    stepTokens: 8_192,
    maxRunning: 256,
    deviceTokens: 830 * 512,
    cacheTokens: { tight: 830 * 512, medium: 3_300 * 512, ample: 13_000 * 512 }
  },
  mla: {
    about: "a large model with latent attention on eight H200",
    rates: TimeModel.mla,
    stepTokens: 16_384,
    maxRunning: 512,
    deviceTokens: 16_000 * 256,
    cacheTokens: { tight: 16_000 * 256, medium: 48_000 * 256, ample: 160_000 * 256 }
  }
} as const satisfies Readonly<Record<string, Profile>>

export type ProfileName = keyof typeof profiles
export const profileNames = Object.keys(profiles) as ReadonlyArray<ProfileName>

/** So many engines of a profile, with blocks of `blockSize` tokens. */
export const fleet = (profile: Profile, workers: number, cacheTokens: number, blockSize: number): Fleet => {
  const blocks = Math.floor(cacheTokens / blockSize)
  return {
    workers,
    blocks,
    pinsMax: Math.min(blocks, Math.floor(profile.deviceTokens / blockSize)),
    rates: profile.rates,
    stepTokens: profile.stepTokens,
    maxRunning: profile.maxRunning
  }
}
