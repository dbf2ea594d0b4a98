/** What a bench and the replicas it measures say to each other over a process's channel. */

/** What a replica is started with: one argument, JSON. */
export interface Given {
  readonly id: string
  /** Null: it is alone, and reads engines directly. */
  readonly nats: string | null
  readonly deployment: string
  readonly engines: ReadonlyArray<Engine>
  /** Blocks that its table has room for. */
  readonly blocksMax: number
  /** Workers in its ledger, for bookings. */
  readonly workers: number
  /** Notes when lookups find what it hears: costs a little with every batch. */
  readonly probes: boolean
}

/** An engine's sockets. Its slot is its place in the list. */
export interface Engine {
  readonly name: string
  readonly endpoint: string
  readonly replayEndpoint: string
}

export interface State {
  readonly ready: boolean
  /** By slot. Alone all are "solo". */
  readonly roles: ReadonlyArray<string>
  /** Every publisher is connected, nothing missing and no replay under way. */
  readonly whole: boolean
  /** Over all publishers: holes in what was heard, and replays begun. */
  readonly gaps: number
  readonly replays: number
}

export interface Usage {
  /** User + system time of the whole process so far. */
  readonly cpuUs: number
  /** Of the thread that does the work. */
  readonly threadUs: number
  /** To and from NATS, as the sockets count them. */
  readonly inBytes: number
  readonly outBytes: number
}

/** What the table holds of a publisher: how many keys, and their sum, in whatever order. */
export interface Held {
  readonly count: number
  readonly digest: number
}

export interface Bookings {
  readonly requests: number
  /** Of each prompt. */
  readonly blocks: number
  /** Requests a second, whatever becomes of them; null for as many as are heard. */
  readonly rate: number | null
}

/** Questions, what is given with them, and their answers. */
export interface Asks {
  readonly state: { readonly given: null; readonly answer: State }
  readonly usage: { readonly given: null; readonly answer: Usage }
  /** Answered when all that was heard is in the table. */
  readonly settled: { readonly given: null; readonly answer: null }
  readonly held: { readonly given: null; readonly answer: ReadonlyArray<Held> }
  /** From now on notes when a lookup finds each batch of an engine; answers those noted so far, by engine, in order. */
  readonly found: { readonly given: null; readonly answer: ReadonlyArray<Float64Array> }
  /** Books requests, lets them show first tokens, and settles them; answers when each was booked. */
  readonly book: { readonly given: Bookings; readonly answer: Float64Array }
  /** When each request of others was charged here, since it was last asked for. */
  readonly charged: { readonly given: null; readonly answer: Float64Array }
}

export type Ask = keyof Asks

/** Without being asked: batches read, and requests of others charged. */
export interface Progress {
  readonly batches: number
  readonly charged: number
}

/** A clock that all processes of a machine share, ms. */
export const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6

export const digestOf = (keys: Int32Array): Held => {
  let digest = 0
  for (let i = 0; i < keys.length; i += 2) {
    const mixed = Math.imul(keys[i]! ^ (keys[i + 1]! >>> 15), 0x9e3779b1) ^ Math.imul(keys[i + 1]!, 0x85ebca6b)
    digest = (digest + (mixed ^ (mixed >>> 13))) | 0
  }
  return { count: keys.length / 2, digest }
}
