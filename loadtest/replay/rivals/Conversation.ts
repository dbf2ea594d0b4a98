/** What holds a conversation together, as one number: its session where told, else its first block, else null. */
import * as BlockKey from "./BlockKey.ts"
import type { Asked } from "./Rival.ts"

/** First blocks are negative, sessions are not. */
export const of = (asked: Asked): number | null =>
  asked.session ?? (asked.blocks === 0 ? null : -1 - BlockKey.at(asked.keys, 0))
