/**
 * One holder that begins as a copy of another, and holders that belong together.
 *
 * A layer of a worker that is told apart for the first time holds what the layer below it holds. Copying is a pass over
 * the run headers, in slices the caller sizes; no key is touched.
 */
import * as PrefixSweep from "./PrefixSweep.ts"
import * as RunHolders from "./RunHolders.ts"
import { LEN_MASK, MEMBERSHIPS, RUN_TOP, SHAPE, type TableMemory, WORDS } from "./TableMemory.ts"

/** Runs passed over in the time it takes to copy one. */
const RUNS_PER_COPY = 4

/**
 * One slice of making `to` hold what `from` holds, costing about as much as removing `budgetBlocks` blocks (near 0.1 us
 * each). `cursor` is 0 at first, then what the last slice answered; 0 again means done. `to` begins empty, and neither is
 * written to or cleared before the end; others may be. A full span pool drops blocks from the copy and counts them.
 */
export const copy = (t: TableMemory, from: number, to: number, cursor: number, budgetBlocks: number): number => {
  if (!PrefixSweep.free(t, from) || !PrefixSweep.free(t, to)) return 0
  const { head, held, runs, stride } = t
  if (head[WORDS]! <= to >>> 5) head[WORDS] = (to >>> 5) + 1
  const top = head[RUN_TOP]!
  let left = budgetBlocks * RUNS_PER_COPY
  let run = cursor === 0 ? 1 : cursor
  for (; run < top && left > 0; run++) {
    if (held[to] === held[from]) return 0
    left--
    if ((runs[run * stride + SHAPE]! & LEN_MASK) === 0) continue
    const copied = RunHolders.copy(t, run, from, to)
    if (copied === 0) continue
    held[to]! += copied
    head[MEMBERSHIPS]! += copied
    left -= RUNS_PER_COPY
  }
  return run < top ? run : 0
}

/**
 * Makes two holders one ring, with all that either was joined to: layers of one worker, whose chains grow together. A run
 * that only a ring holds goes on when one of them stores more; without it every store would begin a run.
 * Joining two of the same ring would part it, so join a holder once, when it is new; clearing it takes it out.
 */
export const join = (t: TableMemory, holder: number, other: number): void => {
  const next = t.sibling[holder]!
  t.sibling[holder] = t.sibling[other]!
  t.sibling[other] = next
}
