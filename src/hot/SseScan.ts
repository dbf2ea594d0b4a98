/**
 * Watches an OpenAI answer pass by: when its first token came, how many records, what usage it reported. Answers that
 * are not what they claim to be simply tell less.
 *
 * First token = the first record that carries content, reasoning, text or a tool call; the role-only record before it
 * does not count.
 *
 * Asked to, it also says what of a stream is for a client that did not ask for usage: all but the record with usage and
 * no choices. Of a line that is not whole yet nothing is: no client can use half a line, and it may become that record.
 */
export interface Usage {
  readonly promptTokens: number
  readonly completionTokens: number
  /** Prompt tokens the engine found in its cache, or null when it does not report them. */
  readonly cachedTokens: number | null
}

/** Longest record kept while it is incomplete; a longer one is passed over. */
const recordBytesMax = 1 << 20
/** A whole answer's usage stands at its end: this much of the tail is kept. */
const tailBytesMax = 16 << 10

const empty = Buffer.alloc(0)
const newline = 0x0a
const carriageReturn = 0x0d
const usageKey = Buffer.from('"usage"')

export class SseScan {
  /** Data records seen, `[DONE]` not counted. One for a plain JSON answer. */
  records = 0
  firstToken = false
  usage: Usage | null = null
  private carry = empty
  private skipping = false
  /** The last whole line was not the blank one that ends a record. */
  private open = false
  /** The usage record was taken out, and the blank line after it is still to be. */
  private dropBlank = false
  readonly stream: boolean
  private readonly withoutUsage: boolean
  private passed: Buffer = empty

  constructor(stream: boolean, withoutUsage = false) {
    this.stream = stream
    this.withoutUsage = stream && withoutUsage
  }

  /** What a client has got so far ends inside a record. */
  get midRecord(): boolean {
    return this.stream && (this.open || this.skipping || (this.carry.length > 0 && !this.withoutUsage))
  }

  /** Payload bytes as they pass, in order, cut anywhere. True when this call saw the first token. */
  feed(chunk: Buffer): boolean {
    if (!this.stream) {
      this.carry = Buffer.concat([this.carry, chunk])
      if (this.carry.length > tailBytesMax) this.carry = Buffer.from(this.carry.subarray(-tailBytesMax))
      return false
    }
    const had = this.firstToken
    let bytes = chunk
    if (this.carry.length > 0) {
      bytes = Buffer.concat([this.carry, chunk])
      this.carry = empty
    }
    let start = 0
    // What passes: `before`, then what of `bytes` comes after `kept`.
    let kept = 0
    let before: Buffer = empty
    for (let end = bytes.indexOf(newline, start); end !== -1; end = bytes.indexOf(newline, start)) {
      const blank = end === start || (end === start + 1 && bytes[start] === carriageReturn)
      const dropped = this.skipping ? false : blank ? this.dropBlank : this.line(bytes, start, end) && this.withoutUsage
      if (dropped) {
        before = kept === start ? before : Buffer.concat([before, bytes.subarray(kept, start)])
        kept = end + 1
        // A line before it in the same record went on, and so must that record's end.
        this.dropBlank = !blank && !this.open
      } else {
        this.dropBlank = false
        this.open = this.skipping || !blank
      }
      this.skipping = false
      start = end + 1
    }
    if (start < bytes.length && !this.skipping) {
      if (bytes.length - start > recordBytesMax) this.skipping = true
      // Copied: the chunk may lie in a buffer its reader reuses.
      else this.carry = Buffer.from(bytes.subarray(start))
    }
    if (this.withoutUsage) {
      const rest = bytes.subarray(kept, this.skipping ? bytes.length : start)
      this.passed = before.length === 0 ? rest : Buffer.concat([before, rest])
    }
    return this.firstToken && !had
  }

  /**
   * With `withoutUsage`: what the last `feed` or `end` lets through. Valid as long as the bytes it was fed, and not kept:
   * a few bytes would hold the whole buffer they lie in while the stream is silent.
   */
  take(): Buffer {
    const { passed } = this
    this.passed = empty
    return passed
  }

