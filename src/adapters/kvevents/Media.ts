/**
 * Engines' names for where a block lies, folded to tiers. Compared without case.
 * Source: ai-dynamo/dynamo `lib/kv-router/src/protocols.rs` (the aliases); vLLM says GPU, CPU and STORAGE, SGLang GPU,
 * CPU_PINNED, DISK and EXTERNAL.
 */
import type { Tier } from "../../domain/Tier.ts"

const tierByMedium = new Map<string, Tier>([
  ["GPU", "device"],
  ["CPU", "host"],
  ["CPU_PINNED", "host"],
  ["CPU_TIER1", "host"],
  ["CPU_TIER2", "disk"],
  ["DISK", "disk"],
  ["NVME", "disk"],
  ["STORAGE", "disk"],
  ["EXTERNAL", "external"],
  ["NETWORK", "external"],
  ["REMOTE", "external"],
  ["SHARED", "external"]
])

/** Null: a name this version does not know. */
export const tierOf = (medium: string): Tier | null => tierByMedium.get(medium.toUpperCase()) ?? null
