/** Blocks of coding sessions, joined: an engine that caches long contexts uses larger ones. */

const joinedSize = 256

/** Of blocks of `blockSize` tokens, how many become one. */
export const perJoined = (blockSize: number): number => (joinedSize % blockSize === 0 ? joinedSize / blockSize : 1)

/**
 * The ids of joined blocks: each is its last id, as that names all before it. Full ones only. Those within the tool
 * definitions are negative and the same in all sessions whose definitions are equally long, which very probably are equal.
 */
export const joined = (
  ids: ReadonlyArray<number> | Float64Array,
  blockSize: number,
  promptTokens: number,
  toolTokens: number
): Float64Array => {
  const per = perJoined(blockSize)
  const size = per * blockSize
  const blocks = new Float64Array(Math.floor(promptTokens / size))
  for (let i = 0; i < blocks.length; i++) blocks[i] = ids[i * per + per - 1]!
  const common = Math.min(blocks.length, Math.floor(toolTokens / size))
  for (let i = 0; i < common; i++) blocks[i] = -1 - (toolTokens * 4096 + i)
  return blocks
}