  /** No more will come. The last line of a stream may lack its end; a plain JSON answer tells its usage now. */
  end(): void {
    const { carry } = this
    if (this.stream) {
      const dropped = carry.length > 0 && this.line(carry, 0, carry.length) && this.withoutUsage
      if (this.withoutUsage) this.passed = dropped ? empty : carry
      this.carry = empty
      return
    }
    this.records = 1
    this.firstToken = carry.length > 0
    this.usage = usageAtEnd(carry)
  }

  /** True for a record of usage and no choices. */
  private line(bytes: Buffer, start: number, end: number): boolean {
    // Whether it came whole or in pieces must not tell.
    if (end - start > recordBytesMax) return false
    // `data:` and whatever follows; comments, event names and blank lines are not records.
    if (bytes[start] !== 0x64 || bytes.toString("latin1", start, start + 5) !== "data:") return false
    const at = start + 5
    if (
      bytes
        .toString("latin1", at, Math.min(end, at + 8))
        .trim()
        .startsWith("[DONE]")
    )
      return false
    this.records++
    const usage = bytes.subarray(at, end).includes(usageKey)
    if (this.firstToken && !usage) return false
    const record = parse(bytes.toString("utf8", at, end))
    if (record === undefined) return false
    if (!this.firstToken) this.firstToken = carriesToken(record)
    const read = usage ? readUsage(record["usage"]) : null
    if (read === null) return false
    this.usage = read
    const choices = record["choices"]
    return Array.isArray(choices) && choices.length === 0
  }
}

/** The last `"usage": {…}` of an answer of which only the tail may be there. */
const usageAtEnd = (tail: Buffer): Usage | null => {
  for (let at = tail.lastIndexOf(usageKey); at !== -1; at = at === 0 ? -1 : tail.lastIndexOf(usageKey, at - 1)) {
    const colon = afterBlanks(tail, at + usageKey.length)
    // A text that happens to say so is no key.
    if (tail[colon] !== 0x3a) continue
    const open = afterBlanks(tail, colon + 1)
    // Null, say; the next brace would open something else.
    if (tail[open] !== 0x7b) return null
    const end = objectEnd(tail, open)
    return end === -1 ? null : readUsage(parse(tail.toString("utf8", open, end)))
  }
  return null
}

/** Where the object that opens at `open` ends; -1 when it does not. Braces in texts are none. */
const objectEnd = (bytes: Buffer, open: number): number => {
  let depth = 0
  let text = false
  for (let i = open; i < bytes.length; i++) {
    const byte = bytes[i]
    if (byte === 0x22) text = !text
    else if (text) {
      if (byte === 0x5c) i++
    } else if (byte === 0x7b) depth++
    else if (byte === 0x7d && --depth === 0) return i + 1
  }
  return -1
}

const afterBlanks = (bytes: Buffer, from: number): number => {
  let at = from
  while (bytes[at] === 0x20 || (bytes[at]! >= 0x09 && bytes[at]! <= 0x0d)) at++
  return at
}

const parse = (text: string): Record<string, unknown> | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

const filled = (value: unknown): boolean =>
  (typeof value === "string" && value !== "") || (Array.isArray(value) && value.length > 0)

const carriesToken = (record: Record<string, unknown>): boolean => {
  const choices = record["choices"]
  if (!Array.isArray(choices)) return false
  for (const choice of choices as ReadonlyArray<Record<string, unknown> | null | undefined>) {
    if (choice === null || choice === undefined) continue
    if (filled(choice["text"])) return true
    const delta = choice["delta"] as Record<string, unknown> | null | undefined
    if (!delta) continue
    if (filled(delta["content"]) || filled(delta["reasoning"]) || filled(delta["reasoning_content"])) return true
    if (filled(delta["tool_calls"])) return true
  }
  return false
}

/** A number too large for JSON parses as infinite, and one such would spoil every average for good. */
const isCount = (value: unknown): value is number => typeof value === "number" && value >= 0 && Number.isFinite(value)

const count = (value: unknown): number => (isCount(value) ? value : 0)

const readUsage = (value: unknown): Usage | null => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null
  const usage = value as Record<string, unknown>
  const details = usage["prompt_tokens_details"] as Record<string, unknown> | null | undefined
  const cached = details?.["cached_tokens"]
  return {
    promptTokens: count(usage["prompt_tokens"]),
    completionTokens: count(usage["completion_tokens"]),
    cachedTokens: isCount(cached) ? cached : null
  }
}
