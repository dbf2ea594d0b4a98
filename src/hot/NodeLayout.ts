/**
 * NodeLayout: where what lies in the node table's memory, for whoever reads it: the node itself, or a router from afar.
 *
 *   0      superblock, 32 words     magic, version, generation, pages, directory's bits, versions of index and names, checksum
 *   64 Ki  directory, 2^16 words    segment of the index, by the top bits of a tag
 *   2 Mi   names, 4 096 × 1 KiB     who is entered, under which tenures
 *   6 Mi   pages of 64 KiB          segments of the index, and records
 *
 * A record: checksum (CRC-32C of what follows it), words that follow these two, a node as `PieceNode` has it, and for a node that
 * branches off another one: head of its piece, and first key of the node it branches off. All of it little-endian words.
 */
import { crc32c } from "./Crc32c.ts"
import { pageBytes } from "./NodePages.ts"
import * as PieceNode from "./PieceNode.ts"

export const magic = 0x544e5057
export const layoutVersion = 1
export const superWords = 32
export const directoryWord = 65_536 / 4
const namesWord = 2_097_152 / 4
export const headerBytes = 6_291_456
export const headerPages = headerBytes / pageBytes

/** Words of the superblock. */
export const MAGIC = 0
export const VERSION = 1
export const GENERATION_LO = 2
export const GENERATION_HI = 3
export const PAGES_MAX = 4
export const DIRECTORY_BITS = 5
export const INDEX_VERSION = 6
export const NAMES_VERSION = 7
/** Seconds since 1970 at which this life began. */
export const BORN = 8
export const TENURE_NEXT = 9
/** Four words: of the boot of the machine. What lies in a file across a boot may be old, whole and wrong. */
export const BOOT = 10
/** Of as many words of the directory as there are. */
export const DIRECTORY_CHECKSUM = 14
const CHECKSUM = superWords - 1

export const seal = (words: Int32Array): void => {
  words[CHECKSUM] = crc32c(words, 0, CHECKSUM)
}

/** Whether a directory that was read is the one of this superblock. */
export const isDirectory = (superblock: Int32Array, segments: Int32Array): boolean =>
  superblock[DIRECTORY_CHECKSUM] === crc32c(segments, 0, 1 << superblock[DIRECTORY_BITS]!)

/** Whether these are the words of a superblock as this version writes it. */
export const isSuper = (words: Int32Array): boolean =>
  words[MAGIC] === magic && words[VERSION] === layoutVersion && words[CHECKSUM] === crc32c(words, 0, CHECKSUM)

export const generationOf = (words: Int32Array): string =>
  [words[GENERATION_HI]!, words[GENERATION_LO]!].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("")

export const directoryOf = (words: Int32Array): Int32Array => words.subarray(directoryWord, directoryWord + 65_536)
export const namesOf = (words: Int32Array): Int32Array => words.subarray(namesWord, headerBytes / 4)

/** Words of a record before its node, and after that of a branch. */
export const recordWords = 2
const branchWords = 4

export const sealRecord = (words: Int32Array, at: number): void => {
  words[at] = crc32c(words, at + 1, at + recordWords + words[at + 1]!)
}

/** Words of the node in a record at a word. */
export const nodeWords = (words: Int32Array, at: number): number =>
  PieceNode.headBytes / 4 + 2 * (((words[at + 4]! >>> 8) & 0xff) + (words[at + 5]! >>> 16))

/** Word of the head's key: that of an aligned node is its own first. */
export const headAt = (words: Int32Array, at: number): number =>
  (words[at + 4]! & 0xff) === 0 ? at + 8 : at + recordWords + nodeWords(words, at)

const noTail = new Int32Array(0)

/** What follows the node of a record; empty when it is aligned. A copy. */
export const tailOf = (words: Int32Array, at: number): Int32Array => {
  if ((words[at + 4]! & 0xff) === 0) return noTail
  const end = at + recordWords + nodeWords(words, at)
  return words.slice(end, end + branchWords)
}

/** The node in a record of at most `room` words, as it lies there; null when it is torn or none. */
export const nodeIn = (words: Int32Array, at: number, room: number): PieceNode.PieceNode | null => {
  const length = words[at + 1]!
  if (length < PieceNode.headBytes / 4 || length > room - recordWords) return null
  if (words[at] !== crc32c(words, at + 1, at + recordWords + length)) return null
  const base = words[at + 4]! & 0xff
  if (nodeWords(words, at) + (base > 0 ? branchWords : 0) !== length) return null
  const first = words.byteOffset + 4 * (at + recordWords)
  return PieceNode.of(new Uint8Array(words.buffer, first, 4 * nodeWords(words, at)))
}
