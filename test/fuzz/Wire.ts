/**
 * MessagePack as no engine writes it, but any might: every integer, text, byte string and container in a width drawn by
 * lot, floats where integers are whole.
 */
import type { Random } from "../../loadtest/Random.ts"

/** A MessagePack extension: a type and its bytes. */
export class Ext {
  readonly type: number
  readonly data: Uint8Array
  constructor(type: number, data: Uint8Array) {
    this.type = type
    this.data = data
  }
}

/** A map whose keys may be of any kind, in order, repeated or not. */
export class Entries {
  readonly list: ReadonlyArray<readonly [unknown, unknown]>
  constructor(list: ReadonlyArray<readonly [unknown, unknown]>) {
    this.list = list
  }
}

/** `odd`: the chance, per value, of a width other than the shortest. */
export const encodeOddly = (value: unknown, random: Random, odd: number): Buffer => {
  const out: Array<number> = []
  const push = (value: unknown): void => {
    const strange = random() < odd
    if (value === null || value === undefined) out.push(0xc0)
    else if (typeof value === "boolean") out.push(value ? 0xc3 : 0xc2)
    else if (typeof value === "number" && (!Number.isSafeInteger(value) || (strange && random() < 0.3))) float(value)
    else if (typeof value === "number" || typeof value === "bigint") whole(BigInt(value), strange)
    else if (typeof value === "string") {
      const bytes = Buffer.from(value)
      if (!strange && bytes.length < 32) out.push(0xa0 | bytes.length)
      else head(0xd9, bytes.length, strange, 1)
      append(bytes)
    } else if (value instanceof Uint8Array) {
      head(0xc4, value.length, strange, 1)
      append(value)
    } else if (value instanceof Ext) {
      head(0xc7, value.data.length, strange, 1)
      out.push(value.type & 255)
      append(value.data)
    } else if (Array.isArray(value)) {
      if (!strange && value.length < 16) out.push(0x90 | value.length)
      else head(0xdc, value.length, strange, 2)
      for (const element of value) push(element)
    } else {
      const list = value instanceof Entries ? value.list : Object.entries(value)
      if (!strange && list.length < 16) out.push(0x80 | list.length)
      else head(0xde, list.length, strange, 2)
      for (const [name, field] of list) {
        push(name)
        push(field)
      }
    }
  }
  const append = (bytes: Uint8Array): void => {
    for (const byte of bytes) out.push(byte)
  }
  const number = (value: bigint, bytes: number): void => {
    for (let i = bytes - 1; i >= 0; i--) out.push(Number((value >> BigInt(i * 8)) & 255n))
  }
  const float = (value: number): void => {
    const bytes = Buffer.alloc(8)
    bytes.writeDoubleBE(value)
    out.push(0xcb)
    append(bytes)
  }
  /** The head of something with a length: `narrowest` bytes wide or, by lot, wider. */
  const head = (first: number, length: number, strange: boolean, narrowest: number): void => {
    const needed = length > 0xffff ? 4 : length > 0xff ? Math.max(2, narrowest) : narrowest
    const width = strange && needed < 4 ? needed * 2 : needed
    out.push(first + Math.log2(width / narrowest))
    number(BigInt(length), width)
  }
  const whole = (value: bigint, strange: boolean): void => {
    if (value >= 0n && value < 128n && !strange) return void out.push(Number(value))
    if (value < 0n && value >= -32n && !strange) return void out.push(Number(value + 256n))
    const needed = [1, 2, 4, 8].find((bytes) =>
      value >= 0n ? value < 1n << BigInt(bytes * 8) : value >= -(1n << BigInt(bytes * 8 - 1))
    )!
    const bytes = strange ? ([1, 2, 4, 8].findLast((width) => width >= needed && random() < 0.7) ?? needed) : needed
    const signed = value < 0n || (strange && value < 1n << BigInt(bytes * 8 - 1) && random() < 0.5)
    out.push((signed ? 0xd0 : 0xcc) + Math.log2(bytes))
    number(BigInt.asUintN(64, value), bytes)
  }
  push(value)
  return Buffer.from(out)
}
