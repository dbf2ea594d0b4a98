// XXH3-64 (seeded), and chains of it over fixed runs of bytes, in AssemblyScript.
//
// Source: Cyan4973/xxHash, doc/xxhash_spec.md and xxhash.h (scalar paths), all lengths, default secret.
// `test/support/Xxh3Build.ts` compiles this file into `../Xxh3Wasm.ts`; a test checks that the two agree.
//
// Memory is fixed: callers copy at most `inputBytes` in, call once, and read keys out. No allocation, no traps.

const P32_1: u64 = 0x9E3779B1
const P32_2: u64 = 0x85EBCA77
const P32_3: u64 = 0xC2B2AE3D
const P64_1: u64 = 0x9E3779B185EBCA87
const P64_2: u64 = 0xC2B2AE3D27D4EB4F
const P64_3: u64 = 0x165667B19E3779F9
const P64_4: u64 = 0x85EBCA77C2B2AE63
const P64_5: u64 = 0x27D4EB2F165667C5
const MX1: u64 = 0x165667919E3779F9
const MX2: u64 = 0x9FB21C651E98DF25

const secret: usize = memory.data<u8>([
  0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
  0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
  0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
  0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
  0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
  0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
  0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
  0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
  0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
  0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
  0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
  0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e
], 8)

const custom: usize = memory.data(192, 8)
const pair: usize = memory.data(16, 8)

/** Bytes one call may take: 16 384 tokens. */
export const inputBytes: i32 = 65536
/** Bytes to hash, back to back. */
export const input: usize = memory.data(65536, 8)
/** One 64-bit word per block, folded into its local hash; zero leaves it alone. */
export const extra: usize = memory.data(131072, 8)
/** One 64-bit key per block. */
export const output: usize = memory.data(131072, 8)

let seed: u64 = 0
/** Key of the block before the next one. */
let previous: u64 = 0

// @ts-ignore: decorator
@inline function lanes(lo: i32, hi: i32): u64 {
  return <u64>(<u32>lo) | (<u64>(<u32>hi) << 32)
}

// @ts-ignore: decorator
@inline function fold(a: u64, b: u64): u64 {
  const a0 = a & 0xffffffff, a1 = a >> 32, b0 = b & 0xffffffff, b1 = b >> 32
  const low = a0 * b0, cross1 = a1 * b0, cross2 = a0 * b1
  const middle = (low >> 32) + (cross1 & 0xffffffff) + cross2
  return ((middle << 32) | (low & 0xffffffff)) ^ (a1 * b1 + (cross1 >> 32) + (middle >> 32))
}

// @ts-ignore: decorator
@inline function avalanche(h: u64): u64 {
  h ^= h >> 37
  h *= MX1
  return h ^ (h >> 32)
}

// @ts-ignore: decorator
@inline function avalanche64(h: u64): u64 {
  h ^= h >> 33
  h *= P64_2
  h ^= h >> 29
  h *= P64_3
  return h ^ (h >> 32)
}

// @ts-ignore: decorator
@inline function mix16(p: usize, s: usize): u64 {
  return fold(load<u64>(p) ^ (load<u64>(s) + seed), load<u64>(p, 8) ^ (load<u64>(s, 8) - seed))
}

function upTo16(p: usize, length: usize): u64 {
  if (length > 8) {
    const low = load<u64>(p) ^ ((load<u64>(secret, 24) ^ load<u64>(secret, 32)) + seed)
    const high = load<u64>(p + length - 8) ^ ((load<u64>(secret, 40) ^ load<u64>(secret, 48)) - seed)
    return avalanche(<u64>length + bswap<u64>(low) + high + fold(low, high))
  }
  if (length >= 4) {
    const mixed = seed ^ (<u64>bswap<u32>(<u32>seed) << 32)
    const word = <u64>load<u32>(p + length - 4) + (<u64>load<u32>(p) << 32)
    let h = word ^ ((load<u64>(secret, 8) ^ load<u64>(secret, 16)) - mixed)
    h ^= rotl<u64>(h, 49) ^ rotl<u64>(h, 24)
    h *= MX2
    h ^= (h >> 35) + <u64>length
    h *= MX2
    return h ^ (h >> 28)
  }
  if (length > 0) {
    const word = (<u32>load<u8>(p) << 16) | (<u32>load<u8>(p + (length >> 1)) << 24) | <u32>load<u8>(p + length - 1) | (<u32>length << 8)
    return avalanche64(<u64>word ^ (<u64>(load<u32>(secret) ^ load<u32>(secret, 4)) + seed))
  }
  return avalanche64(seed ^ load<u64>(secret, 56) ^ load<u64>(secret, 64))
}

function upTo128(p: usize, length: usize): u64 {
  let acc: u64 = <u64>length * P64_1
  const end = p + length
  if (length > 32) {
    if (length > 64) {
      if (length > 96) acc += mix16(p + 48, secret + 96) + mix16(end - 64, secret + 112)
      acc += mix16(p + 32, secret + 64) + mix16(end - 48, secret + 80)
    }
    acc += mix16(p + 16, secret + 32) + mix16(end - 32, secret + 48)
  }
  return avalanche(acc + mix16(p, secret) + mix16(end - 16, secret + 16))
}

