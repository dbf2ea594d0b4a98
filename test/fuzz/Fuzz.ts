/**
 * Damaged bytes into the decoder of KV events and into the scanner of answers: nothing but the documented error is
 * thrown, what is read is never wrong, and memory does not grow. Every iteration has its own seed, so that one can be
 * run again alone.
 */
import { readFileSync } from "node:fs"
import * as Random from "../../loadtest/Random.ts"
import { batchOf, pick } from "./Batches.ts"
import { checkFrame } from "./Frames.ts"
import { mutate } from "./Mutate.ts"
import { answerOf, checkStream, streamOf } from "./Streams.ts"

const vectors: { readonly cases: ReadonlyArray<{ readonly frames: { readonly payload: string } }> } = JSON.parse(
  readFileSync(new URL("../support/vectors/vllm-kv-events.json", import.meta.url), "utf8")
)
const payloads = vectors.cases.map(({ frames }) => Buffer.from(frames.payload, "hex"))

/** Growth of what is held, at most; it is under a megabyte. */
const heldBytesMax = 16 << 20
/** The process at its largest: a length that was believed shows here, even if what it cost was given back. */
const rssBytesMax = 1 << 30
const bytesPerSample = 2_000_000

export interface Options {
  /** Bytes after damage: as many into the decoder as into the scanner, or more. */
  readonly bytes: number
  readonly seed: number
  /** Collects garbage, so that memory can be judged; without it, it is not. */
  readonly gc?: (() => void) | undefined
  readonly progress?: (counts: Counts) => void
}

export interface Counts {
  iterations: number
  /** Bytes into the decoder of KV events. */
  frameBytes: number
  /** Bytes into the scanner of answers. */
  answerBytes: number
  frames: number
  /** Frames that were a batch in spite of the damage, and how many of these the scanner read. */
  batches: number
  scanned: number
  /** Blocks compared in them. */
  blocks: number
  streams: number
  answers: number
  /** Most bytes held beyond the first sample, after collecting garbage. */
  grownBytes: number
  /** The process at its largest. */
  rssBytes: number
}

export const noCounts = (): Counts => ({
  iterations: 0,
  frameBytes: 0,
  answerBytes: 0,
  frames: 0,
  batches: 0,
  scanned: 0,
  blocks: 0,
  streams: 0,
  answers: 0,
  grownBytes: 0,
  rssBytes: 0
})

/** Throws an Error with seed, iteration, bytes and the command that replays it. */
export const run = ({ bytes, gc, progress, seed }: Options): Counts => {
  const counts = noCounts()
  let held = Number.NaN
  for (let sample = bytesPerSample; Math.min(counts.frameBytes, counts.answerBytes) < bytes; counts.iterations++) {
    iterate(seed, counts.iterations, counts)
    if (counts.frameBytes + counts.answerBytes < sample) continue
    sample += bytesPerSample
    progress?.(counts)
    if (gc === undefined) continue
    // Twice: buffers of what the first collected are given back by the second.
    gc()
    gc()
    const { external, heapUsed } = process.memoryUsage()
    const now = heapUsed + external
    counts.rssBytes = process.resourceUsage().maxRSS * 1024
    if (Number.isNaN(held)) held = now
    counts.grownBytes = Math.max(counts.grownBytes, now - held)
    if (counts.grownBytes > heldBytesMax || counts.rssBytes > rssBytesMax) {
      throw new Error(
        `After ${counts.iterations} iterations of seed ${seed}, ${counts.grownBytes} bytes more are held than at first; ` +
          `the process had ${counts.rssBytes} bytes at most`
      )
    }
  }
  return counts
}

/** One iteration, alone. */
export const iterate = (seed: number, iteration: number, counts: Counts): void => {
  const random = Random.make(Random.mix(0, [seed, iteration]))
  const kind = pick(random, ["frame", "frame", "frame", "stream", "stream", "answer"] as const)
  const pristine =
    kind === "frame"
      ? random() < 0.5
        ? pick(random, payloads)
        : batchOf(random)
      : kind === "stream"
        ? streamOf(random)
        : answerOf(random)
  // Some as they are: damage must not be all that is ever seen.
  const bytes = random() < 0.1 ? pristine : mutate(pristine, pick(random, payloads), random)
  if (kind === "frame") counts.frameBytes += bytes.length
  else counts.answerBytes += bytes.length
  try {
    if (kind === "frame") {
      const { batch, blocks, scanned } = checkFrame(bytes)
      counts.frames++
      if (batch) counts.batches++
      if (scanned) counts.scanned++
      counts.blocks += blocks
    } else {
      checkStream(bytes, kind === "stream", random)
      if (kind === "stream") counts.streams++
      else counts.answers++
    }
  } catch (error) {
    const hex = bytes.toString("hex", 0, 4_096)
    const rest = bytes.length > 4_096 ? ` and ${bytes.length - 4_096} bytes more` : ""
    throw new Error(
      `Seed ${seed}, iteration ${iteration}, a ${kind} of ${bytes.length} bytes: ${error instanceof Error ? error.stack : error}\n` +
        `bytes: ${hex}${rest}\nreplay: node test/fuzz/main.ts --seed ${seed} --iteration ${iteration}`,
      { cause: error }
    )
  }
}
