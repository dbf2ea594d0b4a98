/** LogLine: one line of the log, and how it looks. Pure. */
import { Cause, Formatter, type Logger, References } from "effect"
import type { Colors } from "picocolors/types.js"

export interface LogLine {
  readonly atMs: number
  readonly level: "trace" | "debug" | "info" | "warn" | "error" | "fatal"
  readonly message: string
  /** What it is about, as data: `requestId`, `traceId`, and annotations. */
  readonly fields: Readonly<Record<string, unknown>>
  /** Stacks, or null. */
  readonly cause: string | null
}

/** A stack begins with the error's name and message; errors without one have those alone. */
const stackOf = (error: Error): string => error.stack ?? `${error.name}: ${error.message}`

/** Of a message, and of what is beside it, characters: an engine may answer with megabytes, and causes have causes. */
const messageMax = 8_192
const causeMax = 32_768

const bounded = (text: string, most: number): string =>
  text.length <= most ? text : `${text.slice(0, most)}… (${text.length - most} characters more)`

const textOf = (part: unknown): string => (typeof part === "string" ? part : Formatter.format(part))

/** What is logged may be text, values, errors and causes, in any order. */
export const of = ({ cause, date, fiber, logLevel, message }: Logger.Options<unknown>): LogLine => {
  const parts = Array.isArray(message) ? message : [message]
  const stacks = parts.filter((part) => part instanceof Error).map(stackOf)
  if (cause.reasons.length > 0) stacks.push(Cause.pretty(cause))
  const text = parts
    .filter((part) => !(part instanceof Error))
    .map(textOf)
    .join(" ")
  return {
    atMs: date.getTime(),
    level: logLevel.toLowerCase() as LogLine["level"],
    message: bounded(text !== "" ? text : (stacks[0]?.split("\n", 1)[0] ?? ""), messageMax),
    fields: { ...fiber.getRef(References.CurrentLogAnnotations) },
    cause: stacks.length === 0 ? null : bounded(stacks.join("\n"), causeMax)
  }
}

/** One object, on one line. A field does not hide what every line has. */
export const json = ({ atMs, cause, fields, level, message }: LogLine): string =>
  Formatter.formatJson({
    time: new Date(atMs).toISOString(),
    level,
    message,
    ...Object.fromEntries(
      Object.entries(fields).filter(([name]) => !["time", "level", "message", "cause"].includes(name))
    ),
    ...(cause === null ? {} : { cause })
  })

const two = (value: number): string => String(value).padStart(2, "0")

const clock = (atMs: number): string => {
  const date = new Date(atMs)
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}

/** What engines and clients wrote commands no terminal: all but line breaks and tabs of control characters is shown as such. */
const clean = (text: string): string => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "�")

/** For people: local time, and what is beside the message after or under it. */
export const pretty = ({ atMs, cause, fields, level, message }: LogLine, colors: Colors): string => {
  const color = {
    trace: colors.gray,
    debug: colors.blue,
    info: colors.green,
    warn: colors.yellow,
    error: colors.red,
    fatal: colors.red
  }[level]
  const shown = Object.entries(fields)
    .map(([name, value]) => ` ${name}=${clean(textOf(value))}`)
    .join("")
  const under = cause === null ? "" : `\n${colors.gray(clean(cause).replace(/^/gm, "  "))}`
  return `${colors.gray(clock(atMs))} ${color(level.toUpperCase().padEnd(5))} ${clean(message)}${shown === "" ? "" : colors.gray(shown)}${under}`
}
