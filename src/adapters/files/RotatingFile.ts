/**
 * RotatingFile: lines added to a file, which is set aside once it is large; so many of those are kept, the newest as
 * `FILE.1`. They are not packed: that would take the router longer than all else that is done for a receipt.
 *
 * Nothing here waits for a disk: lines that it has not taken yet are kept up to a bound, then the oldest are dropped and
 * counted. When writing fails it is begun anew every few seconds; what was being written then counts as dropped.
 */
import { closeSync, fstatSync, openSync, readSync, statfsSync } from "node:fs"
import { dirname } from "node:path"
import { createStream, type RotatingFileStream } from "rotating-file-stream"

export interface Options {
  readonly file: string
  /** Size from which it is set aside. */
  readonly bytesMax: number
  /** Set-aside files kept. */
  readonly kept: number
  /** Bytes that may wait for the disk. */
  readonly waitingBytesMax: number
  /** From a failure to the next attempt. */
  readonly retryMs: number
  /** Hears why it cannot be written, and "" when it can again; not twice the same. */
  readonly changed: (why: string) => void
}

export interface RotatingFile {
  readonly put: (lines: ReadonlyArray<string>) => void
  readonly counts: () => { readonly written: number; readonly dropped: number }
  /** Writes what waits, as long as it takes; then what cannot be written is dropped. */
  readonly close: () => Promise<void>
}

/** Written at once: by so much a file may be larger than it should. */
const chunkBytes = 64 * 1024

const newline = 0x0a

/** Why the file cannot be added to, and what to do; null when it can. Makes it where it is not there. */
export const problem = (file: string): string | null => {
  try {
    const to = openSync(file, "a")
    try {
      if (!fstatSync(to).isFile()) return `${file} is not a file: name one that is, or that is still to be made.`
    } finally {
      closeSync(to)
    }
    const { bavail } = statfsSync(dirname(file))
    return bavail > 0 ? null : `The disk of ${file} is full: make room, or name a file on another.`
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === "ENOENT") return `There is no folder ${dirname(file)} for ${file}: make it, or name another file.`
    if (code === "EISDIR") return `${file} is a folder: name a file in it.`
    return `${file} cannot be written (${message}): give this user the right to, or name another file.`
  }
}

/** A line that broke off, as when a disk was full, must not spoil the next one. */
const endsWithinLine = (file: string): boolean => {
  try {
    const from = openSync(file, "r")
    try {
      const { size } = fstatSync(from)
      const last = Buffer.alloc(1)
      return size > 0 && readSync(from, last, 0, 1, size - 1) === 1 && last[0] !== newline
    } finally {
      closeSync(from)
    }
  } catch {
    return false
  }
}

export const make = ({ bytesMax, changed, file, kept, retryMs, waitingBytesMax }: Options): RotatingFile => {
  let stream: RotatingFileStream | null = null
  let waiting: Array<string> = []
  /** As if all were ASCII, as nearly all is. */
  let waitingBytes = 0
  /** The file ends within a line. */
  let torn = false
  /** Lines wait until it is open: they may still be written then, if it cannot be opened now. */
  let isOpen = false
  let writing = false
  let ending = false
  let why = ""
  let written = 0
  let dropped = 0
  let retry: NodeJS.Timeout | undefined
  let idle: (() => void) | null = null

  const tell = (error: NodeJS.ErrnoException | null): void => {
    // The same failure is worded by what was tried just then.
    const now = error === null ? "" : (error.code ?? error.message)
    if (now === why) return
    why = now
    changed(error?.message ?? "")
  }

  const open = (): void => {
    torn = endsWithinLine(file)
    const opened = createStream((index) => (index === null ? file : `${file}.${index}`), {
      size: `${bytesMax}B`,
      rotate: kept
    })
    stream = opened
    // Told by the callback of the write that it failed, too.
    opened.on("error", (error) => opened === stream && fail(error))
    opened.on("open", () => {
      if (opened !== stream) return
      isOpen = true
      write()
    })
  }

  const fail = (error: Error): void => {
    stream?.destroy()
    stream = null
    isOpen = false
    tell(error)
    if (ending) return giveUp()
    clearTimeout(retry)
    retry = setTimeout(open, retryMs).unref()
  }

  const giveUp = (): void => {
    dropped += waiting.length
    waiting = []
    idle?.()
  }

  /** Lines that are written together. */
  const take = (): ReadonlyArray<string> => {
    let bytes = 0
    let count = 0
    while (count < waiting.length && (count === 0 || bytes + waiting[count]!.length <= chunkBytes)) {
      bytes += waiting[count++]!.length
    }
    waitingBytes -= bytes
    return waiting.splice(0, count)
  }

  const write = (): void => {
    if (writing || !isOpen || stream === null) return
    if (waiting.length === 0) return idle?.()
    const to = stream
    const lines = take()
    writing = true
    to.write((torn ? "\n" : "") + lines.join(""), (error) => {
      writing = false
      if (error) {
        dropped += lines.length
        if (to === stream) fail(error)
        return
      }
      torn = false
      written += lines.length
      tell(null)
      write()
    })
  }

  open()
  return {
    put: (lines) => {
      for (const line of lines) {
        waiting.push(`${line}\n`)
        waitingBytes += line.length + 1
      }
      let over = 0
      while (waitingBytes > waitingBytesMax && over < waiting.length) waitingBytes -= waiting[over++]!.length
      waiting.splice(0, over)
      dropped += over
      write()
    },
    counts: () => ({ written, dropped }),
    close: async () => {
      ending = true
      clearTimeout(retry)
      await new Promise<void>((resolve) => {
        idle = resolve
        if (stream === null) giveUp()
        else write()
      })
      const last = stream
      stream = null
      await new Promise<void>((resolve) => (last === null ? resolve() : last.end(resolve)))
    }
  }
}