function upTo240(p: usize, length: usize): u64 {
  let acc: u64 = <u64>length * P64_1
  for (let i: usize = 0; i < 128; i += 16) acc += mix16(p + i, secret + i)
  acc = avalanche(acc)
  const whole = length & ~15
  for (let i: usize = 128; i < whole; i += 16) acc += mix16(p + i, secret + i - 125)
  return avalanche(acc + mix16(p + length - 16, secret + 119))
}

// @ts-ignore: decorator
@inline function lane(acc: u64, word: u64, key: u64, neighbour: u64): u64 {
  const keyed = word ^ key
  return acc + neighbour + (keyed & 0xffffffff) * (keyed >> 32)
}

// @ts-ignore: decorator
@inline function scramble(acc: u64, key: u64): u64 {
  return (acc ^ (acc >> 47) ^ key) * P32_1
}

function long(p: usize, length: usize): u64 {
  let a0 = P32_3, a1 = P64_1, a2 = P64_2, a3 = P64_3, a4 = P64_4, a5 = P32_2, a6 = P64_5, a7 = P32_1
  // Stripes of 64 bytes, sixteen to a scramble; the last stripe overlaps and has its own key.
  const stripes = (length - 1) >> 6
  for (let n: usize = 0; n <= stripes; n++) {
    const last = n == stripes
    const q = last ? p + length - 64 : p + (n << 6)
    const s = last ? custom + 121 : custom + ((n & 15) << 3)
    const w0 = load<u64>(q), w1 = load<u64>(q, 8), w2 = load<u64>(q, 16), w3 = load<u64>(q, 24)
    const w4 = load<u64>(q, 32), w5 = load<u64>(q, 40), w6 = load<u64>(q, 48), w7 = load<u64>(q, 56)
    a0 = lane(a0, w0, load<u64>(s), w1)
    a1 = lane(a1, w1, load<u64>(s, 8), w0)
    a2 = lane(a2, w2, load<u64>(s, 16), w3)
    a3 = lane(a3, w3, load<u64>(s, 24), w2)
    a4 = lane(a4, w4, load<u64>(s, 32), w5)
    a5 = lane(a5, w5, load<u64>(s, 40), w4)
    a6 = lane(a6, w6, load<u64>(s, 48), w7)
    a7 = lane(a7, w7, load<u64>(s, 56), w6)
    if (!last && (n & 15) == 15) {
      a0 = scramble(a0, load<u64>(custom, 128))
      a1 = scramble(a1, load<u64>(custom, 136))
      a2 = scramble(a2, load<u64>(custom, 144))
      a3 = scramble(a3, load<u64>(custom, 152))
      a4 = scramble(a4, load<u64>(custom, 160))
      a5 = scramble(a5, load<u64>(custom, 168))
      a6 = scramble(a6, load<u64>(custom, 176))
      a7 = scramble(a7, load<u64>(custom, 184))
    }
  }
  const m = custom + 11
  return avalanche(
    <u64>length * P64_1 + fold(a0 ^ load<u64>(m), a1 ^ load<u64>(m, 8)) + fold(a2 ^ load<u64>(m, 16), a3 ^ load<u64>(m, 24)) +
      fold(a4 ^ load<u64>(m, 32), a5 ^ load<u64>(m, 40)) + fold(a6 ^ load<u64>(m, 48), a7 ^ load<u64>(m, 56))
  )
}

function xxh3(p: usize, length: usize): u64 {
  if (length <= 16) return upTo16(p, length)
  if (length <= 128) return upTo128(p, length)
  if (length <= 240) return upTo240(p, length)
  return long(p, length)
}

// @ts-ignore: decorator
@inline function join(a: u64, b: u64): u64 {
  store<u64>(pair, a)
  store<u64>(pair, b, 8)
  return upTo16(pair, 16)
}

export function setSeed(lo: i32, hi: i32): void {
  seed = lanes(lo, hi)
  for (let i: usize = 0; i < 192; i += 16) {
    store<u64>(custom + i, load<u64>(secret + i) + seed)
    store<u64>(custom + i, load<u64>(secret + i, 8) - seed, 8)
  }
}

/** Names the block before the first one of the next `chain`. */
export function setPrevious(lo: i32, hi: i32): void {
  previous = lanes(lo, hi)
}

/** Hash of the first `length` bytes of the input, into the first output word. */
export function hash(length: i32): void {
  store<u64>(output, xxh3(input, <usize>length))
}

/**
 * Keys of `blocks` blocks of `blockBytes` each. Key = XXH3(previous key || local hash), or the local hash alone for
 * the first block when `rootless`. With `extras`, a block's extra word, unless zero, is folded into its local hash.
 */
export function chain(blocks: i32, blockBytes: i32, rootless: i32, extras: i32): void {
  let key = previous
  let p = input
  for (let i = 0; i < blocks; i++, p += blockBytes) {
    let local = xxh3(p, blockBytes)
    if (extras) {
      const word = load<u64>(extra + (<usize>i << 3))
      if (word != 0) local = join(local, word)
    }
    key = rootless && i == 0 ? local : join(key, local)
    store<u64>(output + (<usize>i << 3), key)
  }
  previous = key
}
