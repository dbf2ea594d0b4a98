/**
 * Consistent hashing: workers as points on a ring, a key goes to the next point after it. A worker that may not be chosen
 * loses its keys to the points behind its own, and all others keep theirs.
 */
export interface HashRing {
  readonly points: Uint32Array
  /** Whose point it is, by the same index. */
  readonly slots: Uint16Array
}

/** `pointsEach`: virtual nodes per worker. */
export const make = (workers: number, pointsEach: number): HashRing => {
  const points: Array<readonly [point: number, slot: number]> = []
  for (let slot = 0; slot < workers; slot++) {
    // Twice, or small keys would fall on the points themselves.
    for (let i = 0; i < pointsEach; i++) points.push([spread(~spread(slot * pointsEach + i)), slot])
  }
  points.sort(([a, i], [b, j]) => a - b || i - j)
  return {
    points: Uint32Array.from(points, ([point]) => point),
    slots: Uint16Array.from(points, ([, slot]) => slot)
  }
}

/** The slot a key of 32 bits belongs to, of those eligible; −1 when there is none. O(log points) while all are. */
export const find = (ring: HashRing, key: number, eligible: Uint8Array): number => {
  const { points, slots } = ring
  const hash = spread(key)
  let low = 0
  let high = points.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (points[middle]! < hash) low = middle + 1
    else high = middle
  }
  for (let i = 0; i < points.length; i++) {
    const slot = slots[(low + i) % points.length]!
    if (eligible[slot] === 1) return slot
  }
  return -1
}

/** Finaliser of MurmurHash3: numbers in a row land far apart. */
const spread = (word: number): number => {
  let x = word
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}
