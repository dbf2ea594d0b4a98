/**
 * Where a worker holds a block, and the layers of the router's picture of it.
 *
 * Engines name tiers differently (`GPU`, `CPU_PINNED`, `STORAGE`, …); adapters fold the names to these, nearest first.
 */
export const tiers = ["device", "host", "disk", "external"] as const
export type Tier = (typeof tiers)[number]

/**
 * A layer of the index, per slot. Layers 0 to 3 hold what is within reach of a tier: on it, or on a nearer one; so each
 * contains the one before, and a worker that only has a device needs only the first. `guess` holds what the router
 * believes from its own placements, where events do not tell.
 */
export const DEVICE = 0
export const HOST = 1
export const DISK = 2
export const EXTERNAL = 3
export const GUESS = 4
export const layersMax = 5
export type Layer = 0 | 1 | 2 | 3 | 4
