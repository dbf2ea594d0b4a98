/** ConfigKnob: what a knob of the configuration is, and the usual kinds of them. */
import { Schema } from "effect"

export interface Knob<A> {
  readonly schema: Schema.Decoder<A>
  readonly fallback: A
  readonly unit: string
  /** What it is; why that default. */
  readonly why: string
  readonly live: boolean
  readonly env: string | null
  /** From what a person may write to what the schema takes. */
  readonly shape: (input: unknown) => unknown
}

interface Extras {
  readonly unit?: string
  readonly live?: boolean
  readonly env?: string
  readonly shape?: (input: unknown) => unknown
}

export const knob = <A>(schema: Schema.Decoder<A>, fallback: A, why: string, extras: Extras = {}): Knob<A> => ({
  schema,
  fallback,
  why,
  unit: extras.unit ?? "",
  live: extras.live ?? false,
  env: extras.env ?? null,
  shape: extras.shape ?? ((input) => input)
})

export const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
const day = 86_400_000
export const ms = (fallback: number, why: string, minimum = 1) =>
  knob(between(minimum, day), fallback, why, { unit: "ms" })
export const bytes = (fallback: number, why: string, minimum = 1) =>
  knob(between(minimum, Number.MAX_SAFE_INTEGER), fallback, why, { unit: "bytes" })
export const KiB = 1024
export const MiB = 1024 * KiB

/** An environment variable or a flag is text; where a number is wanted, text that is one counts. */
export const numeric = (input: unknown): unknown =>
  typeof input === "string" && /^-?\d+(\.\d+)?$/.test(input.trim()) ? Number(input) : input

/** A list, or text with commas. */
export const listed = (input: unknown): unknown =>
  typeof input === "string"
    ? input
        .split(",")
        .map((part) => part.trim())
        .filter((part) => part !== "")
    : input
