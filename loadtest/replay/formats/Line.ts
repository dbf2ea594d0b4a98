import { TraceError } from "../TraceError.ts"

export type Fields = Readonly<Record<string, unknown>>

/** One line of a trace. */
export class Line {
  readonly file: string
  /** From 1. */
  readonly number: number
  readonly text: string
  #fields: Fields | null | undefined

  constructor(file: string, number: number, text: string) {
    this.file = file
    this.number = number
    this.text = text
  }

  fail(found: string, accepted: string): never {
    throw new TraceError({ file: this.file, line: this.number, found, accepted })
  }

  /** Enough of it to recognise. */
  get start(): string {
    return this.text.length > 60 ? `${this.text.slice(0, 60)}…` : this.text
  }

  /** What it says, if it is a JSON object. */
  get object(): Fields | null {
    if (this.#fields === undefined) this.#fields = parsed(this.text)
    return this.#fields
  }

  /** Whether it is a JSON object with all of these fields. */
  has(...names: ReadonlyArray<string>): boolean {
    const { object } = this
    return object !== null && names.every((name) => isThere(object[name]))
  }

  get fields(): Fields {
    return this.object ?? this.fail(`no JSON object, or half of one: ${this.start}`, "one JSON object per line")
  }
}

export const isThere = (value: unknown): boolean => value !== undefined && value !== null

const parsed = (text: string): Fields | null => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : null
  } catch {
    return null
  }
}
