import type { Trace } from "../Trace.ts"
import type { Line } from "./Line.ts"

/** One way to write a trace down. */
export interface Format {
  readonly name: string
  /** What tells it from the others, in its first line. */
  readonly looks: string
  readonly is: (first: Line) => boolean
  /** `blockSize`: tokens that one id stands for; null as usual in this format. Throws a `TraceError`. */
  readonly read: (lines: Iterable<Line>, blockSize: number | null) => Trace
}
