/**
 * Names that this version does not know, as one batch showed them. They come from the wire and end in logs and labels:
 * so they are short, few and printable.
 */
const lengthMax = 64
const countMax = 16
const none: ReadonlyArray<string> = Object.freeze([])

/** At most 64 characters of printable ASCII; what is not becomes `?`. */
export const printable = (text: string): string => text.slice(0, lengthMax).replace(/[^\x20-\x7e]/g, "?")

export class Names {
  private readonly seen = new Set<string>()

  add(kind: "event" | "field" | "medium", name: string): void {
    if (this.seen.size < countMax) this.seen.add(`${kind} ${printable(name)}`)
  }

  get full(): boolean {
    return this.seen.size === countMax
  }

  /** Each name once; the same empty array every time there are none. */
  get list(): ReadonlyArray<string> {
    return this.seen.size === 0 ? none : [...this.seen]
  }
}
