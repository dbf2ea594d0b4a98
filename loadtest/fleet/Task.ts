/** Requests as the scheduler sees them, and who is told what becomes of them. */

/** What a request must say of itself. `K` names a full block and all before it. */
export interface Job<K> {
  readonly promptTokens: number
  /** Tokens it will generate, at least 1. */
  readonly outputTokens: number
  /** Who enters first: the lowest, and of those who came first. 0 when left out. */
  readonly priority?: number
  /** Key of full block `index`. Asked once, in order, when every token of the block is known. */
  readonly key: (index: number) => K
}

/** One request under way. */
export interface Task<K, J extends Job<K>> {
  readonly job: J
  readonly queuedAt: number
  /** When it entered the batch; NaN before. */
  admittedAt: number
  /** Prompt tokens found in the cache; 0 before admission. */
  cachedTokens: number
  /** Of these, copied back to the device. */
  loadedTokens: number
  /** Tokens whose KV is computed or being computed in the running step. */
  computed: number
  /** Tokens generated. */
  generated: number
  /** Its blocks, head first. */
  readonly blocks: Array<number>
  /** Leading blocks that are committed. */
  committed: number
  /** Keys of its leading blocks, as far as they were asked for. */
  readonly keys: Array<K>
  /** Finished or aborted: it holds nothing any more. */
  done: boolean
}

export interface Listener<K, J extends Job<K>> {
  /** Blocks [from, to) of a task became hittable. */
  readonly stored: (task: Task<K, J>, from: number, to: number) => void
  /** One copy of a key was evicted. */
  readonly removed: (key: K) => void
  /** Whether a key lies below the device; asked when a request that needs it enters. */
  readonly loadable?: (key: K) => boolean
  readonly admitted?: (task: Task<K, J>, now: number) => void
  /** One more token is there; `task.generated` counts it. The task is finished when that is all it wanted. */
  readonly token: (task: Task<K, J>, now: number) => void
  /** A step ended; what it stored and removed may be published. */
  readonly stepped?: (now: number) => void
}
