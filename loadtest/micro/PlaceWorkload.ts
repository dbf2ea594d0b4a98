/**
 * A large fleet as one long prompt meets it: seeded, so every run is the same.
 *
 * Prompts of 130 000 tokens: a system prompt that every worker holds, for most a document that some hold, whole or in
 * part (one to all of the workers, evenly in orders of magnitude), then a conversation that a few hold, deep. In the table
 * beside them: each worker's other conversations, so that what a request reads lies scattered over a table of real size.
 */
import type { KeyLanes } from "../../src/domain/Block.ts"
import type { KvDelta } from "../../src/domain/KvEvent.ts"
import * as Random from "../Random.ts"

export const workers = 1_000
export const blockSize = 16
export const promptTokens = 130_000
export const promptBlocks = promptTokens / blockSize

const systemBlocks = 512
const documentBlocks = 2_048
const systems = 8
/** Blocks of one turn of a conversation, stored at a time; and of one chunk of a prefill, for who takes one over. */
const turnBlocks = 16
const chunkBlocks = 128
const turnsMax = 2
/** Conversations that are written to the table at a time, turn by turn. */
const open = 1_024

export interface Conversation {
  /** The whole prompt but what is new in each request. */
  readonly keys: KeyLanes
  /** Blocks that each worker holds, by slot. */
  readonly held: Uint32Array
}

export interface Workload {
  readonly conversations: ReadonlyArray<Conversation>
  readonly random: Random.Random
}

/** New keys in place of `keys[from … to]`, in blocks. Random and not chained: what matters is which block follows which. */
export const renew = (keys: KeyLanes, from: number, to: number, random: Random.Random): void => {
  for (let i = 2 * from; i < 2 * to; i++) keys[i] = (random() * 2 ** 32) | 0
}

interface Writing {
  readonly worker: number
  readonly keys: KeyLanes
  at: number
  readonly end: number
  /** Blocks to an event. */
  readonly step: number
  /** Who computes the same prompt after this one is done with it. */
  next: Writing | null
}

/** Tells `tell` of about so many distinct blocks. */
export const generate = (blocks: number, tell: (delta: KvDelta) => void, seed = 1): Workload => {
  const random = Random.make(seed)
  const below = (limit: number): number => Math.floor(random() * limit)
  const fresh = (count: number): KeyLanes => {
    const keys = new Int32Array(2 * count)
    renew(keys, 0, count, random)
    return keys
  }
  const store = (worker: number, keys: KeyLanes, from: number, to: number): void =>
    tell({
      _tag: "Stored",
      worker,
      layer: 0,
      parent: from === 0 ? null : keys.subarray(2 * from - 2, 2 * from),
      keys: keys.subarray(2 * from, 2 * to)
    })

  const prompts = Array.from({ length: systems }, () => fresh(systemBlocks))
  for (const keys of prompts) for (let worker = 0; worker < workers; worker++) store(worker, keys, 0, systemBlocks)

  // Half of the blocks are of prompts that will be asked for.
  const count = Math.max(8, Math.floor(blocks / 2 / promptBlocks))
  const documentCount = Math.max(4, Math.floor(count / 8))
  const documents = Array.from({ length: documentCount }, (_, i) => {
    const keys = fresh(systemBlocks + documentBlocks)
    keys.set(prompts[below(systems)]!)
    const held = new Uint32Array(workers).fill(systemBlocks)
    const holders = Math.round(workers ** (i / (documentCount - 1)))
    const shift = below(workers)
    for (let j = 0; j < holders; j++) {
      const worker = (shift + j) % workers
      const end =
        systemBlocks + (random() < 0.5 ? documentBlocks : turnBlocks * (1 + below(documentBlocks / turnBlocks)))
      store(worker, keys, systemBlocks, end)
      held[worker] = end
    }
    return { keys, held }
  })
  const waiting: Array<Writing> = []
  const conversations = Array.from({ length: count }, (_, i) => {
    const document = i % 3 === 0 ? null : documents[below(documents.length)]!
    const keys = fresh(promptBlocks)
    const start = document === null ? systemBlocks : systemBlocks + documentBlocks
    keys.set(document === null ? prompts[below(systems)]! : document.keys)
    const held = document === null ? new Uint32Array(workers).fill(systemBlocks) : document.held.slice()
    let last: Writing | null = null
    for (let holders = 1 + below(3); holders > 0; holders--) {
      const worker = below(workers)
      const end = start + Math.floor((promptBlocks - start) * (holders === 1 ? 0.3 + 0.65 * random() : random()))
      if (end <= held[worker]!) continue
      const writing: Writing = {
        worker,
        keys,
        at: held[worker]!,
        end,
        step: last === null ? turnBlocks : chunkBlocks,
        next: null
      }
      if (last === null) waiting.push(writing)
      else last.next = writing
      last = writing
      held[worker] = end
      // Now it has all of the document, for other conversations too.
      if (document !== null) document.held[worker] = Math.max(document.held[worker]!, Math.min(start, end))
    }
    return { keys, held, document }
  })
  for (const { document, held } of conversations) {
    document?.held.forEach((depth, worker) => {
      if (depth > held[worker]!) held[worker] = depth
    })
  }
  // The other half: conversations nobody asks for again.
  const chains = Math.floor(blocks / 2 / (turnBlocks * (1 + turnsMax) * 0.5))
  const writing: Array<Writing> = []
  for (let left = chains; left > 0 || waiting.length > 0 || writing.length > 0; ) {
    if (writing.length < open && (left > 0 || waiting.length > 0)) {
      const asked = below(left + waiting.length) < waiting.length ? waiting.pop() : undefined
      if (asked !== undefined) writing.push(asked)
      else {
        const own = turnBlocks * (1 + below(turnsMax))
        const keys = fresh(systemBlocks + own)
        keys.set(prompts[below(systems)]!)
        writing.push({
          worker: below(workers),
          keys,
          at: systemBlocks,
          end: systemBlocks + own,
          step: turnBlocks,
          next: null
        })
        left--
      }
      continue
    }
    const pick = below(writing.length)
    const chain = writing[pick]!
    const to = Math.min(chain.end, chain.at + chain.step)
    store(chain.worker, chain.keys, chain.at, to)
    chain.at = to
    if (to !== chain.end) continue
    writing[pick] = chain.next ?? writing.at(-1)!
    if (chain.next === null) writing.pop()
  }
  return { conversations, random }
}
