/**
 * The open bookings: a dense pool in columns, grown by doubling.
 *
 * A handle is a number, generation · 2^20 + index. The generation changes when a place is given back, so that a handle
 * used twice finds nothing.
 */
export const NONE = -1

export interface BookingPool {
  readonly size: number
  free: number
  used: number
  readonly generation: Uint32Array
  /** 0 free, 1 queued, 2 active. */
  readonly state: Uint8Array
  readonly slot: Int32Array
  readonly epoch: Uint32Array
  readonly ownUs: Float64Array
  readonly promptTokens: Float64Array
  readonly uncachedTokens: Float64Array
  readonly bookedMs: Float64Array
  readonly firstMs: Float64Array
  readonly dueMs: Float64Array
  readonly activeThen: Float64Array
  /** Lower goes first; NaN where the worker serves first come, first served. */
  readonly priority: Float64Array
  readonly streams: Uint8Array
  /** 1 when nothing was queued on the worker at booking. */
  readonly alone: Uint8Array
  /** Queue of the worker, or the free list. */
  readonly next: Int32Array
  readonly prev: Int32Array
}

/** Most bookings at once: far above what one process can have open. One beyond is served, but not counted. */
export const bookingsMax = 1 << 20

export const make = (size: number): BookingPool => ({
  size,
  free: NONE,
  used: 0,
  generation: new Uint32Array(size),
  state: new Uint8Array(size),
  slot: new Int32Array(size),
  epoch: new Uint32Array(size),
  ownUs: new Float64Array(size),
  promptTokens: new Float64Array(size),
  uncachedTokens: new Float64Array(size),
  bookedMs: new Float64Array(size),
  firstMs: new Float64Array(size),
  dueMs: new Float64Array(size),
  activeThen: new Float64Array(size),
  priority: new Float64Array(size),
  streams: new Uint8Array(size),
  alone: new Uint8Array(size),
  next: new Int32Array(size),
  prev: new Int32Array(size)
})

/** True when the next `take` needs a larger pool. */
export const isFull = (pool: BookingPool): boolean => pool.free === NONE && pool.used === pool.size

/** The same bookings with twice the room; the pool itself at the bound. Handles stay valid. */
export const grown = (pool: BookingPool): BookingPool => {
  if (pool.size >= bookingsMax) return pool
  const larger = make(pool.size * 2)
  larger.used = pool.used
  larger.generation.set(pool.generation)
  larger.state.set(pool.state)
  larger.slot.set(pool.slot)
  larger.epoch.set(pool.epoch)
  larger.ownUs.set(pool.ownUs)
  larger.promptTokens.set(pool.promptTokens)
  larger.uncachedTokens.set(pool.uncachedTokens)
  larger.bookedMs.set(pool.bookedMs)
  larger.firstMs.set(pool.firstMs)
  larger.dueMs.set(pool.dueMs)
  larger.activeThen.set(pool.activeThen)
  larger.priority.set(pool.priority)
  larger.streams.set(pool.streams)
  larger.alone.set(pool.alone)
  larger.next.set(pool.next)
  larger.prev.set(pool.prev)
  return larger
}

/** A free place, or `NONE`. While the free list is empty every place below `used` is taken, so the next is new. */
export const take = (pool: BookingPool): number => {
  if (pool.free === NONE) return pool.used < pool.size ? pool.used++ : NONE
  const at = pool.free
  pool.free = pool.next[at]!
  pool.used++
  return at
}

/** Gives a place back; its handle is worthless from now on. */
export const give = (pool: BookingPool, at: number): void => {
  pool.state[at] = 0
  pool.generation[at] = (pool.generation[at]! + 1) >>> 0
  pool.next[at] = pool.free
  pool.free = at
  pool.used--
}

export const handle = (pool: BookingPool, at: number): number => pool.generation[at]! * bookingsMax + at

/** The place of an open booking, or `NONE`. */
export const find = (pool: BookingPool, booking: number): number => {
  if (!(booking >= 0)) return NONE
  const at = booking % bookingsMax
  if (at >= pool.size || pool.state[at] === 0) return NONE
  return pool.generation[at] === Math.floor(booking / bookingsMax) ? at : NONE
}
