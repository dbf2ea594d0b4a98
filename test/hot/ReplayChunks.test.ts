import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { ReplayReader, ReplayWriter } from "../../src/hot/ReplayChunks.ts"

type Batch = readonly [seq: number, payload: Uint8Array]

const batches = fc.array(fc.tuple(fc.maxSafeNat(), fc.uint8Array({ maxLength: 100 })), { maxLength: 20 })

/** All chunks of an answer; a sign of life before each batch whose number is divisible by three. */
const written = (answer: ReadonlyArray<Batch>, bytesMax: number, end: (writer: ReplayWriter) => void) => {
  const chunks: Array<Uint8Array> = []
  const writer = new ReplayWriter(bytesMax, (chunk) => chunks.push(chunk))
  for (const [seq, payload] of answer) {
    if (seq % 3 === 0) writer.flush()
    writer.batch(seq, payload)
  }
  end(writer)
  return chunks
}

const read = (chunks: ReadonlyArray<Uint8Array>) => {
  const heard: Array<Batch> = []
  const reader = new ReplayReader((seq, payload) => heard.push([seq, payload]))
  for (const chunk of chunks) reader.read(chunk)
  return { heard, state: reader.state, reason: reader.reason }
}

describe("ReplayChunks", () => {
  it("brings every batch in order, whatever fits into a message", () => {
    fc.assert(
      fc.property(batches, fc.integer({ min: 5, max: 300 }), (answer, bytesMax) => {
        const chunks = written(answer, bytesMax, (writer) => writer.end())
        for (const chunk of chunks) expect(chunk.length).toBeLessThanOrEqual(bytesMax)
        expect(read(chunks)).toEqual({ heard: answer, state: "done", reason: "" })
      }),
      { seed: 1 }
    )
  })

  it("says why the engine failed, after what it had sent", () => {
    const answer: ReadonlyArray<Batch> = [[3, Uint8Array.of(1)]]
    const chunks = written(answer, 40, (writer) => writer.fail("nobody listens there"))
    expect(read(chunks)).toEqual({ heard: answer, state: "failed", reason: "nobody listens there" })
  })

  it("says that there is more to ask for", () => {
    const answer: ReadonlyArray<Batch> = [[3, Uint8Array.of(1)]]
    expect(read(written(answer, 40, (writer) => writer.more()))).toEqual({ heard: answer, state: "more", reason: "" })
  })

  it("notices a chunk that is missing, also the last", () => {
    fc.assert(
      fc.property(batches, fc.integer({ min: 5, max: 60 }), fc.nat(), (answer, bytesMax, any) => {
        const chunks = written(answer, bytesMax, (writer) => writer.end())
        const missing = any % chunks.length
        const { heard, state } = read(chunks.filter((_, i) => i !== missing))
        expect(state).not.toBe("done")
        expect(heard).toEqual(answer.slice(0, heard.length))
      }),
      { seed: 2 }
    )
  })

  it("reads anything without throwing", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }), (chunks) => {
        read(chunks)
        read(chunks.map((chunk, i) => Uint8Array.of(0, 0, 0, i, ...chunk)))
      }),
      { seed: 3, numRuns: 2_000 }
    )
  })
})
