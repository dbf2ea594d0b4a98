import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as LogEntry from "../../src/hot/LogEntry.ts"

const kinds = fc.constantFrom(LogEntry.BATCH, LogEntry.CONNECTED, LogEntry.DISCONNECTED)
const whole = fc.maxSafeNat()
const bytes = fc.uint8Array({ maxLength: 200 })

describe("LogEntry", () => {
  it("reads what it wrote, also in the midst of other bytes", () => {
    fc.assert(
      fc.property(kinds, whole, whole, bytes, fc.nat(40), (kind, epoch, seq, payload, before) => {
        const wire = LogEntry.encode(kind, epoch, seq, payload)
        const buffer = new Uint8Array(before + wire.length)
        buffer.set(wire, before)
        expect(LogEntry.decode(buffer.subarray(before))).toEqual({ kind, epoch, seq, payload })
      }),
      { seed: 1 }
    )
  })

  it("reads anything without throwing, and only what a version writes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (wire) => {
        const entry = LogEntry.decode(wire)
        if (entry === null) return
        expect(LogEntry.encode(entry.kind, entry.epoch, entry.seq, entry.payload)).toEqual(wire)
      }),
      { seed: 2, numRuns: 2_000 }
    )
    expect(LogEntry.decode(LogEntry.encode(LogEntry.BATCH, 1, 2).fill(2, 0, 1))).toBeNull()
    expect(LogEntry.decode(LogEntry.encode(LogEntry.BATCH, 1, 2).fill(3, 1, 2))).toBeNull()
  })

  it("names two batches alike only if they are one, of one owner", () => {
    const payload = Uint8Array.of(1, 2, 3)
    const id = LogEntry.idOf("w", 7, 5, payload)
    expect(LogEntry.idOf("w", 7, 5, payload.slice())).toBe(id)
    const others = [
      LogEntry.idOf("v", 7, 5, payload),
      LogEntry.idOf("w", 8, 5, payload),
      LogEntry.idOf("w", 7, 6, payload),
      LogEntry.idOf("w", 7, 5, Uint8Array.of(1, 2, 4))
    ]
    expect(new Set([id, ...others]).size).toBe(5)
  })
})
