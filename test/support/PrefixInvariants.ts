/** What must always be true inside a prefix table. Throws with the first thing that is not. */
import * as KeySlots from "../../src/hot/KeySlots.ts"
import * as RunArena from "../../src/hot/RunArena.ts"
import {
  ARENA_TOP,
  BASE,
  BLOCKS,
  CELL_FREE,
  CELL_KEYS,
  CHILDREN,
  CLASS_SHIFT,
  COVER,
  DEAD,
  DEPTH,
  FULL,
  LEN_MASK,
  LINK,
  MEMBERSHIPS,
  PARENT,
  PARENT_VERSION,
  QUEUED,
  RUN_FREE,
  RUN_TOP,
  RUNS,
  SHAPE,
  SPAN_FREE,
  SPAN_TOP,
  SPAN_WORDS,
  SPANS,
  SPANS_USED,
  SUB_WORDS,
  type TableMemory,
  VERSION,
  WORDS
} from "../../src/hot/TableMemory.ts"

const expect = (fact: boolean, what: string, ...values: ReadonlyArray<number>): void => {
  if (!fact) throw new Error(`Prefix table is inconsistent: ${what} (${values.join(", ")})`)
}

export const checkInvariants = (t: TableMemory): void => {
  const { head, keys, runs, spans, stride, words } = t
  const held = new Int32Array(t.holdersMax)
  const children = new Map<number, number>()
  const cells: Array<readonly [number, number]> = []
  let blocks = 0
  let live = 0
  let spansSeen = 0
  for (let run = 1; run < head[RUN_TOP]!; run++) {
    const at = run * stride
    const length = runs[at + SHAPE]! & LEN_MASK
    if (length === 0) continue
    live++
    blocks += length
    const room = CELL_KEYS[(runs[at + SHAPE]! >>> CLASS_SHIFT) & 15]!
    expect(length <= room, "a run outgrew its cell", run, length, room)
    cells.push([runs[at + BASE]!, room])
    for (let i = 0; i < length; i++) {
      const key = (runs[at + BASE]! + i) << 1
      const ref = KeySlots.find(t, keys[key]!, keys[key + 1]!)
      expect(ref === ((run << 8) | i), "a key is not where the slots say", run, i, ref >>> 8, ref & 255)
    }
    let full = 0
    for (let holder = 0; holder < words * 32; holder++) {
      if ((runs[at + COVER + (holder >>> 5)]! & (1 << (holder & 31))) === 0) continue
      expect(holder < head[WORDS]! << 5, "a holder lies beyond the words in use", run, holder)
      full++
      held[holder]! += length
    }
    expect(full === runs[at + FULL]!, "full holders are miscounted", run, full, runs[at + FULL]!)
    const parts = new Map<number, Array<readonly [number, number]>>()
    let tail = full > 0
    for (let span = runs[at + SPANS]!; span !== 0; span = spans[span * SPAN_WORDS + 2]!) {
      spansSeen++
      const holder = spans[span * SPAN_WORDS]!
      const from = spans[span * SPAN_WORDS + 1]! & 0xffff
      const to = spans[span * SPAN_WORDS + 1]! >>> 16
      expect(from < to && to <= length && to - from < length, "a span has wrong bounds", run, holder, from, to, length)
      const bit = runs[at + COVER + (holder >>> 5)]! & (1 << (holder & 31))
      expect(bit === 0, "a holder has both its bit and a span", run, holder)
      parts.set(holder, [...(parts.get(holder) ?? []), [from, to]])
      held[holder]! += to - from
      tail ||= to === length
    }
    for (const [holder, list] of parts) {
      list.sort((a, b) => a[0] - b[0])
      for (let i = 1; i < list.length; i++) expect(list[i - 1]![1] < list[i]![0], "spans touch", run, holder)
    }
    const isQueued = (runs[at + SHAPE]! & QUEUED) !== 0
    expect(tail || isQueued, "the last key has no holder", run, length)
    const parent = runs[at + PARENT]!
    if (parent !== 0 && runs[(parent >>> 8) * stride + VERSION] === runs[at + PARENT_VERSION]) {
      children.set(parent >>> 8, (children.get(parent >>> 8) ?? 0) + 1)
    }
    const before = RunArena.parentOf(t, at)
    const depth = runs[at + DEPTH]!
    const beforeDepth = runs[(before >>> 8) * stride + DEPTH]!
    const agrees = before === 0 || depth === 0 || beforeDepth === 0 || depth === beforeDepth + (before & 255) + 1
    expect(agrees, "a run's place is not behind its parent's", run, depth, before, beforeDepth)
  }
  for (let run = 1; run < head[RUN_TOP]!; run++) {
    if ((runs[run * stride + SHAPE]! & LEN_MASK) === 0) continue
    const count = children.get(run) ?? 0
    expect(
      runs[run * stride + CHILDREN] === count,
      "children are miscounted",
      run,
      runs[run * stride + CHILDREN]!,
      count
    )
  }
  let slots = 0
  for (let sub = 0; sub < 2 ** t.subBits; sub++) {
    const size = t.subs[sub * SUB_WORDS]!
    let used = 0
    for (let i = 0; i < t.reach; i++) if (t.slots[(sub * t.reach + i) * 2 + 1] !== 0) used++
    expect(used === t.subs[sub * SUB_WORDS + 1] && used < size, "a sub-table is miscounted", sub, used, size)
    slots += used
  }
  const joined = new Set(t.sibling)
  expect(joined.size === t.holdersMax, "holders are not in rings", joined.size, t.holdersMax)
  let memberships = 0
  for (let holder = 0; holder < t.holdersMax; holder++) {
    expect(held[holder] === t.held[holder], "a holder's blocks are miscounted", holder, held[holder]!, t.held[holder]!)
    memberships += held[holder]!
  }
  let queued = 0
  for (let run = head[DEAD]!; run !== 0; run = runs[run * stride + LINK]!) {
    if ((runs[run * stride + SHAPE]! & LEN_MASK) === 0) queued++
  }
  let freeIds = 0
  for (let run = head[RUN_FREE]!; run !== 0; run = runs[run * stride + LINK]!) freeIds++
  expect(live + freeIds + queued === head[RUN_TOP]! - 1, "run ids leak", live, freeIds, queued, head[RUN_TOP]!)
  let freeSpans = 0
  for (let span = head[SPAN_FREE]!; span !== 0; span = spans[span * SPAN_WORDS + 2]!) freeSpans++
  expect(spansSeen + freeSpans === head[SPAN_TOP]! - 1, "spans leak", spansSeen, freeSpans, head[SPAN_TOP]!)
  expect(spansSeen === head[SPANS_USED], "spans are miscounted", spansSeen, head[SPANS_USED]!)
  for (let size = 0; size < CELL_KEYS.length; size++) {
    for (let cell = head[CELL_FREE + size]!; cell >= 0; cell = keys[cell << 1]!) cells.push([cell, CELL_KEYS[size]!])
  }
  cells.sort((a, b) => a[0] - b[0])
  let top = 0
  for (const [cell, room] of cells) {
    expect(cell === top, "arena cells overlap or leak", cell, top)
    top = cell + room
  }
  expect(top === head[ARENA_TOP], "the arena leaks at its end", top, head[ARENA_TOP]!)
  expect(blocks === head[BLOCKS], "blocks are miscounted", blocks, head[BLOCKS]!)
  expect(slots === blocks, "slots and blocks differ", slots, blocks)
  expect(live === head[RUNS], "runs are miscounted", live, head[RUNS]!)
  expect(memberships === head[MEMBERSHIPS], "memberships are miscounted", memberships, head[MEMBERSHIPS]!)
}
