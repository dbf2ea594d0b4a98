/**
 * MessagePack values read straight from their bytes. Every method answers "not mine" (`-1`, `false`, `undefined`) on what
 * it does not know; the position is then of no use. Checks before it reads that the bytes are there.
 */

const none = new Uint8Array(0)
/** Texts are remembered up to this length. */
const rememberedMax = 64

interface Remembered {
  readonly bytes: Uint8Array
  length: number
  text: string
}

export class Cursor {
  pos = 0
  end = 0
  protected bytes: Uint8Array = none
  private readonly remembered: ReadonlyArray<Remembered>

  /** `texts`: how many kinds of text are told apart, so that each is compared with the last of its kind. */
  constructor(texts: number) {
    this.remembered = Array.from({ length: texts }, () => ({
      bytes: new Uint8Array(rememberedMax),
      length: 0,
      text: ""
    }))
  }

  open(bytes: Uint8Array): void {
    this.bytes = bytes
    this.pos = 0
    this.end = bytes.length
  }

  /** Forgets the bytes, so that a pooled cursor keeps none alive. */
  close(): void {
    this.bytes = none
    this.end = 0
  }

  /** Elements of an array, after its head; -1 for no array, or one that cannot fit. */
  array(): number {
    return this.header(0x90, 0xdc)
  }

  /** Entries of a map, after its head; -1 for no map, or one that cannot fit. */
  map(): number {
    return this.header(0x80, 0xde)
  }

  private header(fix: number, wide: number): number {
    const { bytes, end, pos } = this
    if (pos >= end) return -1
    const head = bytes[pos]!
    let size = -1
    if ((head & 0xf0) === fix) {
      size = head & 0x0f
      this.pos = pos + 1
    } else if (head === wide && end - pos >= 3) {
      size = (bytes[pos + 1]! << 8) | bytes[pos + 2]!
      this.pos = pos + 3
    } else if (head === wide + 1 && end - pos >= 5) {
      size = ((bytes[pos + 1]! << 24) | (bytes[pos + 2]! << 16) | (bytes[pos + 3]! << 8) | bytes[pos + 4]!) >>> 0
      this.pos = pos + 5
    }
    return size <= end - this.pos ? size : -1
  }

  /** Whether a nil is next; it is passed then. */
  nil(): boolean {
    if (this.pos >= this.end || this.bytes[this.pos] !== 0xc0) return false
    this.pos++
    return true
  }

  /** An integer of 32 bits at most, or null for nil. */
  int(): number | null | undefined {
    const { bytes, end, pos } = this
    if (pos >= end) return undefined
    const head = bytes[pos]!
    const left = end - pos - 1
    if (head < 0x80 || head >= 0xe0) {
      this.pos = pos + 1
      return (head << 24) >> 24
    }
    switch (head) {
      case 0xc0:
        this.pos = pos + 1
        return null
      case 0xcc:
        this.pos = pos + 2
        return left < 1 ? undefined : bytes[pos + 1]!
      case 0xcd:
        this.pos = pos + 3
        return left < 2 ? undefined : (bytes[pos + 1]! << 8) | bytes[pos + 2]!
      case 0xce:
      case 0xd2: {
        this.pos = pos + 5
        if (left < 4) return undefined
        const bits = (bytes[pos + 1]! << 24) | (bytes[pos + 2]! << 16) | (bytes[pos + 3]! << 8) | bytes[pos + 4]!
        return head === 0xce ? bits >>> 0 : bits
      }
      case 0xd0:
        this.pos = pos + 2
        return left < 1 ? undefined : (bytes[pos + 1]! << 24) >> 24
      case 0xd1:
        this.pos = pos + 3
        return left < 2 ? undefined : ((bytes[pos + 1]! << 24) >> 16) | bytes[pos + 2]!
      default:
        return undefined
    }
  }

  /** A short ASCII text, or null for nil. */
  text(kind: number): string | null | undefined {
    if (this.nil()) return null
    const length = this.textHead()
    if (length < 0) return undefined
    const { bytes, pos } = this
    this.pos = pos + length
    const last = this.remembered[kind]!
    if (last.length === length && isSame(bytes, pos, last.bytes, length)) return last.text
    let text = ""
    for (let i = pos; i < pos + length; i++) {
      if (bytes[i]! >= 0x80) return undefined
      text += String.fromCharCode(bytes[i]!)
    }
    if (length <= rememberedMax) {
      for (let i = 0; i < length; i++) last.bytes[i] = bytes[pos + i]!
      last.length = length
      last.text = text
    }
    return text
  }

  /** Which of the names comes next, `guess` tried first; -1 when none of them does. */
  name(names: ReadonlyArray<Uint8Array>, guess: number): number {
    const length = this.textHead()
    if (length < 0) return -1
    const { bytes, pos } = this
    this.pos = pos + length
    if (guess < names.length && names[guess]!.length === length && isSame(bytes, pos, names[guess]!, length)) {
      return guess
    }
    for (let i = 0; i < names.length; i++) {
      if (names[i]!.length === length && isSame(bytes, pos, names[i]!, length)) return i
    }
    return -1
  }

  /** Bytes of the text that follows, all of them there; -1 for no short text. */
  private textHead(): number {
    const { bytes, end, pos } = this
    if (pos >= end) return -1
    const head = bytes[pos]!
    let length = -1
    if (head >= 0xa0 && head < 0xc0) {
      length = head & 0x1f
      this.pos = pos + 1
    } else if (head === 0xd9 && end - pos >= 2) {
      length = bytes[pos + 1]!
      this.pos = pos + 2
    }
    return length <= end - this.pos ? length : -1
  }

  /** A float of 64 bits. */
  float(): number | undefined {
    const { bytes, end, pos } = this
    if (end - pos < 9 || bytes[pos] !== 0xcb) return undefined
    for (let i = 0; i < 8; i++) floatBytes[i] = bytes[pos + 1 + i]!
    this.pos = pos + 9
    return floatView.getFloat64(0)
  }
}

const floatBytes = new Uint8Array(8)
const floatView = new DataView(floatBytes.buffer)

const isSame = (bytes: Uint8Array, at: number, name: Uint8Array, length: number): boolean => {
  for (let i = 0; i < length; i++) if (bytes[at + i] !== name[i]) return false
  return true
}
