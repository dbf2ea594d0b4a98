/** Lines: a file of JSON lines, gzip or plain, of any length, one line at a time. */
import { closeSync, createReadStream, openSync, readSync } from "node:fs"
import { PassThrough } from "node:stream"
import { pipeline } from "node:stream/promises"
import { createGunzip } from "node:zlib"
import { Line } from "./formats/Line.ts"
import { TraceError } from "./TraceError.ts"
import { unreadable } from "./TraceFile.ts"

/** Those that say something, until `on` answers false. Rejects with a `TraceError`. */
export const eachLine = async (file: string, on: (line: Line) => boolean): Promise<void> => {
  let number = 0
  let enough = false
  const take = (text: string): boolean => {
    number++
    enough = text.trim() !== "" && !on(new Line(file, number, text))
    return !enough
  }
  try {
    const unpacked = isGzip(file) ? createGunzip() : new PassThrough()
    await pipeline(createReadStream(file), unpacked, async (bytes: AsyncIterable<Buffer>) => {
      const decoder = new TextDecoder()
      let rest = ""
      for await (const chunk of bytes) {
        const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n")
        rest = lines.pop()!
        for (const line of lines) if (!take(line)) return
      }
      if (rest !== "") take(rest)
    })
  } catch (cause) {
    // Streams that are left half read say so.
    if (!enough) throw cause instanceof TraceError ? cause : unreadable(file, cause)
  }
}

const isGzip = (file: string): boolean => {
  const from = openSync(file, "r")
  try {
    const magic = Buffer.alloc(2)
    readSync(from, magic)
    return magic[0] === 0x1f && magic[1] === 0x8b
  } finally {
    closeSync(from)
  }
}
