/** A trace from a file, gzip or plain, in whichever format its first line is of. */
import { readFileSync } from "node:fs"
import { gunzipSync } from "node:zlib"
import * as Azure from "./formats/Azure.ts"
import * as Bailian from "./formats/Bailian.ts"
import * as CodingSessions from "./formats/CodingSessions.ts"
import type { Format } from "./formats/Format.ts"
import * as KvCacheTester from "./formats/KvCacheTester.ts"
import { Line } from "./formats/Line.ts"
import * as Mooncake from "./formats/Mooncake.ts"
import type { Trace } from "./Trace.ts"
import { TraceError } from "./TraceError.ts"

export const formats: ReadonlyArray<Format> = [
  Mooncake.format,
  Bailian.format,
  CodingSessions.format,
  KvCacheTester.format,
  Azure.format
]

const accepted = formats.map(({ name, looks }) => `${name} (${looks})`).join("; ")

export interface ReadOptions {
  /** Tokens that one id stands for, where the file does not say; null: as usual in its format. */
  readonly blockSize?: number | null
}

/** Throws a `TraceError`. Holds the text once, as bytes, and one line of it as objects. */
export const read = (file: string, { blockSize = null }: ReadOptions = {}): Trace => {
  const lines = linesOf(file, bytesOf(file))
  const first = lines.next()
  if (first.done === true) throw new TraceError({ file, line: null, found: "the file is empty", accepted })
  const format = formats.find(({ is }) => is(first.value))
  if (format === undefined) return first.value.fail(`no trace begins like this: ${first.value.start}`, accepted)
  return format.read(withFirst(first.value, lines), blockSize)
}

const bytesOf = (file: string): Buffer => {
  try {
    const bytes = readFileSync(file)
    return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes
  } catch (cause) {
    throw unreadable(file, cause)
  }
}

export const unreadable = (file: string, cause: unknown): TraceError => {
  const { code, message } = cause as NodeJS.ErrnoException
  const found =
    code === "ENOENT"
      ? "there is no such file"
      : code === "Z_BUF_ERROR"
        ? "the gzip file ends early, as after a download that broke off"
        : `it cannot be read: ${message}`
  return new TraceError({ file, line: null, found, accepted: "a whole file, gzip or plain" })
}

const newline = 0x0a

/** Not one string: a trace may be longer than the longest there is. */
function* linesOf(file: string, bytes: Buffer): Generator<Line> {
  let number = 0
  for (let from = 0; from < bytes.length; ) {
    const found = bytes.indexOf(newline, from)
    const to = found === -1 ? bytes.length : found
    const text = bytes.toString("utf8", from, to).trim()
    number++
    from = to + 1
    if (text !== "") yield new Line(file, number, text)
  }
}

function* withFirst(first: Line, rest: Iterable<Line>): Generator<Line> {
  yield first
  yield* rest
}
